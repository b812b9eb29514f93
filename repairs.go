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

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/internal/testcrcache"
)

const (
	// The first repair of a Testcr is immediate. After each one the delay before the
	// next doubles: 5 ms, 10 ms ... 30 s. Otherwise two writers that differ would undo
	// each other's writes as fast as the API server accepts them.
	repairDelayMin = 5 * time.Millisecond
	repairDelayMax = 30 * time.Second
	// repairMemory is how long nobody must change a Testcr for its next repair to be
	// immediate again. It exceeds repairDelayMax, or no delay would last.
	repairMemory = 2 * repairDelayMax

	// contestedFrom is the delay from which on a Testcr counts as contested: nine
	// repairs, each within repairMemory of the one before.
	contestedFrom = time.Second
	// contestInterval bounds the warnings, however many Testcrs are contested.
	contestInterval = 5 * time.Minute

	// maxManagers bounds the field managers that one warning names.
	maxManagers = 3
)

// repairs delays the repairs of Testcrs that other clients change again and again, and
// reports these clients. One contested Testcr at a time is traced: its last write was
// prepared so that the next change of the Testcr shows its author.
type repairs struct {
	queue         *runQueue
	states        *keyStates
	warnings      *warnings
	managedFields func(ctx context.Context, testcr string) ([]metav1.ManagedFieldsEntry, error)

	mu       sync.Mutex
	isOn     bool      // a Testcr was contested at the last call of forget
	warnedAt time.Time // of the last warning

	traced   string    // the name of the traced Testcr
	version  string    // that the API server gave the traced write, "" before its answer
	tracedAt time.Time // when the trace began
}

// note records a repair, and doubles the delay before the next one.
func (r *repairs) note(key cache.ObjectName) {
	r.states.update(key, func(state *keyState) {
		state.repairedAt = time.Now()
		state.repairDelay = min(max(2*state.repairDelay, repairDelayMin), repairDelayMax)
	})
}

// forget forgets the Testcrs that nobody changes any more, and logs when the last
// contest has ended.
func (r *repairs) forget(ctx context.Context) {
	contested := r.states.each(0, func(state *keyState) bool {
		if time.Since(state.repairedAt) > repairMemory {
			state.repairedAt, state.repairDelay = time.Time{}, 0
		}
		return state.repairDelay >= contestedFrom
	})
	r.mu.Lock()
	hasEnded := r.isOn && len(contested) == 0
	r.isOn = len(contested) > 0
	r.mu.Unlock()
	if hasEnded {
		klog.FromContext(ctx).Info("No Testcr is changed again and again any more")
	}
}

// isPostponed reports whether the repair of a Testcr must be delayed. It queues the key
// for later then.
func (r *repairs) isPostponed(ctx context.Context, key cache.ObjectName, stored *testcrcache.Entry) bool {
	state := r.states.get(key)
	wait := time.Until(state.repairedAt.Add(state.repairDelay))
	if wait <= 0 {
		return false
	}
	r.queue.AddAfter(key, wait)
	r.report(ctx, key, stored)
	return true
}

// startTrace reports whether the coming write of a Testcr is to show its next author: it
// is contested, and a warning is due.
func (r *repairs) startTrace(key cache.ObjectName) bool {
	if r.states.get(key).repairDelay < contestedFrom {
		return false
	}
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	if now.Sub(r.warnedAt) < contestInterval || now.Sub(r.tracedAt) < repairMemory {
		return false
	}
	r.traced, r.version, r.tracedAt = nameFor(key), "", now
	return true
}

// recordVersion records the version that the API server gave to a write.
func (r *repairs) recordVersion(name, version string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.traced == name {
		r.version = version
	}
}

// endTrace returns whether a Testcr is the traced one, and the version of its last write.
// It ends the trace.
func (r *repairs) endTrace(name string) (version string, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.traced != name {
		return "", false
	}
	version, r.traced, r.warnedAt = r.version, "", time.Now()
	return version, true
}

// report warns of a Testcr that is changed again and again, with the likely cause.
// stored is its state after the change, or nil if it was deleted.
func (r *repairs) report(ctx context.Context, key cache.ObjectName, stored *testcrcache.Entry) {
	name := nameFor(key)
	version, ok := r.endTrace(name)
	if !ok {
		return
	}
	contested := len(r.states.each(0, func(state *keyState) bool { return state.repairDelay >= contestedFrom }))
	cause := r.causeOf(ctx, stored, version)
	klog.FromContext(ctx).Error(nil, "Testcrs are changed again and again; further repairs of each wait longer, up to 30 s",
		"contested", contested, "testcr", name, "pod", klog.KRef(key.Namespace, key.Name), "cause", cause)
	about := &metav1.ObjectMeta{Name: name}
	if stored != nil {
		about = &stored.ObjectMeta
	}
	r.warnings.warn(about, ContestedTestcr, fmt.Sprintf(
		"%d Testcrs are changed again and again, this one among them; further repairs of each wait longer, up to %s: %s", contested, repairDelayMax, cause))
}

// causeOf returns who changed stored, as far as its managed fields and its version show,
// and what to do about it.
func (r *repairs) causeOf(ctx context.Context, stored *testcrcache.Entry, written string) string {
	const audit = "the audit log of the API server names the client"
	if stored == nil {
		return "a client deletes them: " + audit
	}
	if stored.ResourceVersion == written {
		return "the API server stores something other than what is written: look for a mutating webhook or policy on testcrs " +
			"(kubectl get mutatingwebhookconfigurations,mutatingadmissionpolicies)"
	}
	managed, err := r.managedFields(ctx, stored.Name)
	if err != nil {
		return "unknown, " + err.Error() + ": " + audit
	}
	if others := otherManagers(managed); len(others) > 0 {
		return "the field manager " + strings.Join(others, ", ") + " changes them: stop it, or have it leave testcrs alone"
	}
	if len(managed) > 0 {
		return "a client with the field manager " + v1.ManagedBy + " changes them: two controllers run without --leader-elect, " +
			"or with leases that differ; else " + audit
	}
	return "unknown, the API server has recorded no field manager; two controllers without --leader-elect are likely: " + audit
}

// otherManagers returns the managers, quoted, that own a field that this program writes:
// after a change that is its author.
func otherManagers(managed []metav1.ManagedFieldsEntry) []string {
	var others []string
	for i := range managed {
		entry := &managed[i]
		if entry.Manager == v1.ManagedBy || entry.FieldsV1 == nil {
			continue
		}
		fields := entry.FieldsV1.GetRawString()
		isOurs := strings.Contains(fields, `"f:spec"`) || strings.Contains(fields, v1.LabelManagedBy) || strings.Contains(fields, v1.GroupName+"/")
		if quoted := fmt.Sprintf("%q", entry.Manager); isOurs && len(others) < maxManagers && !slices.Contains(others, quoted) {
			others = append(others, quoted)
		}
	}
	return others
}
