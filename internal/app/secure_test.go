package app

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

func TestAFailedQuestionIsNoVerdictOnAToken(t *testing.T) {
	resource := schema.GroupResource{Group: "authentication.k8s.io", Resource: "tokenreviews"}
	tests := []struct {
		name string
		err  error
		want bool
	}{
		{"no credentials", nil, false},
		{"an unknown token", errors.New("invalid bearer token"), false},
		{"a token that has expired", errors.New("[invalid bearer token, service account token has expired]"), false},
		{"nobody listens", &url.Error{Op: "Post", Err: syscall.ECONNREFUSED}, true},
		{"no answer in time", fmt.Errorf("rate limiter: %w", context.DeadlineExceeded), true},
		{"half an answer", fmt.Errorf("unexpected error when reading response body: %w", io.ErrUnexpectedEOF), true},
		{"we may not ask", apierrors.NewForbidden(resource, "", errors.New("no")), true},
		{"our own token is not valid", apierrors.NewUnauthorized("no"), true},
		{"an error on the server", apierrors.NewInternalError(errors.New("etcd")), true},
		{"the caller went", context.Canceled, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			err := test.err
			if err != nil {
				err = utilerrors.NewAggregate([]error{err}) // as the union of authenticators does
			}
			if got := unanswered(err); got != test.want {
				t.Errorf("unanswered(%v) = %t", err, got)
			}
		})
	}
}
