package server

import (
	"context"
	"net/http"

	"golang.org/x/time/rate"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// The API server queues all requests of one user together, so the reviews of
// callers must not delay the controller's requests.
const (
	reviewRate, reviewBurst = 100, 200 // a second
	maxReviews              = 16       // in flight
)

// NewReviewClient returns a client for reviews that has limits of its own.
func NewReviewClient(config *rest.Config) (kubernetes.Interface, error) {
	config = rest.CopyConfig(config)
	config.QPS = -1 // client-go's limiter returns an error that looks like a verdict
	limiter, slots := rate.NewLimiter(reviewRate, reviewBurst), make(chan struct{}, maxReviews)
	config.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return limitedTransport{RoundTripper: next, limiter: limiter, slots: slots}
	})
	return kubernetes.NewForConfig(config)
}

// limitedTransport sends at the rate of its limiter, with at most cap(slots)
// requests in flight.
type limitedTransport struct {
	http.RoundTripper
	limiter *rate.Limiter
	slots   chan struct{}
}

// RoundTrip blocks until r may be sent or its context ends.
func (t limitedTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	if t.limiter.Wait(r.Context()) != nil {
		return nil, context.DeadlineExceeded
	}
	select {
	case t.slots <- struct{}{}:
		defer func() { <-t.slots }()
		return t.RoundTripper.RoundTrip(r)
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
}
