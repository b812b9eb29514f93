package podinfolookup

import (
	"testing"
	"time"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/internal/desired"
	"github.com/weiyuanke/PodInfoLookup/internal/testcrcache"
)

func TestReasonFor(t *testing.T) {
	want := testcrOf(web(1))
	same := entryOf(t, want)
	earlier := entryOf(t, testcrOf(web(1), func(t *v1.Testcr) { t.Spec.PodUID = "0" }))
	unlabelled := entryOf(t, testcrOf(web(1), withoutLabels))
	kept := entryOf(t, testcrOf(web(1), deleting))
	emptied := desired.Emptied(kept.Testcr())
	event, start, testcr := trigger{podChanged: true, firstEvent: time.Unix(1, 0)}, trigger{podChanged: true}, trigger{}
	tests := []struct {
		name     string
		trigger  trigger
		verb     Verb
		want     *v1.Testcr
		stored   *testcrcache.Entry
		reason   Reason
		isRepair bool
	}{
		{name: "a Pod is created", trigger: event, verb: Added, want: want, reason: PodChanged},
		{name: "a Pod changes", trigger: event, verb: Updated, want: want, stored: same, reason: PodChanged},
		{name: "a Pod is deleted", trigger: event, verb: Deleted, stored: same, reason: PodChanged},
		{name: "a Pod is deleted and a finalizer keeps its Testcr", trigger: event, verb: Updated, want: emptied, stored: kept, reason: PodChanged},
		{name: "another Pod has the name", trigger: event, verb: Updated, want: want, stored: earlier, reason: PodReplaced},
		{name: "a Pod has no Testcr at the start", trigger: start, verb: Added, want: want, reason: CaughtUp},
		{name: "a Pod has changed before the start", trigger: start, verb: Updated, want: want, stored: same, reason: CaughtUp},
		{name: "another Pod has the name since before the start", trigger: start, verb: Updated, want: want, stored: earlier, reason: PodReplaced},
		{name: "a Pod was deleted before the start", trigger: start, verb: Deleted, stored: same, reason: CaughtUp},
		{name: "a Testcr has no label of ours", trigger: start, verb: Updated, want: want, stored: unlabelled, reason: Adopted},
		{name: "a Testcr lost our label", trigger: testcr, verb: Updated, want: want, stored: unlabelled, reason: Adopted},
		{name: "a Testcr was deleted", trigger: testcr, verb: Added, want: want, reason: TestcrDeleted, isRepair: true},
		{name: "a Testcr was edited", trigger: testcr, verb: Updated, want: want, stored: same, reason: TestcrEdited, isRepair: true},
		{name: "the UID of the Pod was edited in a Testcr", trigger: testcr, verb: Updated, want: want, stored: earlier, reason: TestcrEdited, isRepair: true},
		{name: "a Testcr was created without a Pod", trigger: testcr, verb: Deleted, stored: same, reason: TestcrOrphaned, isRepair: true},
		{
			name: "a finalizer keeps a Testcr without a Pod", trigger: testcr, verb: Updated, want: emptied, stored: kept,
			reason: TestcrOrphaned, isRepair: true,
		},
		{name: "a conflict is no event of the Pod", trigger: trigger{conflicted: true}, verb: Updated, want: want, stored: same, reason: TestcrEdited, isRepair: true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := reasonFor(test.trigger, test.verb, test.want, test.stored)
			if got != test.reason || got.IsRepair() != test.isRepair {
				t.Errorf("reason %q, repair %t; want %q, %t", got, got.IsRepair(), test.reason, test.isRepair)
			}
		})
	}
}

func TestVerb_Writes(t *testing.T) {
	for verb, want := range map[Verb]bool{Added: true, Updated: true, Deleted: true, Unchanged: false, Foreign: false} {
		t.Run(string(verb), func(t *testing.T) {
			if got := verb.Writes(); got != want {
				t.Errorf("it writes: %t, want %t", got, want)
			}
		})
	}
}
