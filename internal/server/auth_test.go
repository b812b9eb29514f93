package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"syscall"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"
)

func TestIsUnavailable(t *testing.T) {
	resource := schema.GroupResource{Group: "authentication.k8s.io", Resource: "tokenreviews"}
	tests := []struct {
		name string
		err  error
		want bool
	}{
		{name: "no credentials"},
		{name: "an unknown token", err: errors.New("invalid bearer token")},
		{name: "a token that has expired", err: errors.New("[invalid bearer token, service account token has expired]")},
		{name: "nobody listens", err: &url.Error{Op: "Post", Err: syscall.ECONNREFUSED}, want: true},
		{name: "no answer in time", err: fmt.Errorf("rate limiter: %w", context.DeadlineExceeded), want: true},
		{name: "half an answer", err: fmt.Errorf("unexpected error when reading response body: %w", io.ErrUnexpectedEOF), want: true},
		{name: "we may not ask", err: apierrors.NewForbidden(resource, "", errors.New("no")), want: true},
		{name: "our own token is not valid", err: apierrors.NewUnauthorized("no"), want: true},
		{name: "an error on the server", err: apierrors.NewInternalError(errors.New("etcd")), want: true},
		{name: "the caller went", err: context.Canceled, want: true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			err := test.err
			if err != nil {
				err = utilerrors.NewAggregate([]error{err}) // as the union of authenticators does
			}
			if got := isUnavailable(err); got != test.want {
				t.Errorf("isUnavailable(%v) = %t", err, got)
			}
		})
	}
}
