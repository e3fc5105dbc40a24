package server

import (
	"bytes"
	"crypto/tls"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/config"
	"github.com/perigee-sched/perigee/server/tlstest"
)

// secured is what TLS a scheduler would have, with files and a clock of the test.
type secured struct {
	*testing.T
	*tlstest.Authority
	cert, key string
	log       bytes.Buffer
	at        time.Time
	process   *process
}

func newSecured(t *testing.T) *secured {
	t.Helper()
	dir := t.TempDir()
	s := &secured{T: t, Authority: tlstest.NewAuthority(t, dir), cert: filepath.Join(dir, "cert.pem"), key: filepath.Join(dir, "key.pem"), at: time.Now()}
	c := &config.Server{API: config.API{TLS: config.TLS{Cert: s.cert, Key: s.key, CA: s.File}}}
	s.process = &process{url: "https://127.0.0.1:7300", Options: Options{Config: c, Now: func() time.Time { return s.at }, Log: slog.New(slog.NewTextHandler(&s.log, nil))}}
	return s
}

// shown is the serial number of the certificate that a handshake shows.
func (s *secured) shown(c *tls.Config) int64 {
	s.T.Helper()
	cert, err := c.GetCertificate(nil)
	require.NoError(s.T, err)
	return cert.Leaf.SerialNumber.Int64()
}

func TestTLS_CertificateIsReadAgain(t *testing.T) {
	t.Parallel()
	s := newSecured(t)
	first := s.Issue(s.cert, s.key)
	c, err := s.process.apiTLS()
	require.NoError(t, err)
	require.EqualValues(t, tls.VersionTLS12, c.MinVersion)
	require.Equal(t, first, s.shown(c))

	second := s.Issue(s.cert, s.key)
	require.Equal(t, first, s.shown(c), "files are looked at once a second at most")
	s.at = s.at.Add(time.Second)
	require.Equal(t, second, s.shown(c))
	require.Contains(t, s.log.String(), "the API's certificate has changed, and is used from now on")

	// A new certificate without its key, as between two renames, is not used.
	third := s.Issue(s.cert, s.key+".third")
	s.at = s.at.Add(time.Second)
	require.Equal(t, second, s.shown(c))
	require.Contains(t, s.log.String(), "what was there before still is")
	require.Contains(t, s.log.String(), "does not match")
	logged := s.log.Len()
	s.at = s.at.Add(time.Second)
	require.Equal(t, second, s.shown(c))
	require.Equal(t, logged, s.log.Len(), "it is said once")
	require.NoError(t, os.Rename(s.key+".third", s.key))
	s.at = s.at.Add(time.Second)
	require.Equal(t, third, s.shown(c))

	// Nor is one that has expired, or none.
	s.IssueUntil(s.cert, s.key, s.at.Add(-time.Minute))
	s.at = s.at.Add(time.Second)
	require.Equal(t, third, s.shown(c))
	require.Contains(t, s.log.String(), "has expired")
	require.NoError(t, os.Remove(s.cert))
	s.at = s.at.Add(time.Second)
	require.Equal(t, third, s.shown(c))
	last := s.Issue(s.cert, s.key)
	s.at = s.at.Add(time.Second)
	require.Equal(t, last, s.shown(c))
}

func TestTLS_SaysWhatIsWrongWithFiles(t *testing.T) {
	t.Parallel()
	s := newSecured(t)
	_, err := s.process.apiTLS()
	require.ErrorContains(t, err, "api.tls.cert: open "+s.cert+": no such file")
	s.Issue(s.cert, s.key)
	require.NoError(t, os.Remove(s.key))
	_, err = s.process.apiTLS()
	require.ErrorContains(t, err, "api.tls.key: open "+s.key+": no such file")
	s.Issue(s.cert+".other", s.key)
	_, err = s.process.apiTLS()
	require.ErrorContains(t, err, "private key does not match public key; they must be a certificate and its key")
	require.NoError(t, os.WriteFile(s.cert, []byte("nothing"), 0o600))
	_, err = s.process.apiTLS()
	require.ErrorContains(t, err, "failed to find any PEM data in certificate")
	s.IssueUntil(s.cert, s.key, s.at.Add(-time.Minute))
	_, err = s.process.apiTLS()
	require.NoError(t, err, "a scheduler that starts needs one")
	require.Contains(t, s.log.String(), "is not valid now")
	s.Issue(s.cert, s.key)
	s.process.url = "https://perigee.example.com"
	_, err = s.process.apiTLS()
	require.NoError(t, err)
	require.Contains(t, s.log.String(), "is not for the host of its own address")

	_, err = s.process.peerTLS()
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(s.File, []byte("nothing"), 0o600))
	_, err = s.process.peerTLS()
	require.ErrorContains(t, err, "api.tls.ca: "+s.File+" has no certificate in PEM format")
	s.process.Config.API.TLS = config.TLS{}
	c, err := s.process.apiTLS()
	require.NoError(t, err)
	require.Nil(t, c)
	trust, err := s.process.peerTLS()
	require.NoError(t, err)
	require.Nil(t, trust, "the system's authorities")
}

// Authorities are read again too, so that new ones can come before what they
// sign.
func TestTLS_AuthoritiesAreReadAgain(t *testing.T) {
	t.Parallel()
	s := newSecured(t)
	trust, err := s.process.peerTLS()
	require.NoError(t, err)
	require.True(t, trust().RootCAs.Equal(s.Pool))
	other := tlstest.NewAuthority(t, t.TempDir())
	require.NoError(t, os.Rename(other.File, s.File))
	s.at = s.at.Add(time.Second)
	require.True(t, trust().RootCAs.Equal(other.Pool))
}
