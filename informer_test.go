package podinfolookup

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

func TestAnOutageIsOverSoonAfterItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const outage = time.Hour
		begin, requests := time.Now(), 0
		got, err := patiently(t.Context(), "pods", func() (string, error) {
			requests++
			if time.Since(begin) < outage {
				return "", errors.New("connection refused")
			}
			return "list", nil
		})
		if got != "list" || err != nil {
			t.Errorf("the answer is %q, %v", got, err)
		}
		if late := time.Since(begin) - outage; late > 4*time.Second {
			t.Errorf("it was noticed %s after the end", late)
		}
		if most := int(outage/outageRetryMax) + 10; requests > most {
			t.Errorf("%d requests were made, want at most %d", requests, most)
		}
	})
}

func TestWhatTheReflectorHasAnAnswerToIsLeftToIt(t *testing.T) {
	resource := GroupVersionResource.GroupResource()
	tests := []struct {
		name string
		err  error
		want bool
	}{
		{"a version that is too old", apierrors.NewResourceExpired("too old"), true},
		{"a version that is too new", apierrors.NewTimeoutError("Too large resource version", 1), true},
		{"lists are not streamed", apierrors.NewInvalid(GroupVersionKind.GroupKind(), "", nil), true},
		{"a connection that is refused", errors.New("connection refused"), false},
		{"a server that starts", apierrors.NewServiceUnavailable("starting"), false},
		{"a server that has yet to read its roles", apierrors.NewForbidden(resource, "", nil), false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				requests := 0
				_, err := patiently(t.Context(), "pods", func() (int, error) {
					if requests++; requests > 1 {
						return 0, nil
					}
					return 0, test.err
				})
				if got := requests == 1 && errors.Is(err, test.err); got != test.want {
					t.Errorf("left to the reflector: %t, want %t (%d requests, %v)", got, test.want, requests, err)
				}
			})
		})
	}
	t.Run("a stop", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := patiently(ctx, "pods", func() (int, error) { return 0, errors.New("refused") }); err == nil {
			t.Error("the request goes on after the stop")
		}
	})
}
