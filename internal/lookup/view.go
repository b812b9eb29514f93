package lookup

import (
	"bytes"
	"fmt"
	"time"

	"github.com/weiyuanke/PodInfoLookup/internal/index"
	"github.com/weiyuanke/PodInfoLookup/internal/printable"
)

// oldSeconds is the age at which text answers contain a warning. It is more than the
// 15 s that a dead connection of the watch takes to be closed.
const oldSeconds = 20

// View is the state of the index that an answer is based on.
type View struct {
	// Cluster is the name that the program was given for its cluster.
	Cluster string `json:"cluster,omitempty"`
	// ResourceVersion of the newest Pod event in the view. It is empty for a caller who
	// may see only some namespaces, because it changes with the Pods of the others.
	ResourceVersion string `json:"resourceVersion"`
	// AgeSeconds is the time since the view was last known to be current.
	AgeSeconds float64 `json:"ageSeconds"`
	// Pods in the view. It is nil for a caller who may see only some namespaces.
	Pods *int `json:"pods,omitempty"`
	// Restricted reports that only namespaces in which the caller may list Pods are in
	// the answer.
	Restricted bool `json:"restricted,omitempty"`
	// Unchecked reports that there may be more such namespaces, because the rights in
	// some were not reviewed.
	Unchecked bool `json:"unchecked,omitempty"`
	// SilentSince is when the first request was sent to the API server that it has not
	// answered, nor any since. It is zero while it answers.
	SilentSince time.Time `json:"silentSince,omitzero"`
	// WritesFailSince is when the first of the writes failed after which none succeeded.
	// It is zero if writes succeed, and on a replica that does not write.
	WritesFailSince time.Time `json:"writesFailSince,omitzero"`
	WriteError      string    `json:"writeError,omitempty"`
}

func (l *Lookup) view(v index.View, s *scope) View {
	age := max(0, time.Since(l.config.Pods.AsOf()).Milliseconds())
	view := View{Cluster: l.config.ClusterName, AgeSeconds: float64(age) / 1000}
	since, reason := l.config.WritesFail()
	if !since.IsZero() {
		view.WritesFailSince = since.UTC().Truncate(time.Second)
	}
	if silent := l.confirm.silentSince(); !silent.IsZero() {
		view.SilentSince = silent.UTC().Truncate(time.Second)
	}
	if s.isRestricted() {
		view.Restricted, view.Unchecked = true, len(s.unknown) > 0
		return view // the reason may name a Testcr of another namespace
	}
	view.ResourceVersion, view.Pods, view.WriteError = v.ResourceVersion, &v.Pods, reason
	return view
}

// notes writes what a reader of the answer must know.
func (v *View) notes(out *bytes.Buffer) {
	if v.Cluster != "" {
		fmt.Fprintf(out, "\ncluster: %s\n", v.Cluster)
	}
	if v.Restricted {
		fmt.Fprint(out, "\nnote: only namespaces in which you may list pods")
		if v.Unchecked {
			fmt.Fprint(out, ", and not all were checked: name one with namespace=NAME")
		}
		fmt.Fprintln(out)
	}
	if since := v.SilentSince; !since.IsZero() {
		fmt.Fprintf(out, "\nwarning: the API server has not answered since %s: this may be out of date\n", since.Format(time.TimeOnly+" MST"))
	} else if v.AgeSeconds > oldSeconds {
		fmt.Fprintf(out, "\nwarning: the API server was last heard %.0f s ago: this may be out of date\n", v.AgeSeconds)
	}
	if since := v.WritesFailSince; !since.IsZero() {
		fmt.Fprintf(out, "\nwarning: writes fail since %s (%s): Testcrs may be out of date, this is not\n",
			since.Format(time.TimeOnly+" MST"), printable.Age(since))
		if v.WriteError != "" {
			fmt.Fprintf(out, "the last error: %s\n", printable.Text(v.WriteError))
		}
	}
}
