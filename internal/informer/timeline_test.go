package informer

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes/fake"
)

// restored is an API server whose etcd is restored from a backup. It sends no event to
// a watch from a version that it has not reached.
type restored struct {
	mu        sync.Mutex
	version   string
	pods      []corev1.Pod
	open      []*watch.FakeWatcher
	requested []string // the versions that lists and streamed lists requested
}

func (r *restored) restore(version string, pods ...corev1.Pod) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.version, r.pods = version, pods
	for _, w := range r.open {
		w.Stop()
	}
	r.open = nil
}

func (r *restored) list(_ context.Context, options metav1.ListOptions) (runtime.Object, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := &corev1.PodList{ListMeta: metav1.ListMeta{ResourceVersion: r.version}}
	if options.Limit == ProbeLimit {
		return list, nil
	}
	r.requested = append(r.requested, options.ResourceVersion)
	list.Items = r.pods
	return list, nil
}

func (r *restored) watch(_ context.Context, options metav1.ListOptions) (watch.Interface, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	w := watch.NewFakeWithOptions(watch.FakeOptions{ChannelSize: 10})
	r.open = append(r.open, w)
	if options.SendInitialEvents != nil {
		r.requested = append(r.requested, options.ResourceVersion)
		for n := range r.pods {
			w.Add(r.pods[n].DeepCopy())
		}
		w.Action(watch.Bookmark, listEnd(r.version))
	}
	return w, nil
}

func TestInformer_OnRollback(t *testing.T) {
	tests := []struct {
		name      string
		client    any
		requested []string
	}{
		{name: "lists", client: fake.NewClientset(), requested: []string{"0", ""}},
		{name: "streamed lists", client: streams{}, requested: []string{"", ""}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				lost, kept := web(1), web(2)
				lost.ResourceVersion, kept.ResourceVersion = "20", "5"
				server := &restored{version: "20", pods: []corev1.Pod{*lost, *kept}}
				i := newPods(t, Config{Client: test.client, List: server.list, Watch: server.watch})
				var versions []string
				i.OnRollback(func(version string) { versions = append(versions, version) })
				start(t, i)
				synctest.Wait()
				if n := len(i.GetStore().ListKeys()); n != 2 {
					t.Fatalf("%d Pods at first, want 2", n)
				}
				<-time.After(time.Minute) // virtual time; a very short watch counts as a failure
				server.restore("10", *kept)
				<-time.After(3 * time.Second) // virtual time
				synctest.Wait()
				if diff := cmp.Diff([]string{"shop/web-2"}, i.GetStore().ListKeys()); diff != "" {
					t.Errorf("Pods 3 s after the restore (-want +got):\n%s", diff)
				}
				if diff := cmp.Diff([]string{"10", "10"}, versions); diff != "" {
					t.Errorf("versions that were reported (-want +got):\n%s", diff)
				}
				if diff := cmp.Diff(test.requested, server.requested); diff != "" {
					t.Errorf("versions that were requested (-want +got):\n%s", diff)
				}
			})
		})
	}
}

func TestTimeline_resumed(t *testing.T) {
	tests := []struct {
		name          string
		version       string
		err           error
		wantErr       bool
		wantExpired   bool
		wantRollbacks int
	}{
		{name: "the same version", version: "10"},
		{name: "a newer version", version: "11"},
		{name: "an older version", version: "9", wantErr: true, wantExpired: true, wantRollbacks: 1},
		{name: "no version"},
		{name: "no answer", err: errors.New("connection refused"), wantErr: true},
		// The reflector would list everything for this error.
		{name: "an API server that is too busy", err: apierrors.NewTimeoutError("busy", 1), wantErr: true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var line timeline
			rollbacks := 0
			line.OnRollback(func(string) { rollbacks++ })
			events := watch.NewFake()
			err := line.resumed(t.Context(), "pods", events, "10", func(context.Context, metav1.ListOptions) (runtime.Object, error) {
				return &corev1.PodList{ListMeta: metav1.ListMeta{ResourceVersion: test.version}}, test.err
			})
			if (err != nil) != test.wantErr || isForReflector(err) != test.wantExpired || rollbacks != test.wantRollbacks {
				t.Errorf("error %v, %d rollbacks; want an error: %t, %d rollbacks", err, rollbacks, test.wantErr, test.wantRollbacks)
			}
			if events.IsStopped() != test.wantErr {
				t.Errorf("the watch is stopped: %t, want %t", events.IsStopped(), test.wantErr)
			}
		})
	}
}

func TestTimeline_listed(t *testing.T) {
	tests := []struct {
		name      string
		requested string
		version   string
		want      []string
	}{
		{name: "the first list", version: "10"},
		{name: "the same version", requested: "10", version: "10"},
		{name: "a newer version", requested: "10", version: "11"},
		{name: "an older version", requested: "10", version: "9", want: []string{"9"}},
		{name: "any version was requested", requested: "0", version: "9"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var line timeline
			var got []string
			line.OnRollback(func(version string) { got = append(got, version) })
			line.requested(&metav1.ListOptions{ResourceVersion: test.requested}, true)
			line.listed(t.Context(), "pods", test.version)
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("rollbacks (-want +got):\n%s", diff)
			}
		})
	}
}
