package access

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"strings"
)

// TokenPrefix begins every token, so that scanners for secrets find them:
// pgt_[a-z2-7]{10}_[0-9a-f]{64}.
const TokenPrefix = "pgt_"

const (
	idLength     = 10
	secretLength = 64 // 256 random bits
	// TokenLength of a token's text, in bytes.
	TokenLength = len(TokenPrefix) + idLength + 1 + secretLength
)

// NewToken makes a token.
func NewToken() (id, text string) {
	id = strings.ToLower(rand.Text()[:idLength])
	var secret [secretLength / 2]byte
	rand.Read(secret[:])
	return id, TokenPrefix + id + "_" + hex.EncodeToString(secret[:])
}

// TokenID returns the id in the text of a token; false when it is none.
func TokenID(text string) (id string, ok bool) {
	rest, ok := strings.CutPrefix(text, TokenPrefix)
	if !ok || len(text) != TokenLength || rest[idLength] != '_' {
		return "", false
	}
	id = rest[:idLength]
	return id, within(id, "abcdefghijklmnopqrstuvwxyz234567") && within(rest[idLength+1:], "0123456789abcdef")
}

func within(s, alphabet string) bool { return strings.Trim(s, alphabet) == "" }

// HashToken is what is kept of a token. Its text is random and long enough for
// a plain hash: there is nothing to guess.
func HashToken(text string) []byte {
	sum := sha256.Sum256([]byte(text))
	return sum[:]
}
