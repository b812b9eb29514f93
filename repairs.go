package podinfolookup

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
)

const (
	// The first repair of a Testcr is immediate. After each one the next waits
	// twice as long: 5 ms, 10 ms ... 30 s. Two writers that differ would else
	// undo each other's writes as fast as the API server takes them.
	repairWaitMin = 5 * time.Millisecond
	repairWaitMax = 30 * time.Second
	// repairForget is how long nobody must change a Testcr for its next repair to
	// be immediate again. It exceeds repairWaitMax, or no wait would last.
	repairForget = 2 * repairWaitMax

	// contestedFrom is the wait from which on a Testcr counts as contested: nine
	// repairs, of which each began within repairForget of the one before.
	contestedFrom = time.Second
	// contestInterval bounds the warnings, however many Testcrs are contested.
	contestInterval = 5 * time.Minute

	// maxManagers bounds the field managers that one warning names.
	maxManagers = 3
)

// repairs delays the writes that undo what other clients did, by Testcr. It has
// an entry for each Testcr that was repaired within repairForget.
type repairs struct {
	mu        sync.Mutex
	keys      map[cache.ObjectName]repair
	contested bool      // a Testcr was contested at the last sweep
	warned    time.Time // of a contest

	// One contested Testcr at a time is traced: the write named here was
	// prepared so that the next change of the Testcr shows who makes it.
	traced  string // its name
	version string // that the API server gave the write, "" before its answer
	since   time.Time
}

type repair struct {
	last time.Time
	wait time.Duration // after last
}

// wait returns how long the next repair of the Testcr of key has to wait.
func (r *repairs) wait(key cache.ObjectName) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	known := r.keys[key]
	return max(0, time.Until(known.last.Add(known.wait)))
}

// made records a repair.
func (r *repairs) made(key cache.ObjectName) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.keys == nil {
		r.keys = map[cache.ObjectName]repair{}
	}
	r.keys[key] = repair{last: time.Now(), wait: min(max(2*r.keys[key].wait, repairWaitMin), repairWaitMax)}
}

// sweep forgets the Testcrs that nobody changes any more. It returns true when
// the last contest has ended.
func (r *repairs) sweep() (ended bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	contested := false
	for key, known := range r.keys {
		if time.Since(known.last) > repairForget {
			delete(r.keys, key)
			continue
		}
		contested = contested || known.wait >= contestedFrom
	}
	if len(r.keys) == 0 {
		r.keys = nil // a map never gives its room back
	}
	ended = r.contested && !contested
	r.contested = contested
	return ended
}

// reset forgets all repairs.
func (r *repairs) reset() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.keys = nil
}

// trace reports whether the coming write of the Testcr called name is to show
// who changes it next: it is contested, and a warning is due.
func (r *repairs) trace(key cache.ObjectName, name string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	if r.keys[key].wait < contestedFrom || now.Sub(r.warned) < contestInterval && !r.warned.IsZero() ||
		r.traced != "" && now.Sub(r.since) < repairForget {
		return false
	}
	r.traced, r.version, r.since = name, "", now
	return true
}

// stored records the version that the API server gave to a write.
func (r *repairs) stored(name, version string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.traced == name {
		r.version = version
	}
}

// found reports whether the Testcr called name is the traced one, the version
// that it was written as, and how many Testcrs are contested. It ends the trace.
func (r *repairs) found(name string) (version string, contested int, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.traced != name {
		return "", 0, false
	}
	for _, known := range r.keys {
		if known.wait >= contestedFrom {
			contested++
		}
	}
	version, r.traced, r.warned = r.version, "", time.Now()
	return version, contested, true
}

// postponed reports whether the repair of the Testcr of key has to wait; it is
// queued for later then.
func (c *Controller) postponed(ctx context.Context, key cache.ObjectName, name string, verb Verb, have *Testcr) bool {
	wait := c.repairs.wait(key)
	if wait == 0 || !verb.writes() {
		return false
	}
	c.queue.AddAfter(key, wait)
	c.reportContested(ctx, key, name, have)
	return true
}

// traced returns have such that the API server records who changes the Testcr
// after an update of it. It records nobody where an earlier update has removed
// the managed fields, so this one puts an entry back.
func (c *Controller) traced(ctx context.Context, have *Testcr) *Testcr {
	managed, err := c.testcrs.managedFields(ctx, have.Name)
	if err != nil {
		return have // who changes it stays unknown
	}
	traced := *have
	traced.tracked = false
	if len(managed) == 0 {
		traced.ManagedFields = []metav1.ManagedFieldsEntry{{
			Manager: ManagedBy, Operation: metav1.ManagedFieldsOperationUpdate, APIVersion: testcrAPIVersion,
			FieldsType: "FieldsV1", FieldsV1: metav1.NewFieldsV1(`{"f:spec":{}}`),
		}}
	}
	return &traced
}

// reportContested warns of a Testcr that somebody changes again and again, with
// the likely cause. have is its state after the change, nil when it was deleted.
func (c *Controller) reportContested(ctx context.Context, key cache.ObjectName, name string, have *Testcr) {
	version, contested, ok := c.repairs.found(name)
	if !ok {
		return
	}
	cause := c.causeOfContest(ctx, have, version)
	klog.FromContext(ctx).Error(nil, "Testcrs are changed again and again; further repairs of each wait longer, up to 30 s",
		"contested", contested, "testcr", name, "pod", klog.KRef(key.Namespace, key.Name), "cause", cause)
	about := have
	if about == nil {
		about = &Testcr{ObjectMeta: metav1.ObjectMeta{Name: name}}
	}
	c.warn(referTo(about), ContestedTestcr, fmt.Sprintf(
		"%d Testcrs are changed again and again, this one among them; further repairs of each wait longer, up to %s: %s", contested, repairWaitMax, cause))
}

// causeOfContest returns who has changed have, as far as its managed fields and
// its version show that, and what to do about it.
func (c *Controller) causeOfContest(ctx context.Context, have *Testcr, written string) string {
	const audit = "the audit log of the API server names the client"
	if have == nil {
		return "a client deletes them: " + audit
	}
	if have.ResourceVersion == written {
		return "the API server stores something other than what is written: look for a mutating webhook or policy on testcrs " +
			"(kubectl get mutatingwebhookconfigurations,mutatingadmissionpolicies)"
	}
	managed, err := c.testcrs.managedFields(ctx, have.Name)
	if err != nil {
		return "unknown, " + err.Error() + ": " + audit
	}
	if others := otherManagers(managed); len(others) > 0 {
		return "the field manager " + strings.Join(others, ", ") + " changes them: stop it, or have it leave testcrs alone"
	}
	if len(managed) > 0 {
		return "a client with the field manager " + ManagedBy + " changes them: two controllers run without --leader-elect, " +
			"or with leases that differ; else " + audit
	}
	return "unknown, the API server has recorded no field manager; two controllers without --leader-elect are likely: " + audit
}

// managedFields reads who has written the Testcr called name.
func (i *TestcrInformer) managedFields(ctx context.Context, name string) ([]metav1.ManagedFieldsEntry, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	u, err := i.client.Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, withRemedy(err)
	}
	return u.GetManagedFields(), nil
}

// otherManagers returns the managers, quoted, that own a field that this program
// writes: after a change that is its author.
func otherManagers(managed []metav1.ManagedFieldsEntry) []string {
	var others []string
	for i := range managed {
		entry := &managed[i]
		if entry.Manager == ManagedBy || entry.FieldsV1 == nil {
			continue
		}
		fields := entry.FieldsV1.GetRawString()
		ours := strings.Contains(fields, `"f:spec"`) || strings.Contains(fields, LabelManagedBy) || strings.Contains(fields, labelPrefix)
		if quoted := fmt.Sprintf("%q", entry.Manager); ours && len(others) < maxManagers && !slices.Contains(others, quoted) {
			others = append(others, quoted)
		}
	}
	return others
}
