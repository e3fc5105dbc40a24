package cli

import (
	"cmp"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// tokenFile is where the user keeps a token, "" when there is no home.
func (a *app) tokenFile() string {
	dir := a.getenv("XDG_CONFIG_HOME")
	if home := a.getenv("HOME"); dir == "" && home != "" {
		dir = filepath.Join(home, ".config")
	}
	if dir == "" {
		return ""
	}
	return filepath.Join(dir, "perigee", "token")
}

// credentials are the token that the user means: of --token, PERIGEE_TOKEN or
// the file; "" when there is none.
func (a *app) credentials() (string, error) {
	token := a.token
	if token == "" {
		token = a.getenv("PERIGEE_TOKEN")
	}
	if token == "" {
		return a.readToken()
	}
	return oneWord(token, "the token")
}

func (a *app) readToken() (string, error) {
	path := a.tokenFile()
	if path == "" {
		return "", nil
	}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("read the token: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", fmt.Errorf("read the token: %w", err)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return "", &exitError{code: codeInvalid, err: fmt.Errorf(
			"%s can be read by others (its mode is %04o), and is not used: chmod 600 it, and if they may have read it, `perigee token revoke` it", path, mode)}
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("read the token: %w", err)
	}
	return oneWord(string(text), path)
}

// authorities are whom the user trusts to sign schedulers' certificates: nil for
// whom the system does.
func (a *app) authorities() (*x509.CertPool, error) {
	path := cmp.Or(a.ca, a.getenv("PERIGEE_CA"))
	if path == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(path)
	if err != nil {
		return nil, &exitError{code: codeInvalid, err: fmt.Errorf("read the authorities of --ca or PERIGEE_CA: %w", err)}
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, &exitError{code: codeInvalid, err: fmt.Errorf("%s, of --ca or PERIGEE_CA, has no certificate in PEM format", path)}
	}
	return pool, nil
}

func oneWord(text, what string) (string, error) {
	text = strings.TrimSpace(text)
	if strings.ContainsAny(text, " \t\r\n") {
		return "", &exitError{code: codeInvalid, err: fmt.Errorf("%s is not one word: it must be a token, as it was printed", what)}
	}
	return text, nil
}

// saveToken keeps a token where credentials finds it. One that is there is not
// replaced.
func (a *app) saveToken(text string) (string, error) {
	path := a.tokenFile()
	if path == "" {
		return "", errors.New("there is no home directory to save it in")
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return "", err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return "", err
	}
	_, err = fmt.Fprintln(f, text)
	return path, errors.Join(err, f.Close())
}
