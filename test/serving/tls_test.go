package serving_test

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"net/http/httptrace"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weiyuanke/PodInfoLookup/test/testenv"
)

// handshake returns the certificate that a new connection is shown.
func (s *server) handshake(ctx context.Context, config *tls.Config) (*x509.Certificate, error) {
	conn, err := (&tls.Dialer{Config: config}).DialContext(ctx, "tcp", strings.TrimPrefix(s.url, "https://"))
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }()
	secure, ok := conn.(*tls.Conn)
	if !ok {
		return nil, fmt.Errorf("no TLS: %T", conn)
	}
	return secure.ConnectionState().PeerCertificates[0], nil
}

func TestTLS_CertificateMade(t *testing.T) {
	t.Parallel()
	s := start(t, env.Kubeconfig, anywhere)
	certificate, err := s.handshake(t.Context(), &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // G402: it is looked at below
	if err != nil {
		t.Fatal(err)
	}
	sum := strings.ToUpper(strings.ReplaceAll(fmt.Sprintf("% x", sha256.Sum256(certificate.Raw)), " ", ":"))
	if err := s.Stderr.Has(`sha256="` + sum + `"`); err != nil {
		t.Error(err)
	}
	for _, name := range []string{"127.0.0.1", "localhost"} {
		if err := certificate.VerifyHostname(name); err != nil {
			t.Error(err)
		}
	}
	old := &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11} //nolint:gosec // G402: it must fail
	if _, err := s.handshake(t.Context(), old); err == nil {
		t.Error("TLS 1.1 is served")
	}
	if got, err := s.get(t.Context(), "/livez", nil); err != nil || got.proto != "HTTP/2.0" {
		t.Errorf("%s, %v", got.proto, err)
	}
}

func TestTLS_PlainHTTPRefused(t *testing.T) {
	t.Parallel()
	s := start(t, env.Kubeconfig, anywhere)
	s.url = strings.Replace(s.url, "https", "http", 1)
	for _, path := range []string{"/livez", all} {
		got, err := s.get(t.Context(), path, nil)
		if err != nil || got.code != http.StatusBadRequest || got.body != "Client sent an HTTP request to an HTTPS server.\n" {
			t.Errorf("%s: %d %q, %v", path, got.code, got.body, err)
		}
	}
}

func TestTLS_CertificateFileOnLoopback(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	newPair(t, 1).write(t, dir)
	s := start(t, env.Kubeconfig, append(files(dir), loopback)...)
	if err := s.answers(t.Context(), all, nil, http.StatusUnauthorized); err != nil {
		t.Error(err)
	}
}

func TestTLS_CertificateReplaced(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		setup func(*testing.T, string) // writes the first pair into a folder
		swap  func(*testing.T, string) // puts the second one there
	}{
		{name: "files that are written over",
			setup: func(t *testing.T, dir string) { t.Helper(); newPair(t, 1).write(t, dir) },
			swap:  func(t *testing.T, dir string) { t.Helper(); newPair(t, 2).write(t, dir) }},
		{name: "files that others are moved over",
			setup: func(t *testing.T, dir string) { t.Helper(); newPair(t, 1).write(t, dir) },
			swap: func(t *testing.T, dir string) {
				t.Helper()
				other := t.TempDir()
				newPair(t, 2).write(t, other)
				for _, name := range []string{"tls.crt", "tls.key"} {
					rename(t, filepath.Join(other, name), filepath.Join(dir, name))
				}
			}},
		{name: "a Secret's volume",
			setup: func(t *testing.T, dir string) {
				t.Helper()
				volume(t, dir, "..1", 1)
				for _, name := range []string{"tls.crt", "tls.key"} {
					link(t, filepath.Join("..data", name), filepath.Join(dir, name))
				}
			},
			swap: func(t *testing.T, dir string) {
				t.Helper()
				volume(t, dir, "..2", 2)
				if err := os.RemoveAll(filepath.Join(dir, "..1")); err != nil {
					t.Fatal(err)
				}
			}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			test.setup(t, dir)
			s := start(t, env.Kubeconfig, append(files(dir), anywhere)...)
			serial := func(want string) {
				t.Helper()
				testenv.Eventually(t, func(ctx context.Context) error {
					certificate, err := s.handshake(ctx, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // G402: it is looked at
					if err == nil && certificate.SerialNumber.String() != want {
						err = fmt.Errorf("serial number %s, want %s", certificate.SerialNumber, want)
					}
					return err
				})
			}
			serial("1")
			test.swap(t, dir)
			serial("2")
			var reused bool
			ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) { reused = info.Reused }})
			answer, err := s.get(ctx, "/livez", nil)
			if err != nil {
				t.Fatal(err)
			}
			got := []any{answer.code, reused, answer.certificate.SerialNumber.String()}
			if diff := cmp.Diff([]any{http.StatusOK, true, "1"}, got); diff != "" {
				t.Errorf("status, old connection, its certificate (-want +got):\n%s", diff)
			}
		})
	}
}

// volume does what a kubelet does: a new folder, and a link that is moved to it.
func volume(t *testing.T, dir, name string, serial int64) {
	t.Helper()
	if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
		t.Fatal(err)
	}
	newPair(t, serial).write(t, filepath.Join(dir, name))
	link(t, name, filepath.Join(dir, "..data_tmp"))
	rename(t, filepath.Join(dir, "..data_tmp"), filepath.Join(dir, "..data"))
}

func link(t *testing.T, to, name string) {
	t.Helper()
	if err := os.Symlink(to, name); err != nil {
		t.Fatal(err)
	}
}

func rename(t *testing.T, from, to string) {
	t.Helper()
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}

func TestTLS_InvalidCertificate(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name      string
		write     func(*testing.T, string)
		wantCause string // regular expression
	}{
		{name: "no files", write: func(*testing.T, string) {}, wantCause: `open \S+/tls\.crt: no such file or directory`},
		{name: "empty files", write: func(t *testing.T, dir string) { t.Helper(); pair{}.write(t, dir) }, wantCause: `missing content`},
		{name: "files of something else", write: func(t *testing.T, dir string) {
			t.Helper()
			pair{cert: []byte("a\nb\n"), key: []byte("c")}.write(t, dir)
		},
			wantCause: `failed to find any PEM data in certificate input`},
		{name: "the key of another certificate", write: func(t *testing.T, dir string) {
			t.Helper()
			pair{cert: newPair(t, 1).cert, key: newPair(t, 2).key}.write(t, dir)
		}, wantCause: `private key does not match public key`},
	}
	for _, test := range tests {
		for _, address := range []string{anywhere, loopback} {
			t.Run(test.name+" "+address, func(t *testing.T) {
				t.Parallel()
				dir := t.TempDir()
				test.write(t, dir)
				// Without a cluster: the error is returned before anything runs.
				p := testenv.Command(t, binary, append(files(dir), address)...).Start(t)
				code, stderr := p.Wait(t, testenv.Patience), p.Stderr.String()
				want := regexp.MustCompile(`^podinfolookup: --tls-cert-file=\S+ --tls-private-key-file=\S+: .*` + test.wantCause +
					`.*: name a PEM certificate and the PEM key that belongs to it, readable for this user\n$`)
				if code != 1 || !want.MatchString(stderr) || p.Stdout.String() != "" {
					t.Errorf("exit code %d, standard error %q", code, stderr)
				}
			})
		}
	}
}
