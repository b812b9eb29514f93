package plugin

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/weiyuanke/PodInfoLookup/internal/printable"
)

// clusterFlags contains the flags by which another command reaches the cluster that was asked.
type clusterFlags struct {
	words   []string // quoted for a shell
	missing []string // flags that are not printed, because they may contain a secret
}

var (
	// openFlags choose the cluster and the user.
	openFlags = []string{"kubeconfig", "context", "cluster", "user", "server", "tls-server-name", "insecure-skip-tls-verify",
		"certificate-authority", "client-certificate", "client-key", "as", "as-uid", "as-group", "as-user-extra"}
	// secretFlags do so, too, and their values stay out of the output.
	secretFlags = []string{"token", "proxy-url"}
)

// clusterFlags returns the flags of the command line that choose the cluster.
func (o *options) clusterFlags() clusterFlags {
	var t clusterFlags
	if o.flags == nil {
		return t
	}
	for _, name := range openFlags {
		f := o.flags.Lookup(name)
		if f == nil || !f.Changed {
			continue
		}
		values := []string{f.Value.String()}
		if list, ok := f.Value.(pflag.SliceValue); ok {
			values = list.GetSlice()
		}
		for _, value := range values {
			t.words = append(t.words, "--"+name+"="+quoted(value))
		}
	}
	for _, name := range secretFlags {
		if o.flags.Changed(name) {
			t.missing = append(t.missing, "--"+name)
		}
	}
	return t
}

// of returns the flags for the cluster and namespace of a row.
func (t clusterFlags) of(r row) string {
	words := slices.Clone(t.words)
	if r.context != "" {
		words = append(words, "--context="+quoted(r.context))
	}
	return strings.Join(append(words, "-n", quoted(r.testcr.Spec.Namespace)), " ")
}

// quoted returns text as one word of a shell and of xargs.
func quoted(text string) string {
	const safe = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:@%+=,"
	if text != "" && strings.Trim(text, safe) == "" {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}

// canBeNamed reports whether commands can name the Pod of a row: its names are those of a
// Pod, and nothing in the flags would be printed escaped.
func (t clusterFlags) canBeNamed(r row) bool {
	s := &r.testcr.Spec
	flags := t.of(r)
	return len(validation.IsDNS1123Label(s.Namespace)) == 0 && len(validation.IsDNS1123Subdomain(s.PodName)) == 0 && printable.Text(flags) == flags
}

// podNames prints what kubectl takes: the name, or the whole way to the Pod.
type podNames struct {
	out     io.Writer
	flags   clusterFlags
	isWhole bool
}

func (p *podNames) print(rows []row, _ shape) error {
	for _, r := range rows {
		line := quoted("pod/" + r.testcr.Spec.PodName)
		if p.isWhole {
			line = p.flags.of(r) + " " + line
		}
		if _, err := fmt.Fprintln(p.out, printable.Text(line)); err != nil {
			return err
		}
	}
	return nil
}
