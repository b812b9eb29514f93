package app

import (
	"cmp"
	"fmt"
	"net/http"
	"strings"
)

// check is one thing that must be well; it asks nobody, and returns what is wrong.
type check struct {
	name string
	ask  func() error
}

// probe answers 200 when all of its checks are well, and 503 with what is wrong
// when one is not. With ?verbose it lists all of them, in the form of the
// Kubernetes components.
type probe []check

func (p probe) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var all strings.Builder
	var wrong error // the first: the others are mostly its consequences
	for _, c := range p {
		if err := c.ask(); err != nil {
			fmt.Fprintf(&all, "[-]%s failed: %v\n", c.name, err)
			wrong = cmp.Or(wrong, err)
			continue
		}
		fmt.Fprintf(&all, "[+]%s ok\n", c.name)
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	said, path := "ok\n", strings.TrimPrefix(r.URL.Path, "/")
	if wrong != nil {
		w.WriteHeader(http.StatusServiceUnavailable)
		said = wrong.Error() + "\n"
		fmt.Fprintf(&all, "%s check failed\n", path)
	} else {
		fmt.Fprintf(&all, "%s check passed\n", path)
	}
	if r.URL.Query().Has("verbose") {
		said = all.String()
	}
	fmt.Fprint(w, said)
}
