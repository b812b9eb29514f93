package app

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	podinfolookup "github.com/weiyuanke/PodInfoLookup"
	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/internal/testcrcache"
)

func TestWriteRecorder(t *testing.T) {
	const added, unchanged = podinfolookup.Added, podinfolookup.Unchanged
	resource := v1.GroupVersionResource.GroupResource()
	refused := errors.New("a policy refuses it")
	conflict := apierrors.NewConflict(resource, "a", nil)
	invalid := apierrors.NewInvalid(schema.GroupKind{Group: v1.GroupName, Kind: "Testcr"}, "a", nil)
	type event func(*writeRecorder)
	sync := func(verb podinfolookup.Verb, err error) event { return func(r *writeRecorder) { r.synced(verb, err) } }
	wait := func(d time.Duration) event { return func(*writeRecorder) { <-time.After(d) } }
	lost := func(err error) event { return func(r *writeRecorder) { r.lost(err) } }
	fail, write, second := sync(added, refused), sync(added, nil), wait(time.Second)
	tests := []struct {
		name       string
		events     []event
		want       time.Duration // since the beginning; below 0 for no failure
		wantReason string
	}{
		{name: "nothing", want: -1},
		{name: "two failures", events: []event{fail, fail}, want: -1},
		{name: "three failures", events: []event{second, fail, second, fail, fail}, want: time.Second, wantReason: "a policy refuses it"},
		{name: "a write between", events: []event{fail, fail, write, fail, fail}, want: -1},
		{name: "a write afterwards", events: []event{fail, fail, fail, write}, want: -1},
		{name: "failures after a write", events: []event{write, second, fail, fail, second, fail}, want: time.Second, wantReason: "a policy refuses it"},
		{name: "a Testcr that is as it must be", events: []event{fail, sync(unchanged, nil), fail, fail, sync(unchanged, nil)}, wantReason: "a policy refuses it"},
		{name: "a read that fails", events: []event{sync(unchanged, refused), fail, fail}, wantReason: "a policy refuses it"},
		{name: "the reason of the last", events: []event{fail, fail, sync(added, errors.New("another"))}, wantReason: "another"},
		{name: "conflicts", events: []event{sync(added, conflict), sync(added, conflict), sync(added, conflict)}, want: -1},
		{name: "one Testcr that is invalid", events: []event{sync(added, invalid), sync(added, invalid), sync(added, invalid)}, want: -1},
		{name: "retries as seldom as can be", events: []event{fail, fail, fail, wait(5 * time.Minute)}, wantReason: "a policy refuses it"},
		{name: "no failure for longer", events: []event{fail, fail, fail, wait(8 * time.Minute)}, want: -1},
		{name: "the end of a leader's term", events: []event{fail, fail, fail, (*writeRecorder).stopped}, want: -1},
		{name: "no CRD", events: []event{second, lost(testcrcache.ErrCRDMissing), second}, want: time.Second, wantReason: testcrcache.ErrCRDMissing.Error()},
		{
			name:   "a CRD that is deleted slowly",
			events: []event{lost(testcrcache.ErrCRDTerminating), second, lost(testcrcache.ErrCRDMissing)}, wantReason: testcrcache.ErrCRDMissing.Error(),
		},
		{name: "no CRD at the end of a term", events: []event{lost(testcrcache.ErrCRDMissing), (*writeRecorder).stopped}, wantReason: testcrcache.ErrCRDMissing.Error()},
		{name: "the CRD is back", events: []event{fail, fail, fail, lost(testcrcache.ErrCRDMissing), (*writeRecorder).returned}, want: -1},
		{
			name:   "failures before the CRD was lost",
			events: []event{fail, fail, fail, second, lost(testcrcache.ErrCRDMissing)}, wantReason: testcrcache.ErrCRDMissing.Error(),
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, begin := &writeRecorder{}, time.Now()
				for _, event := range test.events {
					event(r)
				}
				since, reason := r.fail()
				want, wantCheck := time.Time{}, "<nil>"
				if test.want >= 0 {
					want = begin.Add(test.want)
					wantCheck = "fail since " + want.UTC().Format(time.RFC3339) + ": the log has the reason"
				}
				if diff := cmp.Diff(want, since); diff != "" {
					t.Errorf("since (-want +got):\n%s", diff)
				}
				if reason != test.wantReason {
					t.Errorf("reason %q, want %q", reason, test.wantReason)
				}
				if got := fmt.Sprint(r.check()); got != wantCheck {
					t.Errorf("check %q, want %q", got, wantCheck)
				}
			})
		})
	}
}

func TestWriteRecorder_BoundsTheReason(t *testing.T) {
	r := &writeRecorder{}
	for range minWriteFailures {
		r.synced(podinfolookup.Added, errors.New(strings.Repeat("x", 1<<20)))
	}
	if _, reason := r.fail(); len(reason) > maxWriteError {
		t.Errorf("%d bytes, want at most %d", len(reason), maxWriteError)
	}
}
