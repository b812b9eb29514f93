package app

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	podinfolookup "github.com/weiyuanke/PodInfoLookup"
)

func TestIsTransient(t *testing.T) {
	dial := func(err error) error {
		return &url.Error{Op: "Get", Err: &net.OpError{Op: "dial", Net: "tcp", Err: err}}
	}
	answer := func(code int) error {
		return apierrors.NewGenericServerResponse(code, "get", schema.GroupResource{}, "", "", 0, true)
	}
	tests := []struct {
		name string
		err  error
		want bool
	}{
		{"none", nil, false},
		{"nobody listens", dial(syscall.ECONNREFUSED), true},
		{"no route", dial(syscall.EHOSTUNREACH), true},
		{"no network", dial(syscall.ENETUNREACH), true},
		{"the connection is reset", &url.Error{Op: "Get", Err: syscall.ECONNRESET}, true},
		{"the connection ends", &url.Error{Op: "Get", Err: io.EOF}, true},
		{"the answer is cut", io.ErrUnexpectedEOF, true},
		{"a timeout", dial(context.DeadlineExceeded), true},
		{"no answer", fmt.Errorf("host: %w", errNoAnswer), true},
		{"no such host", dial(&net.DNSError{Err: "no such host", IsNotFound: true}), false},
		{"the DNS is away", dial(&net.DNSError{Err: "server misbehaving", IsTemporary: true}), true},
		{"too many requests", answer(429), true},
		{"the server fails", answer(500), true},
		{"no backend", fmt.Errorf("host: %w", answer(503)), true},
		{"not found", answer(404), false},
		{"no login", answer(401), false},
		{"forbidden", answer(403), false},
		{"missing rights", rightsError{missing: []string{"get pods"}}, false},
		{"an unknown authority", &url.Error{Op: "Get", Err: x509.UnknownAuthorityError{}}, false},
		{"a wrong CRD", podinfolookup.ErrCRDMissing, false},
		{"a web page", errors.New("unable to parse the server version"), false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := isTransient(test.err); got != test.want {
				t.Errorf("%v: %t, want %t", test.err, got, test.want)
			}
		})
	}
}

func TestWaiting_Until(t *testing.T) {
	away := &url.Error{Op: "Get", Err: syscall.ECONNREFUSED}
	refused := rightsError{missing: []string{"list pods"}}
	fatal := errors.New("unable to parse the server version")
	tests := []struct {
		name   string
		ask    func(since time.Duration) error
		want   error
		within time.Duration
	}{
		{"it answers at once", func(time.Duration) error { return nil }, nil, 0},
		{"it is none", func(time.Duration) error { return fatal }, fatal, 0},
		{"rights are missing", func(time.Duration) error { return refused }, refused, 0},
		{"it comes", func(since time.Duration) error {
			if since < time.Hour {
				return away
			}
			return nil
		}, nil, time.Hour + 3*time.Second},
		{"it comes, and has not read its rules yet", func(since time.Duration) error {
			switch {
			case since < time.Minute:
				return away
			case since < time.Minute+refusalStands/2:
				return refused
			}
			return nil
		}, nil, time.Minute + refusalStands/2 + 3*time.Second},
		{"it comes, and rights are missing", func(since time.Duration) error {
			if since < time.Minute {
				return away
			}
			return refused
		}, refused, time.Minute + refusalStands + 6*time.Second},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var w waiting
				begun := time.Now()
				err := w.until(t.Context(), func(context.Context) error { return test.ask(time.Since(begun)) }, func() {})
				if fmt.Sprint(err) != fmt.Sprint(test.want) {
					t.Errorf("error %v, want %v", err, test.want)
				}
				if took := time.Since(begun); took > test.within {
					t.Errorf("it took %s, want at most %s", took, test.within)
				}
			})
		})
	}
}
