package server

import (
	"cmp"
	"fmt"
	"net/http"
	"strings"
)

// Check is one condition of a Probe. It sends no request, and returns what is
// wrong.
type Check struct {
	Name string
	Func func() error
	// IsWarning reports that the probe passes all the same. Its error is in the verbose
	// list alone.
	IsWarning bool
}

// Probe responds with 200 if all its checks pass, else with 503 and the first
// error. With ?verbose it lists all checks in the form of Kubernetes components.
//
// k8s.io/apiserver/pkg/server/healthz would respond with 500, withhold the reason,
// serve each check under a path of its own, and add metrics.
type Probe []Check

func (p Probe) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var verbose strings.Builder
	var failure error // the first: the others are mostly its consequences
	for _, c := range p {
		err := c.Func()
		if err != nil && c.IsWarning {
			fmt.Fprintf(&verbose, "[!]%s: %v\n", c.Name, err)
			continue
		}
		if err != nil {
			fmt.Fprintf(&verbose, "[-]%s failed: %v\n", c.Name, err)
			failure = cmp.Or(failure, err)
			continue
		}
		fmt.Fprintf(&verbose, "[+]%s ok\n", c.Name)
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	text, path := "ok\n", strings.TrimPrefix(r.URL.Path, "/")
	if failure != nil {
		w.WriteHeader(http.StatusServiceUnavailable)
		text = failure.Error() + "\n"
		fmt.Fprintf(&verbose, "%s check failed\n", path)
	} else {
		fmt.Fprintf(&verbose, "%s check passed\n", path)
	}
	if r.URL.Query().Has("verbose") {
		text = verbose.String()
	}
	fmt.Fprint(w, text)
}
