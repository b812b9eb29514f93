package harness

import (
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
	case PodInfoLookup:
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
func (o *Options) Flags(fs *pflag.FlagSet, name string) {
	fs.StringVar(&o.Binary, "binary", "../bin/podinfolookup", "Program to measure.")
	fs.StringVar(&o.Out, "out", "out", "Folder for "+name+".jsonl and the logs of the programs.")
	fs.DurationVar(&o.Patience, "patience", 0, "Maximum wait before each measurement until no other program uses the processors.")
}

// Start runs a podinfolookup and appends its log to podinfolookup.log.
func (o *Options) Start(binary, kubeconfig string) (*Process, error) {
	return Start(PodInfoLookup, filepath.Join(o.Out, "podinfolookup.log"), binary,
		"--kubeconfig="+kubeconfig, "--print-list=false", "--print-changes=false")
}

// ServerOptions are the flags of benchmarks that start a Server and may measure
// peers.
type ServerOptions struct {
	Options
	Root  string
	Peers bool
}

// Flags registers them; name is that of the benchmark.
func (o *ServerOptions) Flags(fs *pflag.FlagSet, name string) {
	o.Options.Flags(fs, name)
	fs.StringVar(&o.Root, "root", "..", "Checkout that contains .cluster/bin and yaml/testcrd.yaml.")
	fs.BoolVar(&o.Peers, "peers", true, "Measure the peers too (see peers --help).")
}

// StartProgram runs podinfolookup, or a peer as a process of this binary.
func (o *ServerOptions) StartProgram(program, kubeconfig string) (*Process, error) {
	if program == PodInfoLookup {
		return o.Start(o.Binary, kubeconfig)
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return Start(program, filepath.Join(o.Out, "peers.log"), self, "peers", "--kubeconfig="+kubeconfig, "--peer="+program)
}
