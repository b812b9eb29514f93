package harness

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/pflag"
)

// Command is a subcommand of bench. Validate, unless it is nil, checks the flags.
// Run writes results to stdout, and progress to standard error.
type Command struct {
	Name     string
	Flags    func(fs *pflag.FlagSet)
	Validate func() error
	Run      func(ctx context.Context, stdout io.Writer) error
}

// Execute parses args into the flags of c and runs it.
func Execute(ctx context.Context, c Command, args []string, stdout io.Writer) error {
	fs := pflag.NewFlagSet(c.Name, pflag.ContinueOnError)
	fs.SetOutput(io.Discard)
	c.Flags(fs)
	fs.Usage = func() { _, _ = fmt.Fprintf(stdout, "usage: bench %s [flags]\n%s", c.Name, fs.FlagUsages()) } // help has no other place to go
	err := fs.Parse(args)
	if errors.Is(err, pflag.ErrHelp) {
		return nil
	}
	if err == nil && fs.NArg() > 0 {
		err = fmt.Errorf("unexpected argument %q", fs.Arg(0))
	}
	if err == nil && c.Validate != nil {
		err = c.Validate()
	}
	if err != nil {
		return fmt.Errorf("%w: see bench %s --help", err, c.Name)
	}
	return c.Run(ctx, stdout)
}
