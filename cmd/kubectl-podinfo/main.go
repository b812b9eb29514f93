// Kubectl-podinfo is a kubectl plugin. It finds the Pod of an IP, a UID, a
// container ID or a name.
package main

import (
	"os"

	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/weiyuanke/PodInfoLookup/internal/plugin"
)

func main() {
	os.Exit(plugin.Main(os.Args[1:], genericiooptions.IOStreams{In: os.Stdin, Out: os.Stdout, ErrOut: os.Stderr}))
}
