// Package release pins what a release is made with: the tools in go.mod, and Go's
// vulnerability database, which govulncheck reads from the module's data/osv.
package release

import _ "golang.org/x/vulndb/report" // keeps the module in go.mod; only its data is used
