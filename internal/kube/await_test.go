package kube

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
		{name: "none"},
		{name: "nobody listens", err: dial(syscall.ECONNREFUSED), want: true},
		{name: "no route", err: dial(syscall.EHOSTUNREACH), want: true},
		{name: "no network", err: dial(syscall.ENETUNREACH), want: true},
		{name: "the connection is reset", err: &url.Error{Op: "Get", Err: syscall.ECONNRESET}, want: true},
		{name: "the connection ends", err: &url.Error{Op: "Get", Err: io.EOF}, want: true},
		{name: "the answer is cut", err: io.ErrUnexpectedEOF, want: true},
		{name: "a timeout", err: dial(context.DeadlineExceeded), want: true},
		{name: "no answer", err: fmt.Errorf("host: %w", errNoAnswer), want: true},
		{name: "no such host", err: dial(&net.DNSError{Err: "no such host", IsNotFound: true})},
		{name: "the DNS is away", err: dial(&net.DNSError{Err: "server misbehaving", IsTemporary: true}), want: true},
		{name: "too many requests", err: answer(429), want: true},
		{name: "the server fails", err: answer(500), want: true},
		{name: "no backend", err: fmt.Errorf("host: %w", answer(503)), want: true},
		{name: "not found", err: answer(404)},
		{name: "no login", err: answer(401)},
		{name: "forbidden", err: answer(403)},
		{name: "missing rights", err: missingRightsError{missing: []string{"get pods"}}},
		{name: "an unknown authority", err: &url.Error{Op: "Get", Err: x509.UnknownAuthorityError{}}},
		{name: "a wrong CRD", err: errors.New("the CRD is missing")},
		{name: "a web page", err: errors.New("unable to parse the server version")},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := isTransient(test.err); got != test.want {
				t.Errorf("%v: %t, want %t", test.err, got, test.want)
			}
		})
	}
}

func TestWaiter_Wait(t *testing.T) {
	away := &url.Error{Op: "Get", Err: syscall.ECONNREFUSED}
	refused := missingRightsError{missing: []string{"list pods"}}
	fatal := errors.New("unable to parse the server version")
	tests := []struct {
		name      string
		preflight func(since time.Duration) error
		want      error
		within    time.Duration
	}{
		{name: "it answers at once", preflight: func(time.Duration) error { return nil }},
		{name: "it is none", preflight: func(time.Duration) error { return fatal }, want: fatal},
		{name: "rights are missing", preflight: func(time.Duration) error { return refused }, want: refused},
		{name: "it comes", preflight: func(since time.Duration) error {
			if since < time.Hour {
				return away
			}
			return nil
		}, within: time.Hour + 3*time.Second},
		{name: "it comes, and has not read its rules yet", preflight: func(since time.Duration) error {
			switch {
			case since < time.Minute:
				return away
			case since < time.Minute+refusalTimeout/2:
				return refused
			}
			return nil
		}, within: time.Minute + refusalTimeout/2 + 3*time.Second},
		{name: "it comes, and rights are missing", preflight: func(since time.Duration) error {
			if since < time.Minute {
				return away
			}
			return refused
		}, want: refused, within: time.Minute + refusalTimeout + 6*time.Second},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var w Waiter
				begun := time.Now()
				err := w.Wait(t.Context(), func(context.Context) error { return test.preflight(time.Since(begun)) }, func() {})
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
