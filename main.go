//go:build ignore

// This file is built alone, by `go run main.go`, so it can only use what it
// imports: the root folder itself is the library package podinfolookup. The
// build constraint keeps ./... from seeing two packages in one folder; vet and
// build take the file by name. cmd/podinfolookup is the same for `go install`.
package main

import (
	"os"

	"github.com/weiyuanke/PodInfoLookup/internal/app"
)

func main() {
	os.Exit(app.Main(os.Args[1:], os.Stdout, os.Stderr))
}
