package plugin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"sync"

	"github.com/spf13/cobra"
	"k8s.io/client-go/tools/cache"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/internal/index"
	"github.com/weiyuanke/PodInfoLookup/internal/printable"
	"github.com/weiyuanke/PodInfoLookup/internal/query"
)

// blockSize is the size of a read in bytes. A longer line is annotated in parts.
const blockSize = 256 << 10

const annotateLong = `Copies standard input to standard output and appends to each IP that it finds
the Pod that has it: 10.0.0.7 becomes 10.0.0.7[shop/cart-5d9f].

It begins when it has all Pods, follows each change, and delays no line. All
bytes of the input are kept, also those that are not UTF-8.

  [shop/a]                  the Pod with this IP
  [shop/a +3]               several Pods have it: the first and how many more
  [node/worker-1 shop/a]    the IP of a node: Pods on its host network share it
  [shop/a completed]        only Pods that have completed had it

An address may be IPv4 or IPv6 in any spelling, in brackets, and with a port. It is
none where it touches a letter, a digit or "_" (v10.0.0.7, 10.0.0.7.log, 1.10.0.0.7).`

func newAnnotateCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use: "annotate [-n NAMESPACE]", DisableFlagsInUseLine: true,
		Short: "Append the Pod to each IP in a stream",
		Long:  annotateLong,
		Example: `  tcpdump -ln | kubectl podinfo annotate
  tail -f access.log | kubectl podinfo annotate -n shop`,
		Args:              noArguments,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.checkNamespace(); err != nil {
				return err
			}
			return o.annotate(cmd.Context())
		},
	}
}

func (o *options) annotate(ctx context.Context) error {
	src, err := o.source(ctx, true)
	if err != nil {
		return err
	}
	background, stop := withWarnings(ctx, o.ErrOut)
	var running sync.WaitGroup
	defer running.Wait()
	defer stop()
	names := newNames()
	var synced []cache.InformerSynced
	for _, selected := range src.selections(nil) {
		pods, err := src.informer(selected)
		if err != nil {
			return err
		}
		handle, err := pods.AddEventHandler(names.handler())
		if err != nil {
			return err
		}
		synced = append(synced, handle.HasSynced)
		running.Go(func() { pods.RunWithContext(background) })
	}
	running.Go(func() { src.monitor(background) })
	if !cache.WaitForCacheSync(ctx.Done(), synced...) {
		return nil // interrupted
	}
	// A read of standard input cannot be interrupted, so its goroutine is abandoned.
	copied := make(chan error, 1)
	go func() { copied <- names.copy(o.Out, o.In) }()
	select {
	case err := <-copied:
		return err
	case <-ctx.Done():
		return nil
	}
}

// names contains the labels of all IPs. One read lock is held for a whole block of the
// stream, so that a lookup costs no more than one in a map.
type names struct {
	index *index.Index

	mu     sync.RWMutex
	labels map[key]string
}

func newNames() *names {
	return &names{index: index.New(), labels: map[key]string{}}
}

func (n *names) handler() cache.ResourceEventHandler { return podHandler(n.update) }

// update replaces one state of a Pod by the next; nil stands for absent.
func (n *names) update(old, pod podState) {
	if old != nil {
		n.index.Remove(old.Spec().PodKey, old.GetResourceVersion())
		defer n.labelAll(old.Spec())
	}
	if pod != nil {
		n.index.Put(pod, pod.GetResourceVersion())
		n.labelAll(pod.Spec())
	}
}

func (n *names) labelAll(s *v1.TestcrSpec) {
	for _, ip := range s.PodIPs {
		if addr, err := netip.ParseAddr(ip); err == nil {
			n.label(query.Canonical(addr))
		}
	}
}

func (n *names) label(addr netip.Addr) {
	term := query.Term{Kind: query.IP, Text: addr.String(), Addr: addr}
	pods, _, _ := n.index.Find(nil, index.Query{Terms: []query.Term{term}})
	label := labelOf(pods)
	n.mu.Lock()
	defer n.mu.Unlock()
	if label == "" {
		delete(n.labels, addr.As16())
	} else {
		n.labels[addr.As16()] = label
	}
}

// labelOf returns the label of an IP of pods, which are in the order of query.Compare.
// Completed Pods count only if there are no others, because their IP may have been
// assigned again.
func labelOf(pods []*v1.TestcrSpec) string {
	if len(pods) == 0 {
		return ""
	}
	first, others := pods[0], 0
	completed := query.Rank(first) == rankCompleted
	for _, t := range pods[1:] {
		if completed || query.Rank(t) != rankCompleted {
			others++
		}
	}
	var label strings.Builder
	label.WriteByte('[')
	if first.HostNetwork && first.NodeName != "" {
		label.WriteString("node/" + printable.Text(first.NodeName) + " ")
	}
	label.WriteString(printable.Text(first.PodKey))
	if others > 0 {
		fmt.Fprintf(&label, " +%d", others)
	}
	if completed {
		label.WriteString(" completed")
	}
	label.WriteByte(']')
	return label.String()
}

// copy copies in to out and annotates it. It writes the whole lines of each read at
// once, and keeps an incomplete line until the next read.
func (n *names) copy(out io.Writer, in io.Reader) error {
	buf := make([]byte, 1+blockSize)
	buf[0] = '\n' // the byte before the block, because an address must not touch a letter
	var block []byte
	for filled := 1; ; {
		m, err := in.Read(buf[filled:])
		cut := 1
		if newline := bytes.LastIndexByte(buf[filled:filled+m], '\n'); newline >= 0 {
			cut = filled + newline + 1
		}
		filled += m
		switch {
		case err != nil:
			cut = filled
		case cut == 1 && filled == len(buf):
			cut = cutLine(buf)
		}
		if cut > 1 {
			n.mu.RLock()
			block = annotate(block[:0], buf[:cut], 1, n.labels)
			n.mu.RUnlock()
			if _, err := out.Write(block); err != nil {
				return err
			}
			buf[0] = buf[cut-1]
			filled = 1 + copy(buf[1:], buf[cut:filled])
		}
		if errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("standard input: %w", err)
		}
	}
}

// cutLine returns where to cut a line that fills buf: behind the last byte that cannot
// be in or beside an address. If none is near the end, it returns the end, and an
// address may be missed.
func cutLine(buf []byte) int {
	const near = 4 << 10
	for i := len(buf); i > len(buf)-near; i-- {
		if c := buf[i-1]; c == ' ' || c == '\t' || c == '"' || c == ',' || c == 0 {
			return i
		}
	}
	return len(buf)
}
