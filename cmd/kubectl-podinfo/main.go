// Kubectl-podinfo is kubectl's plugin: kubectl podinfo tells which Pod an IP, a
// UID, a container ID or a name is of.
package main

import (
	"os"

	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/weiyuanke/PodInfoLookup/internal/plugin"
)

func main() {
	os.Exit(plugin.Main(os.Args[1:], genericiooptions.IOStreams{In: os.Stdin, Out: os.Stdout, ErrOut: os.Stderr}))
}
