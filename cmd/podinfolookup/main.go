// Podinfolookup keeps one Testcr per Pod. It is main.go of the root folder as a
// package, for `go install` and the image.
package main

import (
	"os"

	"github.com/weiyuanke/PodInfoLookup/internal/app"
)

func main() {
	os.Exit(app.Main(os.Args[1:], os.Stdout, os.Stderr))
}
