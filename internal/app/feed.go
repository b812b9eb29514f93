package app

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"text/tabwriter"
	"time"

	"k8s.io/apimachinery/pkg/util/duration"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"

	podinfolookup "github.com/weiyuanke/PodInfoLookup"
	"github.com/weiyuanke/PodInfoLookup/internal/printable"
)

const (
	// A burst has settled when nothing changed for settleTime; in one that does
	// not end, a list comes every longestBurst all the same.
	settleTime   = 250 * time.Millisecond
	longestBurst = 10 * time.Second
	listInterval = time.Second // at most one list in this time
	listRows     = 20
	// feedBacklog is how many lines wait for a slow reader of standard output.
	// Beyond it lines are dropped and counted: printing never holds up a write.
	feedBacklog = 1 << 14
)

// feed prints what changes on standard output, as it happens.
type feed struct {
	out     *bufio.Writer
	changes bool
	list    bool
	testcrs cache.Store
	// namespaces are those whose Testcrs are listed, none means all.
	namespaces []string

	lines   chan string
	dirty   chan struct{} // the Testcrs in the cache have changed
	dropped atomic.Int64
}

func newFeed(out io.Writer, o *options, testcrs *podinfolookup.TestcrInformer) (*feed, error) {
	f := &feed{
		out:        bufio.NewWriter(out),
		changes:    o.printChanges,
		list:       o.printList,
		testcrs:    testcrs.GetStore(),
		namespaces: o.namespaces,
		lines:      make(chan string, feedBacklog),
		dirty:      make(chan struct{}, 1),
	}
	if !f.list {
		return f, nil
	}
	_, err := testcrs.AddEventHandler(cache.FilteringResourceEventHandler{
		FilterFunc: f.shows,
		Handler: cache.ResourceEventHandlerFuncs{
			AddFunc:    func(any) { f.changed() },
			UpdateFunc: func(any, any) { f.changed() },
			DeleteFunc: func(any) { f.changed() },
		},
	})
	return f, err
}

// shows reports whether obj is a Testcr of a watched namespace, and of a Pod that
// is there.
func (f *feed) shows(obj any) bool {
	if tombstone, ok := obj.(cache.DeletedFinalStateUnknown); ok {
		obj = tombstone.Obj
	}
	t, ok := obj.(*podinfolookup.Testcr)
	return ok && !t.Emptied() && (len(f.namespaces) == 0 || slices.Contains(f.namespaces, t.Spec.Namespace))
}

// wrote takes a line from the controller's workers, without waiting.
func (f *feed) wrote(verb podinfolookup.Verb, pod cache.ObjectName) {
	if !f.changes {
		return
	}
	select {
	case f.lines <- string(verb) + ": " + printable.Text(pod.String()) + "\n":
	default:
		f.dropped.Add(1)
	}
}

func (f *feed) changed() {
	select {
	case f.dirty <- struct{}{}:
	default:
	}
}

// run prints until ctx ends, or until nobody reads any more.
func (f *feed) run(ctx context.Context) {
	var (
		settled            = time.NewTimer(time.Hour)
		firstChange, shown time.Time
		err                error
	)
	settled.Stop()
	defer settled.Stop()
	for err == nil {
		select {
		case <-ctx.Done():
			err = f.printLines()
			if err == nil {
				return
			}
		case line := <-f.lines:
			if _, err = f.out.WriteString(line); err == nil {
				err = f.printLines()
			}
		case <-f.dirty:
			now := time.Now()
			if firstChange.IsZero() {
				firstChange = now
			}
			settled.Reset(nextList(now, firstChange, shown).Sub(now))
		case <-settled.C:
			firstChange, shown = time.Time{}, time.Now()
			if err = f.printLines(); err == nil {
				err = f.printList()
			}
		}
	}
	klog.FromContext(ctx).Info("Standard output takes no more, the feed ends", "err", err)
}

// nextList returns when the list is due: when the burst that began at first and
// went on until now has settled or been long enough, and not too soon after the
// last list.
func nextList(now, first, shown time.Time) time.Time {
	due := now.Add(settleTime)
	if limit := first.Add(longestBurst); due.After(limit) {
		due = limit
	}
	if earliest := shown.Add(listInterval); due.Before(earliest) {
		due = earliest
	}
	return due
}

// printLines prints the lines that wait, and how many did not fit.
func (f *feed) printLines() error {
	for {
		select {
		case line := <-f.lines:
			if _, err := f.out.WriteString(line); err != nil {
				return err
			}
			continue
		default:
		}
		if n := f.dropped.Swap(0); n > 0 {
			fmt.Fprintf(f.out, "... %d changes more than standard output could take\n", n)
		}
		return f.out.Flush()
	}
}

func (f *feed) printList() error {
	fmt.Fprintln(f.out, "\ncurrent list:")
	listed := slices.DeleteFunc(f.testcrs.List(), func(obj any) bool { return !f.shows(obj) })
	rows, more := firstByPod(listed, listRows)
	if len(rows) > 0 {
		w := tabwriter.NewWriter(f.out, 0, 8, 3, ' ', 0)
		fmt.Fprintln(w, "NAME\tPOD\tIP\tNODE\tPHASE\tAGE")
		for _, t := range rows {
			cells := []string{t.Name, t.Spec.PodKey, orNone(t.Spec.PodIP), orNone(t.Spec.NodeName), orNone(t.Spec.Phase), age(t)}
			for i := range cells {
				cells[i] = printable.Text(cells[i])
			}
			fmt.Fprintln(w, strings.Join(cells, "\t"))
		}
		if err := w.Flush(); err != nil {
			return err
		}
	}
	if more > 0 {
		fmt.Fprintf(f.out, "... and %d more: kubectl get testcrs\n", more)
	}
	fmt.Fprintln(f.out)
	return f.out.Flush()
}

func age(t *podinfolookup.Testcr) string {
	if t.Spec.CreatedAt.IsZero() {
		return "<unknown>"
	}
	return duration.HumanDuration(time.Since(t.Spec.CreatedAt.Time))
}

func orNone(s string) string {
	if s == "" {
		return "<none>"
	}
	return s
}

// firstByPod returns the first n Testcrs in the order of their Pods' keys, and
// how many there are beyond.
func firstByPod(objs []any, n int) (rows []*podinfolookup.Testcr, more int) {
	byPod := func(a, b *podinfolookup.Testcr) int { return strings.Compare(a.Spec.PodKey, b.Spec.PodKey) }
	for _, obj := range objs {
		t := obj.(*podinfolookup.Testcr)
		if len(rows) == n && byPod(t, rows[n-1]) >= 0 {
			continue
		}
		at, _ := slices.BinarySearchFunc(rows, t, byPod)
		rows = slices.Insert(rows, at, t)
		rows = rows[:min(len(rows), n)]
	}
	return rows, len(objs) - len(rows)
}
