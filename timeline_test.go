package podinfolookup

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

// restored is an API server whose etcd is restored from a backup: it sends nothing
// to a watch of a version that it has not reached.
type restored struct {
	mu      sync.Mutex
	version string
	pods    []corev1.Pod
	open    []*watch.FakeWatcher
	asked   []string // the versions that lists and streamed lists asked for
}

func (r *restored) back(version string, pods ...corev1.Pod) {
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
	if options.Limit == probeLimit {
		return list, nil
	}
	r.asked = append(r.asked, options.ResourceVersion)
	list.Items = r.pods
	return list, nil
}

func (r *restored) watch(_ context.Context, options metav1.ListOptions) (watch.Interface, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	w := watch.NewFakeWithOptions(watch.FakeOptions{ChannelSize: 10})
	r.open = append(r.open, w)
	if options.SendInitialEvents != nil {
		r.asked = append(r.asked, options.ResourceVersion)
		for n := range r.pods {
			w.Add(r.pods[n].DeepCopy())
		}
		w.Action(watch.Bookmark, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
			ResourceVersion: r.version, Annotations: map[string]string{metav1.InitialEventsAnnotationKey: "true"},
		}})
	}
	return w, nil
}

func TestInformer_Restore(t *testing.T) {
	tests := []struct {
		name   string
		client any
		asked  []string
	}{
		{name: "lists", client: fake.NewClientset(), asked: []string{"0", ""}},
		{name: "streamed lists", client: streams{}, asked: []string{"", ""}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				old, kept := web(1), web(2)
				old.ResourceVersion, kept.ResourceVersion = "20", "5"
				server := &restored{version: "20", pods: []corev1.Pod{*old, *kept}}
				i := &Informer{}
				if err := i.init(&corev1.Pod{}, "pods", test.client, nil, server.list, server.watch); err != nil {
					t.Fatal(err)
				}
				var back []string
				i.OnBack(func(version string) { back = append(back, version) })
				ctx, stop := context.WithCancel(t.Context())
				var running sync.WaitGroup
				running.Go(func() { i.RunWithContext(ctx) })
				defer func() { stop(); running.Wait() }()
				synctest.Wait()
				if n := len(i.GetStore().ListKeys()); n != 2 {
					t.Fatalf("%d Pods at first, want 2", n)
				}
				<-time.After(time.Minute) // virtual time: a very short watch counts as a failure
				server.back("10", *kept)
				<-time.After(3 * time.Second) // virtual time
				synctest.Wait()
				if diff := cmp.Diff([]string{"shop/web-2"}, i.GetStore().ListKeys()); diff != "" {
					t.Errorf("Pods 3 s after the restore (-want +got):\n%s", diff)
				}
				if diff := cmp.Diff([]string{"10", "10"}, back); diff != "" {
					t.Errorf("versions that were reported (-want +got):\n%s", diff)
				}
				if diff := cmp.Diff(test.asked, server.asked); diff != "" {
					t.Errorf("versions that were asked for (-want +got):\n%s", diff)
				}
			})
		})
	}
}

func TestTimeline_Resumed(t *testing.T) {
	tests := []struct {
		name        string
		version     string
		err         error
		wantErr     bool
		wantExpired bool
		wantTold    int
	}{
		{name: "the same version", version: "10"},
		{name: "a newer version", version: "11"},
		{name: "an older version", version: "9", wantErr: true, wantExpired: true, wantTold: 1},
		{name: "no version", version: ""},
		{name: "no answer", err: errors.New("connection refused"), wantErr: true},
		// The reflector would list everything for it.
		{name: "an API server that is too busy", err: apierrors.NewTimeoutError("busy", 1), wantErr: true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var line timeline
			told := 0
			line.OnBack(func(string) { told++ })
			events := watch.NewFake()
			err := line.resumed(t.Context(), "pods", events, "10", func(context.Context, metav1.ListOptions) (runtime.Object, error) {
				return &corev1.PodList{ListMeta: metav1.ListMeta{ResourceVersion: test.version}}, test.err
			})
			if (err != nil) != test.wantErr || isForReflector(err) != test.wantExpired || told != test.wantTold {
				t.Errorf("error %v, told %d times", err, told)
			}
			if events.IsStopped() != test.wantErr {
				t.Errorf("the watch is stopped: %t, want %t", events.IsStopped(), test.wantErr)
			}
		})
	}
}
