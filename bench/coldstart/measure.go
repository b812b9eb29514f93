package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	podinfolookup "github.com/weiyuanke/PodInfoLookup"
)

// record is one line of coldstart.jsonl. Times are in seconds.
type record struct {
	Measure string `json:"measure"`
	Round   int    `json:"round,omitempty"`
	Pods    int    `json:"pods,omitempty"`
	Workers int    `json:"workers,omitempty"` // 0 is the default

	Seconds      float64 `json:"seconds,omitempty"`      // until the last Testcr was there; of raw, the loop
	WriteSeconds float64 `json:"writeSeconds,omitempty"` // from the first Testcr to the last
	ReadySeconds float64 `json:"readySeconds,omitempty"`
	CPU          cpu     `json:"cpuSeconds,omitempty"`
	RSSKiB       int     `json:"rssKiB,omitempty"`
	PeakRSSKiB   int     `json:"peakRSSKiB,omitempty"`

	Writes map[string]int     `json:"writes,omitempty"` // of the program, by verb, from the audit log
	Bytes  map[string]float64 `json:"bytes,omitempty"`
}

// raw measures a loop of creates and nothing else.
func (b *bench) raw(ctx context.Context, round int) error {
	objects := make([]*unstructured.Unstructured, 0, len(b.want))
	for _, pod := range b.pods { // in the order that they are listed in
		objects = append(objects, b.want[podinfolookup.NameFor(keyOf(pod))])
	}
	before, err := b.cpuNow(nil)
	if err != nil {
		return err
	}
	all := b.watch.until(len(objects))
	start := time.Now()
	err = parallel(b.o.creates, len(objects), func(i int) error {
		_, err := b.testcrs.Create(ctx, objects[i], metav1.CreateOptions{FieldManager: podinfolookup.ManagedBy})
		return err
	})
	took := time.Since(start)
	if err != nil {
		return fmt.Errorf("raw loop: %w", err)
	}
	if all, err = b.watch.wait(ctx, all); err != nil {
		return fmt.Errorf("raw loop: %w", err)
	}
	after, err := b.cpuNow(nil)
	if err != nil {
		return err
	}
	if err := b.verify(ctx); err != nil {
		return fmt.Errorf("raw loop: %w", err)
	}
	err = b.add(record{
		Measure: "raw", Round: round, Pods: len(objects), Seconds: took.Seconds(),
		WriteSeconds: all.last.Sub(all.first).Seconds(), CPU: after.since(before),
	})
	if err != nil {
		return err
	}
	return b.wipe(ctx)
}

// silent are the flags without which the program prints on standard output.
var silent = []string{"--print-list=false", "--print-changes=false"}

// coldOnce measures a cold start and wipes what it made.
func (b *bench) coldOnce(ctx context.Context, r record, args ...string) error {
	if err := b.cold(ctx, r, args...); err != nil {
		return err
	}
	return b.wipe(ctx)
}

// cold measures the program from its start until every Testcr is there, and
// stops it. The Testcrs stay.
func (b *bench) cold(ctx context.Context, r record, args ...string) (err error) {
	log, err := b.auditEnd()
	if err != nil {
		return err
	}
	before, err := b.cpuNow(nil)
	if err != nil {
		return err
	}
	all := b.watch.until(len(b.want))
	p, err := b.start(args...)
	if err != nil {
		return err
	}
	stopped := false
	defer func() {
		if !stopped {
			_ = p.stop() // err is the earlier cause
		}
	}()
	r.Pods = len(b.want)
	select {
	case <-all.reached:
	case <-p.ended:
		return fmt.Errorf("podinfolookup ended: %s", p.last)
	case <-b.watch.ended: // wait tells why
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(stepTimeout):
	}
	if all, err = b.watch.wait(ctx, all); err != nil {
		return err
	}
	r.Seconds, r.WriteSeconds = all.last.Sub(p.started).Seconds(), all.last.Sub(all.first).Seconds()
	after, err := b.cpuNow(p)
	if err != nil {
		return err
	}
	r.CPU = after.since(before)
	if r.RSSKiB, r.PeakRSSKiB, err = p.memory(); err != nil {
		return err
	}
	if err := b.verify(ctx); err != nil {
		return err
	}
	stopped = true
	if err := p.stop(); err != nil {
		return err
	}
	if r.Writes, err = b.writes(log, ""); err != nil {
		return err
	}
	if len(r.Writes) != 1 || r.Writes["create"] != len(b.want) {
		return fmt.Errorf("writes of a cold start: %v, want %d creates", r.Writes, len(b.want))
	}
	return b.add(r)
}

// verify compares every Testcr with what its Pod calls for.
func (b *bench) verify(ctx context.Context) error {
	right := 0
	for options := (metav1.ListOptions{Limit: pageSize}); ; {
		page, err := b.testcrs.List(ctx, options)
		if err != nil {
			return err
		}
		for i := range page.Items {
			got := &page.Items[i]
			want := b.want[got.GetName()]
			if want == nil {
				return fmt.Errorf("no Pod calls for the Testcr %s", got.GetName())
			}
			if !reflect.DeepEqual(got.Object["spec"], want.Object["spec"]) || !reflect.DeepEqual(got.GetLabels(), want.GetLabels()) {
				return fmt.Errorf("the Testcr %s is %v, want %v", got.GetName(), got.Object, want.Object)
			}
			right++
		}
		if options.Continue = page.GetContinue(); options.Continue == "" {
			break
		}
	}
	if right != len(b.want) {
		return fmt.Errorf("%d Testcrs are right, want %d", right, len(b.want))
	}
	return nil
}

func (b *bench) auditEnd() (int64, error) {
	info, err := os.Stat(b.audit)
	if err != nil {
		return 0, fmt.Errorf("audit log: %w", err)
	}
	return info.Size(), nil
}

// writes counts, by verb, what the program wrote since the audit log ended at
// offset; but not what it wrote to the Testcr called except.
func (b *bench) writes(offset int64, except string) (map[string]int, error) {
	log, err := os.Open(b.audit)
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }() // only read
	info, err := log.Stat()
	if err != nil {
		return nil, err
	}
	if info.Size() < offset {
		return nil, errors.New("the audit log was rotated")
	}
	if _, err := log.Seek(offset, io.SeekStart); err != nil {
		return nil, err
	}
	verbs := map[string]int{}
	lines := bufio.NewScanner(log)
	lines.Buffer(make([]byte, 1<<16), 1<<22)
	for lines.Scan() {
		if !bytes.Contains(lines.Bytes(), []byte(podinfolookup.ManagedBy+"/")) {
			continue
		}
		var event struct {
			Verb      string `json:"verb"`
			UserAgent string `json:"userAgent"`
			ObjectRef struct {
				Name string `json:"name"`
			} `json:"objectRef"`
		}
		if err := json.Unmarshal(lines.Bytes(), &event); err != nil {
			return nil, fmt.Errorf("audit log: %w", err)
		}
		if strings.HasPrefix(event.UserAgent, podinfolookup.ManagedBy+"/") && (except == "" || event.ObjectRef.Name != except) {
			verbs[event.Verb]++
		}
	}
	return verbs, lines.Err()
}
