package lookup

import (
	"bytes"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"text/tabwriter"
	"unicode/utf8"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/internal/index"
	"github.com/weiyuanke/PodInfoLookup/internal/printable"
	"github.com/weiyuanke/PodInfoLookup/internal/query"
)

// front answers GET / in plain text with the contents of the page at this address, or
// with the usage and a summary.
func (l *Lookup) front(w http.ResponseWriter, r *http.Request) {
	if given := r.URL.Query(); given.Get("pod") != "" {
		l.frontPod(w, r, given)
		return
	}
	if r.URL.RawQuery != "" {
		l.search(w, r)
		return
	}
	address := "http://" + r.Host
	if r.TLS != nil {
		address = "https://" + r.Host
	}
	u := usage{version: l.config.Version, address: address}
	if l.config.History != nil {
		u.past = fmt.Sprintf("  curl '%s/?q=ANYTHING&at=03:12'  or since=-24h: who had it then\n", address)
	}
	if l.within(w, r, func(s *scope) { u.summary = l.count(s, index.Query{}, "") }) {
		reply(w, r, http.StatusOK, u)
	}
}

// frontPod answers with the Pod of the address, now or in the past.
func (l *Lookup) frontPod(w http.ResponseWriter, r *http.Request, given url.Values) {
	key := given.Get("pod")
	past, isPast, err := l.parsePast(given)
	if isPast && err == nil {
		var term query.Term
		term, err = query.ParseAs(query.Key, key)
		past.readings = [][]query.Term{{term}}
	}
	switch {
	case err != nil:
		refuse(w, r, err)
	case isPast:
		l.replyPast(w, r, past)
	default:
		l.replyPod(w, r, key)
	}
}

// usage is the start page in plain text.
type usage struct {
	summary
	version, address string
	past             string // how to ask for the past, if it is recorded
}

func (u usage) text(out *bytes.Buffer) {
	known := "Pods"
	if u.Pods != nil {
		known = fmt.Sprint(*u.Pods, " Pods")
	}
	fmt.Fprintf(out, `PodInfoLookup %s knows %s, as of %.1f s ago.

  curl '%s/?q=ANYTHING'          an IP, a UID, a container ID, a name ... or a part of one
  curl '%[4]s/v1/pods?ip=10.0.0.7'  or uid, container, key, name, namespace, node, hostip, workload, image, label
  curl '%[4]s/v1/pods/NAMESPACE/NAME'
%s
JSON from /v1, or text with -H 'Accept: text/plain'. In a browser this is a page.

`, u.version, known, u.AgeSeconds, u.address, u.past)
	u.summary.text(out)
}

func (s summary) text(out *bytes.Buffer) {
	w := columns(out)
	fmt.Fprintln(w, "PHASE\tPODS")
	for _, c := range s.Phases {
		fmt.Fprintf(w, "%s\t%d\n", cellOf(c.Name), c.Count)
	}
	_ = w.Flush() // to a buffer
	s.notes(out)
}

func columns(out *bytes.Buffer) *tabwriter.Writer {
	return tabwriter.NewWriter(out, 0, 0, 3, ' ', 0)
}

// cellChars bounds the width of a column, because all rows are as wide as the widest. The
// key of a Pod fits.
const cellChars = 320

// cellOf returns the cell of a value.
func cellOf(value string) string {
	text := []rune(printable.Text(value[:min(len(value), utf8.UTFMax*cellChars)]))
	if len(text) > cellChars {
		text = append(text[:cellChars-1], '…')
	}
	return printable.OrNone(string(text))
}

func table(out *bytes.Buffer, testcrs []*v1.TestcrSpec, terms []query.Term) {
	w := columns(out)
	fmt.Fprintln(w, "POD\tIP\tNODE\tSTATUS\tREADY\tRESTARTS\tAGE\tWORKLOAD\tUID\tNOTE")
	for _, t := range testcrs {
		p := podOf(t, terms)
		row := []string{p.PodKey, strings.Join(p.PodIPs, ","), p.NodeName, p.Status, p.ReadyContainers, fmt.Sprint(p.Restarts), p.age(), p.workload(), p.PodUID, p.Note}
		for i := range row {
			row[i] = cellOf(row[i])
		}
		row[len(row)-1] = p.Note // the last column may stay empty
		fmt.Fprintln(w, strings.Join(row, "\t"))
	}
	_ = w.Flush()
}

func (p *Pod) age() string {
	if p.CreatedAt.IsZero() {
		return ""
	}
	return printable.Age(p.CreatedAt.Time)
}

func (p *Pod) workload() string {
	if p.WorkloadName == "" {
		return ""
	}
	return strings.ToLower(p.WorkloadKind) + "/" + p.WorkloadName
}

func (o onePod) text(out *bytes.Buffer) {
	w := columns(out)
	o.rows(func(name, value string) { fmt.Fprintf(w, "%s:\t%s\n", name, printable.Text(value)) })
	_ = w.Flush()
	o.notes(out)
}

// rows calls row with each fact that the Pod has.
func (o onePod) rows(row func(name, value string)) {
	p := &o.Pod
	add := row
	row = func(name, value string) {
		if value != "" {
			add(name, value)
		}
	}
	row("pod", p.PodKey)
	row("note", p.Note)
	row("uid", p.PodUID)
	row("uid on its node", p.NodeUID)
	row("ips", strings.Join(p.PodIPs, ", "))
	for _, n := range p.NetworkIPs {
		row("network ip", strings.TrimSpace(n.IP+" "+n.Network))
	}
	row("node", p.NodeName)
	row("host ip", p.HostIP)
	row("host ips", strings.Join(p.HostIPs, ", "))
	row("status", p.Status)
	row("phase", p.Phase)
	row("ready", strings.TrimSpace(fmt.Sprint(p.Ready)+" "+p.ReadyContainers))
	row("restarts", fmt.Sprint(p.Restarts))
	row("workload", p.workload())
	row("host name", strings.TrimSuffix(p.Hostname+"."+p.Subdomain, "."))
	row("service account", p.ServiceAccount)
	row("age", p.age())
	for _, c := range p.Containers {
		row(strings.TrimSpace(c.Kind+" container"), strings.TrimSpace(c.Name+" "+c.Image+" "+c.ID))
		if c.PreviousID != "" {
			row("  before its restart", fmt.Sprintf("%s %s (%d)", c.PreviousID, c.PreviousReason, c.PreviousExitCode))
		}
	}
	row("testcr", p.Testcr)
	for _, l := range p.Links {
		row("link", l.Name+" "+l.URL)
	}
}
