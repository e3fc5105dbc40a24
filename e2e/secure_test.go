package e2e

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/e2e/program"
)

// certificate makes one that signs itself, for this machine's addresses.
func certificate(t *testing.T, dir string) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "perigee test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv4(127, 0, 0, 2)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	require.NoError(t, err)
	keyDER, err := x509.MarshalPKCS8PrivateKey(private)
	require.NoError(t, err)
	write := func(name, kind string, b []byte) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: b}), 0o644))
		return path
	}
	return write("cert.pem", "CERTIFICATE", der), write("key.pem", "PRIVATE KEY", keyDER)
}

// A cluster whose masters and agents want credentials, and speak TLS: services
// run on it, their executors reach their agents, and sandboxes are read.
func TestMesos_CredentialsAndTLS(t *testing.T) {
	t.Parallel()
	needsOwnCluster(t)
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	dir, err := os.MkdirTemp(built.dir, "secure")
	require.NoError(t, err)
	require.NoError(t, os.Chmod(dir, 0o755)) // tasks run as nobody
	cert, key := certificate(t, dir)
	file := filepath.Join(dir, "credentials.json")
	require.NoError(t, os.WriteFile(file, []byte(`{"credentials": [{"principal": "perigee", "secret": "hush"}]}`), 0o600))

	own := &cluster{}
	p, err := program.Start(built.dir, "devcluster-secure", built.perigee, "devcluster", "--dir", filepath.Join(dir, "mesos"), "--listen", "127.0.0.1:0",
		"--agents", "2", "--allocation-interval", "200ms", "--ephemeral", "--credentials", file, "--tls-cert", cert, "--tls-key", key)
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		require.NoError(t, p.End(ctx, syscall.SIGTERM))
	})
	line, err := p.Stdout.Await(ctx, "master https://")
	require.NoError(t, err)
	_, own.master, _ = strings.Cut(line, "master https://")

	// One with a wrong secret says what is wrong, and where.
	stranger, err := program.Start(built.dir, "scheduler-stranger", built.perigee, "scheduler", "--config", os.DevNull, "--api-listen", "127.0.0.1:0",
		"--mesos-master", own.master, "--journal-url", "file://"+filepath.Join(dir, "journal-stranger"),
		"--mesos-tls", "--mesos-ca", cert, "--mesos-principal", "perigee", "--mesos-secret", "loud")
	require.NoError(t, err)
	_, err = stranger.Stderr.Await(ctx, "correct them, or the master's --credentials")
	require.NoError(t, err)
	require.NoError(t, stranger.End(ctx, syscall.SIGTERM))

	s, err := own.startScheduler(ctx, "secure", "--mesos-tls", "--mesos-ca", cert, "--mesos-principal", "perigee", "--mesos-secret", "hush")
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		require.NoError(t, s.End(ctx, syscall.SIGTERM))
	})
	w := see(t, s.url)
	w.must("deploy", w.file("site", `
job: JOB
kind: service
instances: 2
command: echo hello from here; exec sleep 1000
health: {command: {command: "true"}, interval: 500ms}
resources: {cpus: 0.1, memory: 32MiB}
`))
	w.await(w.job("site"), "logs are read from its sandboxes", func() bool {
		return strings.Contains(w.cliQuietly("logs", w.job("site")+"/0"), "hello from here")
	})
	require.Contains(t, w.must("status", w.job("site")), "2/2 ready")
}
