package testcrcache

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/discovery"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/internal/informer"
	"github.com/weiyuanke/PodInfoLookup/internal/wire"
)

var (
	errOutage     = errors.New("connection refused")
	errNoResource = apierrors.NewGenericServerResponse(404, "GET", groupResource, "", "404 page not found", 0, true)
)

// terminatingBefore134 is a 405 whose message alone reports why.
func terminatingBefore134() error {
	err := apierrors.NewMethodNotSupported(groupResource, "create")
	err.ErrStatus.Message = "create not allowed while custom resource definition is terminating"
	return err
}

func TestIsCRDGone(t *testing.T) {
	conflict := apierrors.NewConflict(groupResource, "x", errors.New("old"))
	tests := []struct {
		name               string
		err                error
		wantStale, wantCRD bool
	}{
		{name: "no error"},
		{name: "a conflict", err: conflict, wantStale: true},
		{name: "a wrapped conflict", err: fmt.Errorf("wrapped: %w", conflict), wantStale: true},
		{name: "an object that exists", err: apierrors.NewAlreadyExists(groupResource, "x"), wantStale: true},
		{name: "a missing object", err: apierrors.NewNotFound(groupResource, "x"), wantStale: true},
		{name: "a missing resource", err: errNoResource, wantCRD: true},
		{
			name:    "a terminating CRD",
			err:     apierrors.NewForbidden(groupResource, "x", errors.New("create not allowed while custom resource definition is terminating")),
			wantCRD: true,
		},
		{name: "a terminating CRD, before 1.34", err: terminatingBefore134(), wantCRD: true},
		{name: "a CRD of another scope", err: apierrors.NewMethodNotSupported(groupResource, "create")},
		{name: "a missing right", err: informer.WithRemedy(apierrors.NewForbidden(groupResource, "x", nil))},
		{name: "an outage", err: errOutage},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := IsStale(test.err); got != test.wantStale {
				t.Errorf("IsStale = %t, want %t", got, test.wantStale)
			}
			if got := IsCRDGone(test.err); got != test.wantCRD {
				t.Errorf("IsCRDGone = %t, want %t", got, test.wantCRD)
			}
		})
	}
}

func TestCheckCRD(t *testing.T) {
	resources := func(all ...metav1.APIResource) any {
		return metav1.APIResourceList{GroupVersion: v1.GroupVersion.String(), APIResources: all}
	}
	group := func(name string, versions ...string) metav1.APIGroup {
		g := metav1.APIGroup{Name: name}
		for _, version := range versions {
			g.Versions = append(g.Versions, metav1.GroupVersionForDiscovery{GroupVersion: name + "/" + version, Version: version})
		}
		g.PreferredVersion = g.Versions[0]
		return g
	}
	const notFound = "404 page not found"
	testcrs := metav1.APIResource{Name: "testcrs", Verbs: metav1.Verbs{"list", "create"}}
	tests := []struct {
		name      string
		resources any // of the version that is needed
		groups    []metav1.APIGroup
		want      error
		wantText  string
	}{
		{name: "served", resources: resources(testcrs)},
		{name: "served beside others", resources: resources(metav1.APIResource{Name: "testcrs/status"}, testcrs)},
		{name: "served without verbs", resources: resources(metav1.APIResource{Name: "testcrs"})},
		{name: "no group", resources: notFound, want: ErrCRDMissing},
		{name: "another group", resources: notFound, groups: []metav1.APIGroup{group("other.example.com", "v2")}, want: ErrCRDMissing},
		{name: "another resource", resources: resources(metav1.APIResource{Name: "others"}), want: ErrCRDMissing},
		{name: "established between the requests", resources: notFound, groups: []metav1.APIGroup{group(v1.GroupName, "v1")}, want: ErrCRDMissing},
		{
			name: "being deleted", resources: resources(metav1.APIResource{Name: "testcrs", Verbs: metav1.Verbs{"list", "delete"}}),
			want: ErrCRDTerminating,
		},
		{
			name: "of another scope", resources: resources(metav1.APIResource{Name: "testcrs", Namespaced: true}),
			wantText: "of scope Namespaced, this program needs Cluster",
		},
		{
			name: "another version", resources: notFound, groups: []metav1.APIGroup{group(v1.GroupName, "v2")},
			wantText: "serves stable.example.com/v2, this program needs stable.example.com/v1",
		},
		{name: "no answer", resources: errOutage, want: errOutage},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			server := &apiServer{answer: func(r request) any {
				switch {
				case strings.HasPrefix(r.URL, "/apis/stable.example.com/v1"):
					return test.resources
				case strings.HasPrefix(r.URL, "/apis"):
					return metav1.APIGroupList{Groups: test.groups}
				default:
					return metav1.APIVersions{}
				}
			}}
			client, err := discovery.NewDiscoveryClientForConfig(server.config())
			if err != nil {
				t.Fatal(err)
			}
			got := CheckCRD(t.Context(), discovery.ToDiscoveryInterfaceWithContext(client))
			if test.wantText != "" {
				if crd := CRDError(""); !errors.As(got, &crd) || !strings.Contains(got.Error(), test.wantText) {
					t.Errorf("error is %v, want a CRDError with %q", got, test.wantText)
				}
			} else if !errors.Is(got, test.want) {
				t.Errorf("error is %v, want %v", got, test.want)
			}
		})
	}
}

func TestWhenServed(t *testing.T) {
	wrong := CRDError("wrong")
	tests := []struct {
		name             string
		checks, requests []error // the last one stays
		want             error
		wantWait         time.Duration
		wantReturned     int
		wantLost         []error
	}{
		{name: "a CRD that is served", checks: []error{nil}, requests: []error{nil}},
		{
			name:   "a CRD that is created",
			checks: []error{ErrCRDMissing, ErrCRDMissing, nil}, requests: []error{nil},
			wantWait: 2 * crdPoll, wantReturned: 1, wantLost: []error{ErrCRDMissing},
		},
		{
			name:   "a CRD that is corrected",
			checks: []error{wrong, nil}, requests: []error{nil},
			wantWait: crdPoll, wantReturned: 1, wantLost: []error{wrong},
		},
		{
			name:   "each cause is reported",
			checks: []error{ErrCRDMissing, wrong, wrong, nil}, requests: []error{nil},
			wantWait: 3 * crdPoll, wantReturned: 1, wantLost: []error{ErrCRDMissing, wrong},
		},
		{
			name:   "a CRD that only some API servers serve",
			checks: []error{nil}, requests: []error{errNoResource, errNoResource, nil},
			wantWait: 2 * crdPoll, wantReturned: 2, wantLost: []error{ErrCRDMissing, ErrCRDMissing},
		},
		{name: "a failed check is returned", checks: []error{errOutage}, requests: []error{nil}, want: errOutage},
		{name: "a failed request is returned", checks: []error{nil}, requests: []error{errOutage}, want: errOutage},
		{name: "a terminating CRD can be read", checks: []error{ErrCRDTerminating}, requests: []error{nil}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				returned, begin := 0, time.Now()
				var lost []error
				c := newCache(t, Config{Check: checking(inTurn(test.checks...))})
				c.OnCRDLost(func(err error) { lost = append(lost, err) })
				c.OnCRDReturned(func() { returned++ })
				next := inTurn(test.requests...)
				_, err := whenServed(t.Context(), c, true, func() (int, error) { return 0, next() })
				if !errors.Is(err, test.want) {
					t.Errorf("error is %v, want %v", err, test.want)
				}
				if diff := cmp.Diff(test.wantWait, time.Since(begin)); diff != "" {
					t.Errorf("wait (-want +got):\n%s", diff)
				}
				if diff := cmp.Diff(test.wantLost, lost, cmp.Comparer(errors.Is)); diff != "" {
					t.Errorf("reported as lost (-want +got):\n%s", diff)
				}
				if returned != test.wantReturned || c.Unavailable() != nil || !c.IsServed() {
					t.Errorf("returned %d times, want %d; unavailable: %v; served: %t", returned, test.wantReturned, c.Unavailable(), c.IsServed())
				}
			})
		})
	}
	t.Run("a stop ends the wait", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		c := newCache(t, Config{Check: checking(inTurn(ErrCRDMissing))})
		_, err := whenServed(ctx, c, true, func() (int, error) { return 0, nil })
		if !errors.Is(err, context.Canceled) || !errors.Is(c.Unavailable(), ErrCRDMissing) {
			t.Errorf("error is %v, unavailable: %v", err, c.Unavailable())
		}
		if c.IsServed() || c.AcceptsNew() {
			t.Errorf("served: %t; accepts new ones: %t", c.IsServed(), c.AcceptsNew())
		}
	})
	t.Run("a terminating CRD accepts no new Testcrs", func(t *testing.T) {
		c := newCache(t, Config{Check: checking(inTurn(ErrCRDTerminating))})
		if _, err := whenServed(t.Context(), c, true, func() (int, error) { return 0, nil }); err != nil {
			t.Fatal(err)
		}
		if !c.IsServed() || c.AcceptsNew() || len(c.checks) != 1 {
			t.Errorf("served: %t; accepts new ones: %t; %d checks are requested, want 1", c.IsServed(), c.AcceptsNew(), len(c.checks))
		}
	})
}

func TestCRD_pollUntilOpen(t *testing.T) {
	tests := []struct {
		name                   string
		checks                 []error // the last one stays
		wantLost, wantReturned int
		want                   error
	}{
		{name: "one that stays is reported once", checks: []error{ErrCRDTerminating}, wantLost: 1, want: ErrCRDTerminating},
		{name: "one that is deleted at once is reported by the watch", checks: []error{ErrCRDTerminating, ErrCRDMissing}},
		{
			name:   "one that is replaced",
			checks: []error{ErrCRDTerminating, ErrCRDTerminating, ErrCRDMissing, nil}, wantLost: 1, wantReturned: 1,
		},
		{
			name:   "an outage meanwhile",
			checks: []error{ErrCRDTerminating, errOutage, ErrCRDTerminating, errOutage, nil}, wantLost: 1, wantReturned: 1,
		},
		{
			name:   "another one that terminates is reported later",
			checks: []error{ErrCRDTerminating, ErrCRDMissing, ErrCRDTerminating, nil}, wantReturned: 1,
		},
		{name: "a discovery that is late", checks: []error{nil}, wantReturned: 1},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				c := newCache(t, Config{Check: checking(inTurn(test.checks...))})
				lost, returned := 0, 0
				c.OnCRDLost(func(error) { lost++ })
				c.OnCRDReturned(func() { returned++ })
				c.refused()
				if c.AcceptsNew() {
					t.Error("creates go on")
				}
				c.pollUntilOpen(ctx)
				if got, want := c.AcceptsNew(), test.wantReturned > 0; got != want {
					t.Errorf("AcceptsNew = %t, want %t", got, want)
				}
				if lost != test.wantLost || returned != test.wantReturned || !errors.Is(c.Unavailable(), test.want) {
					t.Errorf("lost %d times, returned %d times, unavailable: %v; want %d, %d, %v",
						lost, returned, c.Unavailable(), test.wantLost, test.wantReturned, test.want)
				}
			})
		})
	}
	t.Run("an open CRD does not return", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c := newCache(t, Config{})
			c.OnCRDReturned(func() { t.Error("it is reported as returned") })
			c.pollUntilOpen(t.Context())
		})
	})
}

func TestCRD_RequestCheck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		checks := 0
		c := newCache(t, Config{Check: func(context.Context) error { checks++; return nil }})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); c.run(ctx) }()
		<-time.After(time.Minute) // virtual time
		synctest.Wait()
		if checks != 0 {
			t.Errorf("%d checks that nobody requested", checks)
		}
		for range 3 { // does not block
			c.RequestCheck()
		}
		<-time.After(time.Minute) // virtual time
		synctest.Wait()
		if checks < 1 || checks > 2 {
			t.Errorf("%d checks, want one for those that are requested at once", checks)
		}
		cancel()
		<-done
	})
}

// All Testcrs are deleted with the CRD, whether the watch has reported it or not.
func TestCache_Get_AfterTheCRDWasDeleted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCache(t, Config{Check: checking(inTurn(ErrCRDMissing, nil))})
		put(t, c, entryOf("old", "1", "10"))
		c.recordWrite("wrote", "11")
		request := func(isWhole bool, answer error) error {
			_, err := whenServed(t.Context(), c, isWhole, func() (int, error) { return 0, answer })
			return err
		}
		if err := request(false, nil); !apierrors.IsResourceExpired(err) {
			t.Errorf("resuming the watch: %v, want it refused as expired", err)
		}
		if c.Get("old") != nil {
			t.Error("the cache still has a Testcr that was deleted with the CRD")
		}
		if !c.IsCurrent("wrote") {
			t.Error("the write that was deleted with the CRD is still awaited")
		}
		put(t, c, entryOf("new", "3", "20"))
		if c.Get("new") == nil {
			t.Error("a Testcr that was created after the return does not exist")
		}
		if err := request(true, errOutage); !errors.Is(err, errOutage) {
			t.Errorf("a list that fails: %v", err)
		}
		if c.Get("old") != nil {
			t.Error("a list that failed brings the old Testcr back")
		}
		if err := request(true, nil); err != nil {
			t.Error(err)
		}
		put(t, c, entryOf("old", "4", "9"))
		if c.Get("old") == nil {
			t.Error("a Testcr that was listed after the return does not exist")
		}
		if err := request(false, nil); err != nil {
			t.Errorf("resuming the watch after the list: %v", err)
		}
	})
}

// The cache must be listed again after the CRD was deleted, although its watch could be
// resumed: the watch cannot report what was deleted meanwhile.
func TestCache_ListsAfterTheCRDWasDeleted(t *testing.T) {
	tests := []struct {
		name   string
		checks []error // after the watch has ended; the last one stays
	}{
		{name: "before the watch is resumed", checks: []error{ErrCRDMissing, nil}},
		{name: "after the watch is resumed", checks: []error{nil, ErrCRDMissing, nil}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var mu sync.Mutex
				items := []runtime.RawExtension{{Object: &wire.Testcr{Testcr: *wanted()}}}
				var open *watch.FakeWatcher
				check := inTurn(nil)
				c := newCache(t, Config{
					Check: func(context.Context) error {
						mu.Lock()
						defer mu.Unlock()
						return check()
					},
					Reader: stubReader{
						list: func(metav1.ListOptions) (runtime.Object, error) {
							mu.Lock()
							defer mu.Unlock()
							return &metav1.List{ListMeta: metav1.ListMeta{ResourceVersion: "40"}, Items: items}, nil
						},
						watch: func(metav1.ListOptions) (watch.Interface, error) {
							mu.Lock()
							defer mu.Unlock()
							open = watch.NewFake()
							return open, nil
						},
					},
				})
				start(t, c)
				<-time.After(time.Minute) // virtual time; a very short watch counts as a failure
				if n := len(c.GetStore().ListKeys()); n != 1 {
					t.Fatalf("%d Testcrs at first, want 1", n)
				}
				mu.Lock()
				items, check = nil, inTurn(test.checks...)
				open.Stop()
				mu.Unlock()
				<-time.After(time.Minute) // virtual time
				synctest.Wait()
				if diff := cmp.Diff([]string{}, c.GetStore().ListKeys()); diff != "" {
					t.Errorf("Testcrs after the return of the CRD (-want +got):\n%s", diff)
				}
				if got := c.invalidVersion(); got != "" {
					t.Errorf("Testcrs up to version %s still do not exist", got)
				}
			})
		})
	}
}

// The version and the writes of the first loss count: the CRD may return, and be used
// by another replica, before this one notices.
func TestCache_crdLost_Again(t *testing.T) {
	c := newCache(t, Config{})
	put(t, c, entryOf("old", "1", "10"))
	c.crdLost(t.Context(), ErrCRDMissing)
	put(t, c, entryOf("new", "2", "20"))
	c.recordWrite("wrote", "30")
	c.crdLost(t.Context(), CRDError("another cause"))
	if c.Get("old") != nil || c.Get("new") == nil {
		t.Errorf("old is %v, new is %v", c.Get("old"), c.Get("new"))
	}
	if c.IsCurrent("wrote") {
		t.Error("a write after the loss is forgotten")
	}
	if diff := cmp.Diff("another cause", c.Unavailable().Error()); diff != "" {
		t.Errorf("cause (-want +got):\n%s", diff)
	}
}
