package informer

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
)

func TestInformer_Confirm(t *testing.T) {
	const sent = 2000 * time.Second
	one, other := net.Conn(&net.TCPConn{}), net.Conn(&net.TCPConn{})
	sameAsOne := one
	tests := []struct {
		name       string
		at         string // the version of the cache
		watch      *net.Conn
		proof      Proof
		lastEvent  time.Duration
		want       bool
		wantAsOfAt time.Duration
	}{
		{name: "the same version", at: "7", proof: Proof{version: "7"}, want: true, wantAsOfAt: sent},
		{name: "a later version that is not of this resource", at: "7", watch: &one, proof: Proof{version: "9", connection: &sameAsOne}, want: true, wantAsOfAt: sent},
		{name: "an event since", at: "7", watch: &one, proof: Proof{version: "9", connection: &one}, lastEvent: sent + time.Second, want: true, wantAsOfAt: sent + time.Second},
		{name: "another connection", at: "7", watch: &one, proof: Proof{version: "9", connection: &other}, wantAsOfAt: time.Second},
		{name: "no watch", at: "7", proof: Proof{version: "9", connection: &one}, wantAsOfAt: time.Second},
		{name: "an unknown connection", at: "7", watch: &one, proof: Proof{version: "9"}, wantAsOfAt: time.Second},
		{name: "neither connection is known", at: "7", proof: Proof{version: "9"}, wantAsOfAt: time.Second},
		{name: "an etcd that was restored", at: "7", watch: &one, proof: Proof{version: "5", connection: &one}, wantAsOfAt: time.Second},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			i := newPods(t, Config{Client: fake.NewClientset()})
			setVersion(t, i, test.at)
			i.connection.Store(test.watch)
			test.proof.sent = time.Unix(0, 0).Add(sent)
			i.asOf.Store(int64(max(test.lastEvent, time.Second)))
			if got := i.Confirm(&test.proof); got != test.want {
				t.Errorf("Confirm = %v, want %v", got, test.want)
			}
			if got := time.Duration(i.asOf.Load()); got != test.wantAsOfAt {
				t.Errorf("as of %s, want %s", got, test.wantAsOfAt)
			}
		})
	}
}

// setVersion makes the store of i one that has seen a version.
func setVersion(t *testing.T, i *Informer, version string) {
	t.Helper()
	if err := i.GetStore().Replace(nil, version); err != nil {
		t.Fatal(err)
	}
	if got := i.GetStore().LastStoreSyncResourceVersion(); got != version {
		t.Fatalf("the store is at %q, want %q", got, version)
	}
}

func TestProbe(t *testing.T) {
	begin := time.Now()
	var options metav1.ListOptions
	p, err := Probe(t.Context(), func(_ context.Context, o metav1.ListOptions) (runtime.Object, error) {
		options = o
		return &corev1.PodList{ListMeta: metav1.ListMeta{ResourceVersion: "42"}}, nil
	})
	if err != nil || p.version != "42" || p.sent.Before(begin) || p.connection != nil || options.Limit != ProbeLimit || options.ResourceVersion != "" {
		t.Errorf("%+v, %v, asked with %+v", p, err, options)
	}
	away := errors.New("away")
	if _, err := Probe(t.Context(), func(context.Context, metav1.ListOptions) (runtime.Object, error) { return nil, away }); !errors.Is(err, away) {
		t.Errorf("error is %v", err)
	}
}

// Over HTTP/2 a request shares the connection of an open watch, over HTTP/1.1 it does
// not.
func TestTraceConnection(t *testing.T) {
	for _, isHTTP2 := range []bool{true, false} {
		t.Run(map[bool]string{true: "HTTP/2", false: "HTTP/1.1"}[isHTTP2], func(t *testing.T) {
			server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/watch" {
					_ = http.NewResponseController(w).Flush()
					<-r.Context().Done()
				}
			}))
			server.EnableHTTP2 = isHTTP2
			server.StartTLS()
			defer server.Close()
			request := func(ctx context.Context, path string) (*net.Conn, *http.Response) {
				traced, used := traceConnection(ctx)
				r, err := http.NewRequestWithContext(traced, http.MethodGet, server.URL+path, http.NoBody)
				if err != nil {
					t.Fatal(err)
				}
				response, err := server.Client().Do(r)
				if err != nil {
					t.Fatal(err)
				}
				return used.Load(), response
			}
			ctx, cancel := context.WithCancel(t.Context())
			watch, open := request(ctx, "/watch")
			probe, answer := request(t.Context(), "/")
			if watch == nil || probe == nil || (*watch == *probe) != isHTTP2 {
				t.Errorf("connections %v and %v, want the same: %v", watch, probe, isHTTP2)
			}
			cancel()
			_, _ = open.Body.Close(), answer.Body.Close()
		})
	}
}
