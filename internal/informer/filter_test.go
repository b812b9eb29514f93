package informer

import (
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/watch"
)

func TestFilter(t *testing.T) {
	keepAll := func(event watch.Event) (watch.Event, bool) { return event, true }
	nameOf := func(event watch.Event) string { return event.Object.(*corev1.Pod).Name }
	t.Run("returns the events that are kept, as they are kept, until the end", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			events := watch.NewFake()
			go func() {
				for n := range 3 {
					events.Add(web(n + 1))
				}
				events.Stop()
			}()
			odd := func(event watch.Event) (watch.Event, bool) {
				event.Type = watch.Modified
				return event, nameOf(event) != web(2).Name
			}
			var got []string
			for event := range Filter(events, odd).ResultChan() {
				got = append(got, string(event.Type)+" "+nameOf(event))
			}
			if diff := cmp.Diff([]string{"MODIFIED web-1", "MODIFIED web-3"}, got); diff != "" {
				t.Errorf("events (-want +got):\n%s", diff)
			}
		})
	})
	stops := []struct {
		name      string
		isPending bool
	}{
		{name: "while an event is pending", isPending: true},
		{name: "while nothing happens"},
	}
	for _, test := range stops {
		t.Run("ends at Stop "+test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { // fails if a goroutine is left
				events := watch.NewFake()
				w := Filter(events, keepAll)
				if test.isPending {
					events.Add(web(1))
				}
				synctest.Wait()
				w.Stop()
				w.Stop() // as a reflector may
				synctest.Wait()
				if _, open := <-w.ResultChan(); open || !events.IsStopped() {
					t.Errorf("it is open: %t; the watch is stopped: %t", open, events.IsStopped())
				}
			})
		})
	}
}
