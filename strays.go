package podinfolookup

import (
	"context"
	"errors"
	"sync"

	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"

	"github.com/weiyuanke/PodInfoLookup/internal/desired"
	"github.com/weiyuanke/PodInfoLookup/internal/podcache"
	"github.com/weiyuanke/PodInfoLookup/internal/testcrcache"
)

// strays resolves Testcrs whose podkey does not produce their name, as after an edit by
// hand.
type strays struct {
	pods     *podcache.Cache
	testcrs  *testcrcache.Cache
	queue    *runQueue
	warnings *warnings
	pruned   *pruned
	onWrite  func(Write)

	mu    sync.Mutex
	names map[string]struct{}
}

func (s *strays) add(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.names == nil {
		s.names = map[string]struct{}{}
	}
	s.names[name] = struct{}{}
}

func (s *strays) take() map[string]struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	names := s.names
	s.names = nil
	return names
}

// resolve queues the Pods whose Testcrs have these names, and removes those without a
// Pod. Only a comparison with the names of all Pods finds them, about 1 ms per 2,000
// Pods.
func (s *strays) resolve(ctx, requests context.Context) {
	names := s.take()
	if len(names) == 0 {
		return
	}
	for pod := range s.pods.Pods {
		key := pod.Key()
		name := nameFor(key)
		if _, ok := names[name]; ok {
			delete(names, name)
			s.queue.Add(key)
		}
	}
	for name := range names {
		if ctx.Err() != nil {
			return // the next Run finds them again
		}
		err := s.remove(requests, name)
		if err != nil {
			s.add(name)
		}
		if err != nil && !testcrcache.IsStale(err) { // after a conflict its event comes
			s.warnings.reportFailure(requests, cache.ObjectName{Name: name}, err, 1)
		}
	}
}

// remove deletes a Testcr that belongs to no Pod, or empties it if a finalizer keeps it.
func (s *strays) remove(ctx context.Context, name string) error {
	isCurrent := s.testcrs.IsCurrent(name) // before the read, which then includes the last write
	stored := s.testcrs.Get(name)
	if stored == nil || !s.testcrs.IsServed() || !isCurrent || !stored.MayDelete(s.pods.Watches) {
		return nil
	}
	if _, ok := stored.PodKey(); ok {
		return nil // it was corrected, and its key is queued
	}
	var err error
	verb := Deleted
	if stored.DeletionTimestamp == nil {
		err = s.testcrs.Delete(ctx, stored)
	} else if want := desired.Emptied(stored.Testcr()); !stored.Matches(want) {
		verb = Updated
		_, err = s.testcrs.Update(ctx, stored, want)
	} else {
		return nil
	}
	if errors.Is(err, testcrcache.ErrPruned) { // nothing helps until the CRD is replaced
		s.pruned.report(ctx, name)
		return nil
	}
	if err != nil {
		return err
	}
	s.onWrite(Write{Verb: verb, Reason: TestcrOrphaned, Pod: cache.ObjectName{Name: name}})
	klog.FromContext(ctx).V(4).Info("Wrote", "verb", verb, "reason", TestcrOrphaned, "testcr", name)
	return nil
}
