package heartbeat

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
)

var leases = schema.GroupResource{Group: "coordination.k8s.io", Resource: "leases"}

// TestHeartbeat_Run counts requests in virtual time.
func TestHeartbeat_Run(t *testing.T) {
	isAway := apierrors.NewServiceUnavailable("away")
	tests := []struct {
		name     string
		existing bool
		fails    error // of the second renewal
		check    func(time.Duration) error
		want     []string
	}{
		{name: "one request in ten seconds", want: []string{"0s get", "0s create", "10s update", "20s update"}},
		{name: "a Lease of a former process", existing: true, want: []string{"0s get", "0s update", "10s update", "20s update"}},
		{
			name:  "nothing while Testcrs are not kept",
			check: func(at time.Duration) error { return map[bool]error{true: errors.New("no CRD")}[at < 12*time.Second] },
			want:  []string{"12s get", "12s create", "22s update"},
		},
		{name: "a failure is retried with a read", fails: isAway, want: []string{"0s get", "0s create", "10s update", "20s get", "20s update"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begun := time.Now()
				client := fake.NewClientset()
				if test.existing {
					lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "x"}}
					if _, err := client.CoordinationV1().Leases("ns").Create(t.Context(), lease, metav1.CreateOptions{}); err != nil {
						t.Fatal(err)
					}
					client.ClearActions()
				}
				var got []string
				client.PrependReactor("*", "leases", func(a clienttesting.Action) (bool, runtime.Object, error) {
					at := time.Since(begun)
					got = append(got, at.String()+" "+a.GetVerb())
					return test.fails != nil && at == interval, nil, test.fails
				})
				check := func() error { return nil }
				if test.check != nil {
					check = func() error { return test.check(time.Since(begun)) }
				}
				ctx, cancel := context.WithTimeout(t.Context(), 25*time.Second)
				defer cancel()
				New(Config{Leases: client.CoordinationV1().Leases("ns"), Name: "x", Holder: "me", Check: check}).Run(ctx)
				if diff := cmp.Diff(test.want, got); diff != "" {
					t.Errorf("requests (-want +got):\n%s", diff)
				}
			})
		})
	}
}

// TestHeartbeat_Verdict writes Leases, and judges them as the plugin does.
func TestHeartbeat_Verdict(t *testing.T) {
	write := func(t *testing.T, client *fake.Clientset, name string, namespaces ...string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		New(Config{
			Leases: client.CoordinationV1().Leases("ns"), Name: Name(name), Holder: "me", Namespaces: namespaces, Check: func() error { return nil },
		}).Run(ctx)
	}
	tests := []struct {
		name       string
		leases     map[string][]string
		namespace  string
		after      time.Duration // from the renewal to now
		want       Verdict
		namespaces []string
	}{
		{name: "none", want: Unknown},
		{name: "of all namespaces", leases: map[string][]string{"a": nil}, want: Kept},
		{name: "of all, for one", leases: map[string][]string{"a": nil}, namespace: "shop", want: Kept},
		{name: "a clock behind", leases: map[string][]string{"a": nil}, after: -29 * time.Second, want: Kept},
		{name: "a clock that is wrong", leases: map[string][]string{"a": nil}, after: -time.Hour, want: Unknown},
		{name: "two renewals late", leases: map[string][]string{"a": nil}, after: 59 * time.Second, want: Kept},
		{name: "stopped", leases: map[string][]string{"a": nil}, after: 61 * time.Second, want: Stopped},
		{name: "of one namespace", leases: map[string][]string{"a": {"shop"}}, namespace: "shop", want: Kept, namespaces: []string{"shop"}},
		{name: "of others", leases: map[string][]string{"a": {"shop", "web"}}, namespace: "db", want: Elsewhere, namespaces: []string{"shop", "web"}},
		{name: "of some, for all", leases: map[string][]string{"a": {"web"}, "b": {"shop"}}, want: Elsewhere, namespaces: []string{"shop", "web"}},
		{name: "others have stopped", leases: map[string][]string{"a": {"shop"}}, after: time.Hour, want: Unknown, namespaces: []string{"shop"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client := fake.NewClientset()
				now := time.Now()
				for name, namespaces := range test.leases {
					write(t, client, name, namespaces...)
				}
				found, err := List(t.Context(), client.CoordinationV1())
				if err != nil {
					t.Fatal(err)
				}
				verdict, last := Judge(found, test.namespace, now.Add(test.after))
				if verdict != test.want || verdict == Stopped && !last.Equal(now) {
					t.Errorf("verdict %d since %s, want %d", verdict, last, test.want)
				}
				if diff := cmp.Diff(test.namespaces, Namespaces(found)); diff != "" {
					t.Errorf("namespaces (-want +got):\n%s", diff)
				}
			})
		})
	}
}

// TestNamespaces_Edited reads a Lease that somebody has edited.
func TestNamespaces_Edited(t *testing.T) {
	lease := coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{
		annotation: "web,shop\nerror: forged,\x1b[2J,," + strings.Repeat("a", 64) + ",shop",
	}}}
	if diff := cmp.Diff([]string{"shop", "web"}, Namespaces([]coordinationv1.Lease{lease})); diff != "" {
		t.Errorf("namespaces (-want +got):\n%s", diff)
	}
}

// TestClusterName writes Leases with names, and some by hand.
func TestClusterName(t *testing.T) {
	tests := []struct {
		name  string
		given []string // of each controller
		byHand,
		want string
	}{
		{name: "no heartbeat"},
		{name: "none is given", given: []string{""}},
		{name: "of one controller", given: []string{"prod-eu"}, want: "prod-eu"},
		{name: "of one of two", given: []string{"", "prod-eu"}, want: "prod-eu"},
		{name: "the same of two", given: []string{"prod-eu", "prod-eu"}, want: "prod-eu"},
		{name: "two names", given: []string{"prod-eu", "prod-us"}},
		{name: "a terminal's escape sequence", given: []string{"prod-eu"}, byHand: "\x1b[2Jprod-eu"},
		{name: "too long", given: []string{"prod-eu"}, byHand: strings.Repeat("a", 64)},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var leases []coordinationv1.Lease
			for i, name := range test.given {
				old := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{nameAnnotation: "of the last run"}}}
				leases = append(leases, *New(Config{Name: Name(fmt.Sprint(i)), Holder: "me", ClusterName: name}).next(old))
			}
			if test.byHand != "" {
				leases[0].Annotations[nameAnnotation] = test.byHand
			}
			if got := ClusterName(leases, time.Now()); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
			if got := ClusterName(leases, time.Now().Add(time.Hour)); got != "" {
				t.Errorf("of a controller that has stopped: %q", got)
			}
		})
	}
}

// TestVersions writes Leases with versions, and some by hand.
func TestVersions(t *testing.T) {
	const v2, v10 = "v0.2.0 (commit abc1234, go1.26 linux/amd64)", "v0.10.0"
	tests := []struct {
		name   string
		given  []string // of each controller
		byHand string
		after  time.Duration // from the renewal to now
		want   []string
		isOld  bool
	}{
		{name: "no heartbeat"},
		{name: "of one controller", given: []string{v2}, want: []string{v2}},
		{name: "the same of two", given: []string{v2, v2}, want: []string{v2}},
		{name: "two versions", given: []string{v2, v10}, want: []string{v10, v2}},
		{name: "a controller that writes none", given: []string{"", v2}, want: []string{v2}, isOld: true},
		{name: "a terminal's escape sequence", given: []string{v2}, byHand: "\x1b[2Jv9", isOld: true},
		{name: "two lines", given: []string{v2}, byHand: "v9\nv10", isOld: true},
		{name: "too long", given: []string{v2}, byHand: strings.Repeat("v", 201), isOld: true},
		{name: "a controller that has stopped", given: []string{v2}, after: 61 * time.Second},
		{name: "a clock that is wrong", given: []string{v2}, after: -time.Hour},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var leases []coordinationv1.Lease
			for i, version := range test.given {
				old := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{versionAnnotation: "of the last run"}}}
				leases = append(leases, *New(Config{Name: Name(fmt.Sprint(i)), Holder: "me", Version: version}).next(old))
			}
			if test.byHand != "" {
				leases[0].Annotations[versionAnnotation] = test.byHand
			}
			got, isOld := Versions(leases, time.Now().Add(test.after))
			if diff := cmp.Diff(test.want, got); diff != "" || isOld != test.isOld {
				t.Errorf("versions (-want +got):\n%s\nold: %t", diff, isOld)
			}
		})
	}
}

func TestList(t *testing.T) {
	lease := func(name string, labels map[string]string, renewed *metav1.MicroTime) *coordinationv1.Lease {
		return &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name, Labels: labels},
			Spec: coordinationv1.LeaseSpec{RenewTime: renewed}}
	}
	ours, now := map[string]string{v1.LabelManagedBy: v1.ManagedBy}, metav1.NowMicro()
	right := lease(Name("podinfolookup"), ours, &now)
	client := fake.NewClientset(right, lease("podinfolookup", ours, &now), lease("x.heartbeat", nil, &now), lease("y.heartbeat", ours, nil))
	var refused []string // selectors
	client.PrependReactor("list", "leases", func(a clienttesting.Action) (bool, runtime.Object, error) {
		restrictions := a.(clienttesting.ListAction).GetListRestrictions()
		selector := restrictions.Labels.String() + restrictions.Fields.String()
		if slices.Contains(refused, selector) {
			return true, nil, apierrors.NewForbidden(leases, "", nil)
		}
		return false, nil, nil
	})
	byLabel, byName := "app.kubernetes.io/managed-by=podinfolookup", "metadata.name=podinfolookup.heartbeat"
	tests := []struct {
		name    string
		refused []string
		want    int
	}{
		{name: "by the label", want: 1},
		{name: "by the name", refused: []string{byLabel}, want: 1},
		{name: "without a right", refused: []string{byLabel, byName}, want: 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			refused = test.refused
			found, err := List(t.Context(), client.CoordinationV1())
			if err != nil || len(found) != test.want || len(found) == 1 && found[0].Name != right.Name {
				t.Errorf("%v, %v, want %d", found, err, test.want)
			}
		})
	}
	client.PrependReactor("list", "leases", func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, nil, &apierrors.StatusError{ErrStatus: metav1.Status{Code: http.StatusInternalServerError}}
	})
	if _, err := List(t.Context(), client.CoordinationV1()); err == nil {
		t.Error("the error of the API server is lost")
	}
}

// TestJudge_Edited judges a Lease whose duration somebody has edited.
func TestJudge_Edited(t *testing.T) {
	now := time.Now()
	renewed := metav1.NewMicroTime(now.Add(-61 * time.Second))
	for _, seconds := range []*int32{nil, new(int32(0)), new(int32(-5)), new(int32(1 << 30))} {
		lease := coordinationv1.Lease{Spec: coordinationv1.LeaseSpec{RenewTime: &renewed, LeaseDurationSeconds: seconds}}
		if verdict, _ := Judge([]coordinationv1.Lease{lease}, "", now); verdict != Stopped {
			t.Errorf("verdict %d", verdict)
		}
	}
}
