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
	logsapi "k8s.io/component-base/logs/api/v1"
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

func TestTokensStayOutOfTheLog(t *testing.T) {
	tests := []struct {
		name      string
		logging   logsapi.LoggingConfiguration
		wantError string
	}{
		{"as quiet as can be", logsapi.LoggingConfiguration{}, ""},
		{"without bodies", logsapi.LoggingConfiguration{Verbosity: 7}, ""},
		{"with bodies", logsapi.LoggingConfiguration{Verbosity: 8}, "-v or --vmodule of 8 would log the tokens of callers: at most 7 is taken where they log in"},
		{"with bodies by file", logsapi.LoggingConfiguration{VModule: []logsapi.VModuleItem{{FilePattern: "request", Verbosity: 9}}},
			"-v or --vmodule of 9 would log the tokens of callers: at most 7 is taken where they log in"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := listen(t.Context(), &options{bindAddress: "0.0.0.0:0", logging: &test.logging, tlsCertFile: "missing", tlsPrivateKeyFile: "missing"})
			var usage usageError
			switch {
			case err == nil:
				t.Error("it listens without a certificate")
			case errors.As(err, &usage) != (test.wantError != ""), test.wantError != "" && err.Error() != test.wantError:
				t.Errorf("error %v, want %q", err, test.wantError)
			}
		})
	}
}
