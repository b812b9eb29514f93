package auditor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/rest"

	"github.com/weiyuanke/PodInfoLookup/internal/oracle"
)

// Auditor watches a cluster. It needs the rights to list and watch Pods and
// Testcrs, and must reach the API server itself, by no proxy that is part of a
// trial.
type Auditor struct {
	checker *checker
	pods    *stream
	testcrs *stream
	epochs  *epochs
	log     func(format string, args ...any)
}

// New returns an Auditor that has yet to be run. log is told of requests that
// failed, which is no finding.
func New(config *rest.Config, log func(format string, args ...any)) (*Auditor, error) {
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, err
	}
	client.Timeout = 0 // a watch has its own
	base, _, err := rest.DefaultServerUrlFor(config)
	if err != nil {
		return nil, err
	}
	a := &Auditor{checker: newChecker(), epochs: &epochs{}, log: log}
	host := strings.TrimSuffix(base.String(), "/")
	a.pods = a.stream(client, host+"/api/v1/pods")
	a.pods.listed, a.pods.told, a.pods.known = a.podsListed, a.podTold, a.checker.podsKnown
	a.testcrs = a.stream(client, host+"/apis/stable.example.com/v1/testcrs")
	a.testcrs.listed, a.testcrs.told, a.testcrs.known = a.testcrsListed, a.testcrTold, a.checker.testcrsKnown
	return a, nil
}

func (a *Auditor) stream(client *http.Client, url string) *stream {
	last := ""
	return &stream{client: client, url: url, epochs: a.epochs, failed: func(err error) {
		if text := err.Error(); text != last { // an outage fails many times in the same way
			last = text
			a.log("auditor: %v", err)
		}
	}}
}

// Run watches until ctx ends.
func (a *Auditor) Run(ctx context.Context) {
	var streams sync.WaitGroup
	streams.Go(func() { a.pods.run(ctx) })
	streams.Go(func() { a.testcrs.run(ctx) })
	streams.Wait()
}

func (a *Auditor) podsListed(items json.RawMessage, at uint64, heard time.Time) error {
	var pods []corev1.Pod
	if err := json.Unmarshal(items, &pods); err != nil {
		return err
	}
	a.checker.podList(pods, at, heard)
	return nil
}

func (a *Auditor) podTold(kind string, object json.RawMessage, heard time.Time) (string, error) {
	pod := &corev1.Pod{}
	if err := json.Unmarshal(object, pod); err != nil {
		return "", err
	}
	a.checker.podEvent(pod, versionOf(pod.ResourceVersion), kind == "DELETED", heard)
	return pod.ResourceVersion, nil
}

func (a *Auditor) testcrsListed(items json.RawMessage, at uint64, heard time.Time) error {
	var testcrs []testcrOf
	if err := json.Unmarshal(items, &testcrs); err != nil {
		return err
	}
	a.checker.testcrList(testcrs, at, heard)
	return nil
}

func (a *Auditor) testcrTold(kind string, object json.RawMessage, heard time.Time) (string, error) {
	t := &testcrOf{}
	if err := json.Unmarshal(object, t); err != nil {
		return "", err
	}
	a.checker.testcrEvent(t, versionOf(t.Metadata.ResourceVersion), kind == "DELETED", heard)
	return t.Metadata.ResourceVersion, nil
}

// Restored begins a new epoch, because an older state of etcd is put back and its
// versions with it. It must be called while no API server runs: between the end
// of the one that served the newer state and the start of the next. Both
// resources are listed again. Writes that could not be judged yet never will be;
// the report counts them. Allowances of the epochs before expire.
func (a *Auditor) Restored() {
	a.epochs.next(func() { a.checker.newEpoch(time.Now()) })
}

// Synced returns nil once both resources have been listed, in this epoch.
func (a *Auditor) Synced() error {
	a.checker.mu.Lock()
	defer a.checker.mu.Unlock()
	if a.checker.podsAt == 0 || a.checker.testcrsAt == 0 {
		return errors.New("the auditor has not listed all yet")
	}
	return nil
}

// Heard returns until when the API server is known to have been heard by both
// watches. It is the zero time before the first lists of an epoch.
func (a *Auditor) Heard() time.Time {
	if a.Synced() != nil {
		return time.Time{}
	}
	pods, testcrs := a.pods.heard.Load(), a.testcrs.heard.Load()
	return time.Unix(0, min(pods, testcrs))
}

// Drift tells how many Testcrs are not what their Pods call for, since when the
// oldest of them, and the first few. Under load there are always some, for
// milliseconds.
func (a *Auditor) Drift() (n int, oldest time.Time, some []string) { return a.checker.drift() }

// Judge decides about the writes so far. All that others have written by now
// must have been allowed.
func (a *Auditor) Judge() { a.checker.judge(time.Now()) }

// AllowWrite owns up to a create or update of a Testcr: version is that of the
// answer.
func (a *Auditor) AllowWrite(version string) {
	a.checker.mu.Lock()
	defer a.checker.mu.Unlock()
	a.checker.allowed.versions[versionOf(version)] = struct{}{}
}

// AllowDelete owns up to the deletion of the Testcr with this UID.
func (a *Auditor) AllowDelete(uid string) {
	a.checker.mu.Lock()
	defer a.checker.mu.Unlock()
	a.checker.allowed.deleted[uid] = struct{}{}
}

// AllowDeletions owns up to all deletions of Testcrs between two versions, as
// when the CRD is deleted.
func (a *Auditor) AllowDeletions(from, to string) {
	a.checker.mu.Lock()
	defer a.checker.mu.Unlock()
	a.checker.allowed.windows = append(a.checker.allowed.windows, gap{from: versionOf(from), to: versionOf(to)})
}

// AtRest compares lists of all Pods and all Testcrs until there is no difference
// while no Pod changes. What still differs after within becomes findings.
func (a *Auditor) AtRest(ctx context.Context, within time.Duration) error {
	end := time.Now().Add(within)
	for {
		found, at, err := a.compareLists(ctx)
		if err == nil && len(found) == 0 {
			err = a.untilJudged(ctx, at, end)
			a.checker.rested()
			return err
		}
		if time.Now().After(end) {
			if err != nil {
				return err
			}
			a.checker.mu.Lock()
			for _, f := range found {
				a.checker.report(f)
			}
			a.checker.mu.Unlock()
			return a.untilJudged(ctx, at, end)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(5 * retryAfter):
		}
	}
}

// untilJudged waits until both logs are complete up to at, and judges.
func (a *Auditor) untilJudged(ctx context.Context, at uint64, end time.Time) error {
	end = end.Add(4 * watchSeconds * time.Second)
	for {
		a.checker.mu.Lock()
		complete := a.checker.podsAt >= at && a.checker.testcrsAt >= at
		podsAt, testcrsAt := a.checker.podsAt, a.checker.testcrsAt
		a.checker.mu.Unlock()
		if complete {
			a.Judge()
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("the watches have told of versions up to %d (pods) and %d (testcrs), not %d", podsAt, testcrsAt, at)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(retryAfter):
		}
	}
}

// compareLists lists Pods, Testcrs and Pods again. It compares a Testcr only with
// a Pod that is the same in both lists. at is the version of the first list.
func (a *Auditor) compareLists(ctx context.Context) (found []Finding, at uint64, err error) {
	before, at, err := a.listPods(ctx)
	if err != nil {
		return nil, 0, err
	}
	all, heard, err := a.testcrs.list(ctx)
	if err != nil {
		return nil, 0, err
	}
	var testcrs []testcrOf
	if err := json.Unmarshal(all.Items, &testcrs); err != nil {
		return nil, 0, err
	}
	after, _, err := a.listPods(ctx)
	if err != nil {
		return nil, 0, err
	}
	if !maps.EqualFunc(before, after, func(b, c state) bool { return b.text == c.text }) {
		return []Finding{{Kind: Restless, At: heard, Detail: "Pods changed between two lists"}}, at, nil
	}
	return compare(before, testcrs, heard), at, nil
}

func (a *Auditor) listPods(ctx context.Context) (map[string]state, uint64, error) {
	all, _, err := a.pods.list(ctx)
	if err != nil {
		return nil, 0, err
	}
	var pods []corev1.Pod
	if err := json.Unmarshal(all.Items, &pods); err != nil {
		return nil, 0, err
	}
	states := make(map[string]state, len(pods))
	for i := range pods {
		states[oracle.PodKey(&pods[i])] = expect(&pods[i])
	}
	return states, versionOf(all.Metadata.ResourceVersion), nil
}

// compare compares all Pods with all Testcrs at rest.
func compare(pods map[string]state, testcrs []testcrOf, heard time.Time) (found []Finding) {
	names := make(map[string]string, len(pods))
	live := make(map[string]string, len(pods)) // the Pod by its UID
	for key := range pods {
		names[oracle.NameFor(key)] = key
		live[pods[key].uid] = key
	}
	for i := range testcrs {
		t := &testcrs[i]
		f := Finding{Testcr: t.Metadata.Name, Version: versionOf(t.Metadata.ResourceVersion), At: heard}
		says := t.state()
		key, wanted := names[t.Metadata.Name]
		delete(names, t.Metadata.Name)
		switch {
		case wanted && says.text != pods[key].text:
			f.Kind, f.Pod, f.Detail = Differs, key, difference("it says ", says.text, ", the Pod ", pods[key].text)
		case wanted:
			continue
		case live[says.uid] != "":
			f.Kind, f.Pod, f.Detail = Duplicate, live[says.uid], "the Pod's own is "+oracle.NameFor(live[says.uid])
		case !t.managed() || says.absent():
			continue // somebody else's, and in nobody's way, or emptied
		default:
			f.Kind, f.Detail = Orphan, "it says "+short(says.text)
		}
		found = append(found, f)
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		found = append(found, Finding{Kind: Missing, Testcr: name, Pod: names[name], At: heard})
	}
	return found
}
