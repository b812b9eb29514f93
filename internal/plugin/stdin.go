package plugin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/weiyuanke/PodInfoLookup/internal/cli"
)

const (
	// noteInputAfter is when a run without a QUERY notes that it waits for standard input.
	noteInputAfter = 3 * time.Second
	// inputPatience bounds the wait for the first byte of it: a script may have inherited a
	// pipe that nobody writes to. A sort of a large log needs some time, too.
	inputPatience = time.Minute
)

// errSilent reports that standard input is open, but has no bytes.
var errSilent = errors.New("standard input is silent")

// pipedQueries reads the queries of a run without a QUERY: from standard input if that is
// a pipe or a file.
func (o *options) pipedQueries(ctx context.Context) ([]question, error) {
	if !isPiped(o.In) {
		return nil, o.noQuery()
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var noting sync.Mutex // standard error has one writer at a time
	hasBegun := false
	note := time.AfterFunc(noteInputAfter, func() {
		noting.Lock()
		defer noting.Unlock()
		if !hasBegun {
			fmt.Fprintln(o.ErrOut, "note: there is no QUERY: waiting for standard input, one query a line")
		}
	})
	timeout := time.AfterFunc(inputPatience, func() { cancel(errSilent) })
	defer note.Stop()
	defer timeout.Stop()
	text, err := readAll(ctx, &firstRead{Reader: o.In, did: func() { note.Stop(); timeout.Stop() }})
	noting.Lock()
	hasBegun = true
	noting.Unlock()
	switch {
	case errors.Is(context.Cause(ctx), errSilent):
		return nil, cli.Usagef("there is no QUERY, and nothing came from standard input within %s: - waits for it", inputPatience)
	case err != nil:
		return nil, fmt.Errorf("standard input: %w", err)
	}
	questions := o.linesOf(text)
	if len(questions) == 0 {
		return nil, o.noQuery()
	}
	return questions, nil
}

// isPiped reports whether in is neither a terminal nor another device, as /dev/null is.
func isPiped(in io.Reader) bool {
	file, ok := in.(*os.File)
	if !ok {
		return in != nil
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice == 0
}

// noQuery prints examples, and returns the error.
func (o *options) noQuery() error {
	fmt.Fprintf(o.ErrOut, "Examples:\n%s\n\n", examples)
	return cli.Usagef("nothing to look for: give an IP, a UID, a container ID or a name, or - for standard input: see kubectl podinfo --help")
}

// firstRead calls did after the first read.
type firstRead struct {
	io.Reader
	did  func()
	once sync.Once
}

func (r *firstRead) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	r.once.Do(r.did)
	return n, err
}
