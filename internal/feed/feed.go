// Package feed prints on standard output which Testcrs are written, and the list
// of Testcrs once changes have settled.
package feed

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

	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"

	"github.com/weiyuanke/PodInfoLookup/internal/printable"
)

const (
	// The list is printed when nothing has changed for settleDelay, and every
	// maxBurst while changes go on.
	settleDelay  = 250 * time.Millisecond
	maxBurst     = 10 * time.Second
	listInterval = time.Second // between two lists, at least
	maxRows      = 20
	// maxBacklog is how many lines wait for a slow reader of standard output. Further
	// lines are dropped and counted, so that printing never delays a write.
	maxBacklog = 1 << 14
)

// Config selects what is printed.
type Config struct {
	Out          io.Writer
	PrintChanges bool // a line for each write
	PrintList    bool // the list of Testcrs
	// Testcrs is the informer of the listed objects; Row returns the row of one, and
	// false if it is not listed. Both are for PrintList alone.
	Testcrs Informer
	Row     func(obj any) (Row, bool)
}

// Informer is the part of a shared informer that the feed needs.
type Informer interface {
	AddEventHandler(handler cache.ResourceEventHandler) (cache.ResourceEventHandlerRegistration, error)
	GetStore() cache.Store
}

// Row is a row of the list. Missing values are "" or zero.
type Row struct {
	Name, Pod, IP, Node, Phase string
	CreatedAt                  time.Time
}

// Feed prints changes as they happen.
type Feed struct {
	config Config
	out    *bufio.Writer

	lines   chan string
	changed chan struct{} // a listed Testcr in the cache has changed
	dropped atomic.Int64
}

// New returns a Feed, which prints nothing before Run.
func New(c Config) (*Feed, error) {
	f := &Feed{
		config:  c,
		out:     bufio.NewWriter(c.Out),
		lines:   make(chan string, maxBacklog),
		changed: make(chan struct{}, 1),
	}
	if !c.PrintList {
		return f, nil
	}
	_, err := c.Testcrs.AddEventHandler(cache.FilteringResourceEventHandler{
		FilterFunc: f.isListed,
		Handler: cache.ResourceEventHandlerFuncs{
			AddFunc:    func(any) { f.enqueueList() },
			UpdateFunc: func(any, any) { f.enqueueList() },
			DeleteFunc: func(any) { f.enqueueList() },
		},
	})
	return f, err
}

func (f *Feed) isListed(obj any) bool {
	if tombstone, ok := obj.(cache.DeletedFinalStateUnknown); ok {
		obj = tombstone.Obj
	}
	_, listed := f.config.Row(obj)
	return listed
}

// Changed prints a line for a write. It never blocks.
func (f *Feed) Changed(verb string, pod cache.ObjectName) {
	if !f.config.PrintChanges {
		return
	}
	select {
	case f.lines <- verb + ": " + printable.Text(pod.String()) + "\n":
	default:
		f.dropped.Add(1)
	}
}

// enqueueList has the list printed once changes have settled.
func (f *Feed) enqueueList() {
	select {
	case f.changed <- struct{}{}:
	default:
	}
}

// Run prints until ctx ends, or until standard output is closed.
func (f *Feed) Run(ctx context.Context) {
	var (
		settled             = time.NewTimer(time.Hour)
		firstChange, listed time.Time
		err                 error
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
		case <-f.changed:
			now := time.Now()
			if firstChange.IsZero() {
				firstChange = now
			}
			settled.Reset(nextList(now, firstChange, listed).Sub(now))
		case <-settled.C:
			firstChange, listed = time.Time{}, time.Now()
			if err = f.printLines(); err == nil {
				err = f.printList()
			}
		}
	}
	klog.FromContext(ctx).Info("Standard output takes no more, the feed ends", "err", err)
}

// nextList returns when to print the list: settleDelay after the change at now, but
// within maxBurst of the first change, and listInterval after the last list.
func nextList(now, first, listed time.Time) time.Time {
	due := now.Add(settleDelay)
	if limit := first.Add(maxBurst); due.After(limit) {
		due = limit
	}
	if earliest := listed.Add(listInterval); due.Before(earliest) {
		due = earliest
	}
	return due
}

// printLines prints the lines that wait, and the number of dropped ones.
func (f *Feed) printLines() error {
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

func (f *Feed) printList() error {
	fmt.Fprintln(f.out, "\ncurrent list:")
	rows, more := f.firstRows()
	if len(rows) > 0 {
		w := tabwriter.NewWriter(f.out, 0, 8, 3, ' ', 0)
		fmt.Fprintln(w, "NAME\tPOD\tIP\tNODE\tPHASE\tAGE")
		for _, r := range rows {
			cells := []string{r.Name, r.Pod, printable.OrNone(r.IP), printable.OrNone(r.Node), printable.OrNone(r.Phase), printable.Age(r.CreatedAt)}
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

// firstRows returns the first maxRows rows in the order of their Pods' keys, and
// how many there are beyond. It keeps no more than these in memory.
func (f *Feed) firstRows() (rows []Row, more int) {
	byPod := func(a, b Row) int { return strings.Compare(a.Pod, b.Pod) }
	for _, obj := range f.config.Testcrs.GetStore().List() {
		row, ok := f.config.Row(obj)
		if !ok {
			continue
		}
		if len(rows) == maxRows {
			more++
			if byPod(row, rows[maxRows-1]) >= 0 {
				continue
			}
			rows = rows[:maxRows-1]
		}
		at, _ := slices.BinarySearchFunc(rows, row, byPod)
		rows = slices.Insert(rows, at, row)
	}
	return rows, more
}
