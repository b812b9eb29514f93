package harness

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/pflag"
)

// Command is a subcommand of bench.
type Command interface {
	Flags(fs *pflag.FlagSet)
	// Validate returns an error for flags that contradict each other or are out
	// of range.
	Validate() error
	// Run writes results to stdout. Progress goes to standard error.
	Run(ctx context.Context, stdout io.Writer) error
}

// Execute parses args into the flags of c and runs it.
func Execute(ctx context.Context, name string, c Command, args []string, stdout io.Writer) error {
	fs := pflag.NewFlagSet(name, pflag.ContinueOnError)
	fs.SetOutput(io.Discard)
	c.Flags(fs)
	fs.Usage = func() { _, _ = fmt.Fprintf(stdout, "usage: bench %s [flags]\n%s", name, fs.FlagUsages()) } // help has no other place to go
	err := fs.Parse(args)
	if errors.Is(err, pflag.ErrHelp) {
		return nil
	}
	if err == nil && fs.NArg() > 0 {
		err = fmt.Errorf("unexpected argument %q", fs.Arg(0))
	}
	if err == nil {
		err = c.Validate()
	}
	if err != nil {
		return fmt.Errorf("%w: see bench %s --help", err, name)
	}
	return c.Run(ctx, stdout)
}
