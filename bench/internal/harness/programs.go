package harness

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/pflag"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
)

// The programs that are measured. RawLoop is a loop in the benchmark itself,
// and the names after PodInfoLookup are those of `bench peers --peer`.
const (
	RawLoop                = "raw loop"
	PodInfoLookup          = "podinfolookup"
	WithHistory            = "podinfolookup --history"
	TunedControllerRuntime = "controller-runtime, tuned"
	ControllerRuntime      = "controller-runtime"
	SampleController       = "sample-controller"
	Article                = "article"
)

// PeerAgent is the prefix of the peers' user agents.
const PeerAgent = "peer-"

// AgentOf returns the prefix of a program's user agent in the audit log.
func AgentOf(program string) string {
	switch program {
	case PodInfoLookup, WithHistory:
		return v1.ManagedBy + "/"
	case RawLoop:
		return UserAgent
	default:
		return PeerAgent
	}
}

// Options are the flags that all benchmarks share.
type Options struct {
	Binary   string
	Out      string
	Patience time.Duration
}

// Flags registers them; name is that of the benchmark.
func (o *Options) Flags(flags *pflag.FlagSet, name string) {
	flags.StringVar(&o.Binary, "binary", "../bin/podinfolookup", "Program to measure.")
	flags.StringVar(&o.Out, "out", "out", "Folder for "+name+".jsonl and the logs of the programs.")
	flags.DurationVar(&o.Patience, "patience", 0, "Maximum wait before each measurement until no other program uses the processors.")
}

// Start runs a podinfolookup and appends its log to podinfolookup.log.
func (o *Options) Start(binary, kubeconfig string, flags ...string) (*Process, error) {
	return Start(PodInfoLookup, filepath.Join(o.Out, "podinfolookup.log"), binary,
		append([]string{"--kubeconfig=" + kubeconfig, "--print-list=false", "--print-changes=false"}, flags...)...)
}

// ServerOptions are the flags of benchmarks that start a Server and may measure
// peers.
type ServerOptions struct {
	Options
	Root    string
	Peers   bool
	History bool
}

// Flags registers them; name is that of the benchmark.
func (o *ServerOptions) Flags(flags *pflag.FlagSet, name string) {
	o.Options.Flags(flags, name)
	flags.StringVar(&o.Root, "root", "..", "Checkout that contains .cluster/bin and yaml/testcrd.yaml.")
	flags.BoolVar(&o.Peers, "peers", true, "Measure the peers too (see peers --help).")
	flags.BoolVar(&o.History, "history", false, "Measure podinfolookup with --history too, in turns.")
}

// StartProgram runs podinfolookup, or a peer as a process of this binary.
func (o *ServerOptions) StartProgram(program, kubeconfig string) (*Process, error) {
	switch program {
	case PodInfoLookup:
		return o.Start(o.Binary, kubeconfig)
	case WithHistory:
		return o.startWithHistory(kubeconfig)
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return Start(program, filepath.Join(o.Out, "peers.log"), self, "peers", "--kubeconfig="+kubeconfig, "--peer="+program)
}

// startWithHistory runs podinfolookup with a new history.
func (o *ServerOptions) startWithHistory(kubeconfig string) (*Process, error) {
	path := filepath.Join(o.Out, "history.db")
	for _, suffix := range []string{"", "-wal", "-shm", ".lock"} {
		if err := os.Remove(path + suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	return o.Start(o.Binary, kubeconfig, "--history="+path)
}
