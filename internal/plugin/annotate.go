package plugin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/spf13/cobra"
	"k8s.io/client-go/tools/cache"

	"github.com/weiyuanke/PodInfoLookup/internal/cli"
)

// blockSize is the size of a read in bytes. A longer line is annotated in parts.
const blockSize = 256 << 10

const annotateLong = `Copies standard input, or files, to standard output and appends to each IP, Pod UID and
container ID that it finds the Pod that has it: 10.0.0.7 becomes
10.0.0.7[shop/cart-5d9f].

It begins when it has all Pods, follows each change, and delays no line. All
bytes of the input are kept, also those that are not UTF-8. JSON stays valid.

  [shop/a]                  the Pod with this IP or UID
  [shop/a app]              the Pod and the container with this ID
  [shop/a +3]               several Pods have it: the first and how many more
  [node/worker-1 shop/a]    the IP of a node: Pods on its host network share it
  [shop/a completed]        only Pods that have completed had this IP
  [service/shop/cart]       the IP of a Service, with --services
  [node/worker-1]           the IP of a node without such Pods, with --nodes

An IP may be IPv4 or IPv6 in any spelling, in brackets, and with a port. It is none
where it touches a letter, a digit or "_" (v10.0.0.7, 10.0.0.7.log, 1.10.0.0.7), but
for those of an escape sequence (\n10.0.0.7). A UID has 32 hexadecimal digits, in the
form of a kubelet, of systemd or without dashes. A container ID has 64 digits; 12 and
more must be a word of their own that one ID alone begins with.

With --history each line is labeled by its own timestamp, from the record of the past:
yesterday's log gets yesterday's Pods. A line without a timestamp has that of the line
before.

  [shop/a ?]                the Pod that perhaps had it then

With --json, lines that are JSON objects are not labeled. They get a field:
  "podinfo":[{"fact":"10.0.0.7","pod":"shop/a"}]`

func newAnnotateCommand(o *options) *cobra.Command {
	cmd := &cobra.Command{
		Use: "annotate [FILE...] [--json] [--history] [-n NAMESPACE]", DisableFlagsInUseLine: true,
		Short: "Append the Pod to each IP, UID and container ID in a stream",
		Long:  annotateLong,
		Example: `  tcpdump -ln | kubectl podinfo annotate
  tail -f access.log | kubectl podinfo annotate -n shop
  kubectl podinfo annotate access.log error.log
  kubectl podinfo annotate --history yesterday.log
  kubectl logs -f deploy/cart | kubectl podinfo annotate --json | jq 'select(.podinfo)'`,
		RunE: func(cmd *cobra.Command, files []string) error {
			if err := o.checkHistoryFlags(cmd.Flags()); err != nil {
				return err
			}
			if o.asksSeveral() {
				return cli.Usagef("annotate labels from one cluster, because several may have the same IP: choose it by --context")
			}
			if err := o.checkContext(); err != nil {
				return err
			}
			if o.byHistory {
				return o.annotatePast(cmd.Context(), files)
			}
			return o.annotate(cmd.Context(), files)
		},
	}
	cmd.Flags().BoolVar(&o.json, "json", false, "Add a field podinfo to lines that are JSON objects, instead of labels.")
	cmd.Flags().BoolVar(&o.services, "services", false, "Label the IPs of Services, too. Takes the right to watch Services and EndpointSlices.")
	cmd.Flags().BoolVar(&o.nodes, "nodes", false, "Label the IPs of nodes, too. Takes the right to watch nodes.")
	o.addHistoryFlags(cmd)
	cmd.Flags().BoolP("help", "h", false, "Print this help and exit.")
	return cmd
}

func (o *options) annotate(ctx context.Context, files []string) error {
	src, err := o.newSource(ctx, true)
	if err != nil {
		return err
	}
	if name := o.namespace(); name != "" {
		if text := src.book().pods.noNamespace(ctx, name, true); text != "" {
			fmt.Fprintln(o.ErrOut, "warning:", text)
		}
	}
	background, stop := withWarnings(ctx, o.ErrOut)
	var running sync.WaitGroup
	defer running.Wait()
	defer stop()
	names := newNames()
	names.json = o.json
	// Before the informers run, which read it.
	if names.others, err = o.watchAddresses(ctx, src.book(), names.labelOthers); err != nil {
		return err
	}
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
	if names.others != nil {
		synced = append(synced, func() bool { return names.others.Synced() == nil })
		running.Go(func() { names.others.RunWithContext(background) })
	}
	running.Go(func() { src.monitor(background) })
	if !cache.WaitForCacheSync(ctx.Done(), synced...) {
		return nil // interrupted
	}
	// A read of standard input cannot be interrupted, so its goroutine is abandoned.
	copied := make(chan error, 1)
	go func() { copied <- o.annotateAll(names.copy, files) }()
	select {
	case err := <-copied:
		return err
	case <-ctx.Done():
		return nil
	}
}

// annotateAll annotates files in order, or standard input if there are none. It reports
// each that cannot be read, and goes on with the next.
func (o *options) annotateAll(copied copier, files []string) error {
	if len(files) == 0 {
		err := copied(o.Out, o.In)
		if failed := (readError{}); errors.As(err, &failed) {
			return fmt.Errorf("standard input: %w", err)
		}
		return err
	}
	isFailed := false
	for _, name := range files {
		err := o.annotateFile(copied, name)
		if failed := (readError{}); errors.As(err, &failed) {
			fmt.Fprintln(o.ErrOut, "error:", cli.JoinLines(err.Error()))
			isFailed = true
		} else if err != nil {
			return err
		}
	}
	if isFailed {
		return errMissing
	}
	return nil
}

// copier copies an input to an output, and annotates it.
type copier func(out io.Writer, in io.Reader) error

// readError reports that an input cannot be read, as opposed to a failure of the output.
type readError struct{ error }

func (e readError) Unwrap() error { return e.error }

func (o *options) annotateFile(copied copier, name string) error {
	if name == "-" {
		return copied(o.Out, o.In)
	}
	file, err := os.Open(name) //nolint:gosec // G304: it is the user's own file
	if err != nil {
		return readError{err}
	}
	defer func() { _ = file.Close() }() // it was only read
	return copied(o.Out, file)
}

// copy copies in to out and annotates it.
func (n *names) copy(out io.Writer, in io.Reader) error {
	return copyBlocks(out, in, func(dst, src []byte, isLast bool) ([]byte, error) {
		n.mu.RLock()
		defer n.mu.RUnlock()
		if n.json {
			return annotateLines(dst, src, &n.labels, isLast), nil
		}
		return annotate(dst, src, 1, &n.labels), nil
	})
}

// copyBlocks copies in to out and annotates it. It writes the whole lines of each read at
// once, and keeps an incomplete line until the next read. The first byte of a block for
// label is the one before.
func copyBlocks(out io.Writer, in io.Reader, label func(dst, src []byte, isLast bool) ([]byte, error)) error {
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
			var failed error
			if block, failed = label(block[:0], buf[:cut], err != nil); failed != nil {
				return failed
			}
			if _, err := out.Write(block); err != nil {
				return err
			}
			buf[0] = buf[cut-1]
			filled = 1 + copy(buf[1:], buf[cut:filled])
		}
		if errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return readError{err}
		}
	}
}

// cutLine returns where to cut a line that fills buf: behind the last byte that cannot
// be in or beside a fact, if possible not in a label. If none is near the end, it returns
// the end, and a fact may be missed.
func cutLine(buf []byte) int {
	const near = 4 << 10
	cut := len(buf)
	for i := len(buf); i > len(buf)-near; i-- {
		if c := buf[i-1]; c == ' ' || c == '\t' || c == '"' || c == ',' || c == 0 {
			label := bytes.LastIndexByte(buf[i-longestLabel:i], '[')
			if label < 0 || labelLength(buf[i-longestLabel+label:i]) >= 0 {
				return i
			}
			if cut == len(buf) {
				cut = i
			}
		}
	}
	return cut
}
