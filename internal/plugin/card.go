package plugin

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/internal/printable"
	"github.com/weiyuanke/PodInfoLookup/internal/query"
)

// Bounds of a card, whose values are a stranger's.
const (
	maxCardContainers = 8
	maxCardValues     = 10  // labels, IPs
	maxCardWidth      = 400 // of a value
)

// card prints a Pod for people: what it is, where, its state and why, and the next
// commands. No ID and no command is broken into lines, so that each can be copied.
type card struct {
	out      io.Writer
	terminal *os.File // nil if out is none
	color    bool
	flags    clusterFlags
	printed  bool // a card, which an empty line separates from the next
}

func newCard(o *options) *card {
	return &card{out: o.Out, terminal: terminalOf(o.Out), color: allowsColor(o.Out), flags: o.clusterFlags()}
}

func (p *card) print(rows []row, s shape) error {
	for _, r := range rows {
		text := &cardText{color: p.color, width: columnsOf(p.terminal)}
		if p.printed {
			text.out.WriteString("\n")
		}
		p.printed = true
		if s.several {
			text.field("Query", r.query)
		}
		text.write(p.flags, r)
		if _, err := io.WriteString(p.out, text.out.String()); err != nil {
			return err
		}
	}
	return nil
}

// cardText is the text of one card.
type cardText struct {
	out   strings.Builder
	color bool
	width int // of the terminal, 0 without a bound

	isPast bool // the Pod is one of the past
}

// write writes a card without its query.
func (c *cardText) write(flags clusterFlags, r row) {
	s := &r.testcr.Spec
	c.identity(r)
	c.isPast = r.held != nil
	c.state(s)
	c.place(s)
	c.origin(s)
	c.containers(s.Containers)
	c.commands(flags, r)
}

// nameWidth is the width of the names of fields.
const nameWidth = 11

// field writes a name and its values, each from a line of its own on. Empty values are
// left out.
func (c *cardText) field(name string, values ...string) {
	c.styledField(name, "", values...)
}

func (c *cardText) styledField(name, style string, values ...string) {
	for _, value := range values {
		if value == "" {
			continue
		}
		for _, line := range wrap(cut(printable.Text(value), maxCardWidth), c.width-nameWidth) {
			c.out.WriteString(pad(name, nameWidth) + styled(c.color, style, line) + "\n")
			name = ""
		}
	}
}

// line writes a value that must not be broken.
func (c *cardText) line(indent, text string) {
	c.out.WriteString(indent + printable.Text(text) + "\n")
}

func (c *cardText) identity(r row) {
	s := &r.testcr.Spec
	c.styledField("Pod", bold, s.PodKey)
	c.field("Cluster", r.cluster)
	if r.held != nil {
		c.field("From", r.held.from)
		c.field("To", r.held.to)
	}
	c.field("Note", note(r))
	if s.Truncated {
		c.field("", "labels, containers or long values are left out: kubectl get pod has all")
	}
}

// state writes the state of the Pod and how its containers ended before.
func (c *cardText) state(s *v1.TestcrSpec) {
	status := cut(printable.Text(statusOf(s)), maxCardWidth)
	details := ""
	if c.isPast {
		details = ", the last that was recorded"
	}
	if s.Phase != "" && s.Phase != statusOf(s) {
		details += ", phase " + s.Phase
	}
	if s.ReadyContainers != "" {
		details += ", ready " + s.ReadyContainers
	}
	if s.Restarts == 1 {
		details += ", 1 restart"
	} else if s.Restarts > 1 {
		details += fmt.Sprintf(", %d restarts", s.Restarts)
	}
	details = cut(printable.Text(details), maxCardWidth)
	if width := nameWidth + widthOf(status+details); c.width > 0 && width > c.width {
		c.styledField("Status", statusStyle(s), status)
		c.field("", strings.TrimPrefix(details, ", "))
	} else {
		c.out.WriteString(pad("Status", nameWidth) + styled(c.color, statusStyle(s), printable.OrNone(status)) + details + "\n")
	}
	var ended []string
	for i := range s.Containers {
		if k := &s.Containers[i]; hasEnded(k) {
			ended = append(ended, k.Name+" with "+endOf(k))
		}
	}
	if len(ended) > 0 {
		c.field("Restarted", strings.Join(bounded(ended, maxCardContainers), ", "))
	}
}

// hasEnded reports whether a container was restarted.
func hasEnded(k *v1.Container) bool { return k.PreviousID != "" || k.PreviousReason != "" }

// endOf returns the reason and the exit code of before the restart.
func endOf(k *v1.Container) string {
	return fmt.Sprintf("%s (%d)", cmp.Or(k.PreviousReason, "no reason"), k.PreviousExitCode)
}

// bounded returns the first values of a list, and how many there are more.
func bounded(values []string, limit int) []string {
	if len(values) <= limit {
		return values
	}
	return append(slices.Clone(values[:limit]), fmt.Sprintf("and %d more", len(values)-limit))
}

func (c *cardText) place(s *v1.TestcrSpec) {
	c.field("Node", cmp.Or(s.NodeName, "not scheduled"))
	ips := s.PodIPs
	if len(ips) == 0 && s.PodIP != "" {
		ips = []string{s.PodIP}
	}
	c.field("IP", strings.Join(bounded(ips, maxCardValues), ", "))
	var others []string
	for _, n := range s.NetworkIPs {
		text := n.IP + " by an annotation"
		if n.Network != "" {
			text = n.IP + " in the network " + n.Network + ", by an annotation"
		}
		others = append(others, text)
	}
	c.field("Networks", bounded(others, maxCardValues)...)
	hosts := s.HostIPs
	if len(hosts) == 0 && s.HostIP != "" {
		hosts = []string{s.HostIP}
	}
	c.field("Host IP", strings.Join(bounded(hosts, maxCardValues), ", "))
	if s.Hostname != "" && s.Subdomain != "" {
		c.field("DNS", s.Hostname+"."+s.Subdomain+"."+s.Namespace+".svc")
	}
}

// proofs are the values of workloadproof in a card.
var proofs = map[string]string{
	v1.ProofOwner: ", by its owner reference",
	v1.ProofLabel: ", by the owner's name and a label",
	v1.ProofName:  ", by the owner's name alone",
}

func (c *cardText) origin(s *v1.TestcrSpec) {
	if s.WorkloadName != "" {
		c.field("Workload", s.WorkloadKind+"/"+s.WorkloadName+proofs[s.WorkloadProof])
	}
	if s.OwnerName != "" && (s.OwnerName != s.WorkloadName || s.OwnerKind != s.WorkloadKind) {
		c.field("Owner", s.OwnerKind+"/"+s.OwnerName)
	}
	c.field("Account", s.ServiceAccount)
	name, age := "Age", printable.Age(s.CreatedAt.Time)
	if !s.CreatedAt.IsZero() {
		age += ", created " + inUTC(s.CreatedAt)
	}
	if c.isPast {
		if name, age = "Created", ""; !s.CreatedAt.IsZero() {
			age = inUTC(s.CreatedAt)
		}
	}
	if !s.StartedAt.IsZero() {
		age = strings.TrimPrefix(age+", started "+inUTC(s.StartedAt), ", ")
	}
	c.field(name, age)
	c.field("UID", s.PodUID)
	if s.NodeUID != "" {
		c.field("", s.NodeUID+" on its node, by an annotation")
	}
	var labels []string
	for _, key := range slices.Sorted(maps.Keys(s.Labels)) {
		labels = append(labels, key+"="+s.Labels[key])
	}
	c.field("Labels", bounded(labels, maxCardValues)...)
}

func inUTC(t metav1.Time) string { return t.UTC().Format(time.DateTime) + " UTC" }

// containers writes IDs and images without names of fields, so that they fit into 80
// columns.
func (c *cardText) containers(all []v1.Container) {
	if len(all) > 0 {
		c.out.WriteString("\n")
	}
	for i := range all {
		if i == maxCardContainers {
			c.line("", fmt.Sprintf("and %d more containers: -o json has all", len(all)-i))
			break
		}
		k := &all[i]
		name := k.Name
		if k.Kind != "" {
			name += " (" + k.Kind + ")"
		}
		c.styledField("Container", bold, name)
		for _, value := range []string{k.Image, imageID(k), k.ID} {
			if value != "" {
				c.line("  ", cut(value, maxCardWidth))
			}
		}
		if hasEnded(k) {
			c.line("  ", cut("before the restart: "+endOf(k), maxCardWidth))
			if k.PreviousID != "" {
				c.line("  ", cut(k.PreviousID, maxCardWidth))
			}
		}
	}
}

// imageID returns the ID of the image that runs: its digest alone if the rest is the name
// of the image.
func imageID(k *v1.Container) string {
	name, digest, found := strings.Cut(k.ImageID, "@")
	image, _, _ := strings.Cut(k.Image, "@")
	if slash := strings.LastIndexByte(image, '/'); strings.Contains(image[slash+1:], ":") {
		image = image[:strings.LastIndexByte(image, ':')]
	}
	if _, after, ok := strings.Cut(name, "://"); ok { // docker-pullable://nginx@sha256:...
		name = after
	}
	if found && image != "" && slices.Contains([]string{image, "docker.io/" + image, "docker.io/library/" + image}, name) {
		return digest
	}
	return k.ImageID
}

// commands writes the next commands. There are none for a Pod that is gone, or that no
// command can name.
func (c *cardText) commands(t clusterFlags, r row) {
	if r.event == eventDeleted || !t.canBeNamed(r) || r.held != nil && !r.held.item.IsOpen() {
		return
	}
	s, at := &r.testcr.Spec, t.of(r)
	title := "Next"
	if len(t.missing) > 0 {
		title += ", with " + strings.Join(t.missing, " and ") + " as before"
	}
	c.out.WriteString("\n" + title + "\n")
	if k := mainContainer(r); k != nil {
		pod := fmt.Sprintf("%s %s -c %s", at, s.PodName, k.Name)
		if hasEnded(k) {
			c.line("  ", "kubectl logs "+pod+" --previous")
		}
		if k.ID != "" || s.Phase != string(corev1.PodPending) {
			c.line("  ", "kubectl logs "+pod)
		}
		if k.Kind != v1.ContainerInit && s.Phase == string(corev1.PodRunning) {
			c.line("  ", "kubectl exec -it "+pod+" -- sh")
		}
	}
	c.line("  ", fmt.Sprintf("kubectl describe pod %s %s", at, s.PodName))
}

// mainContainer returns the container that commands are about: the one that was asked
// for, else the first that failed, else the first. It is nil if there is none that a command can
// name.
func mainContainer(r row) *v1.Container {
	all := r.testcr.Spec.Containers
	choices := []func(k *v1.Container) bool{
		func(k *v1.Container) bool {
			return r.term.Kind == query.Container && r.term.Matches(&v1.TestcrSpec{Containers: []v1.Container{*k}})
		},
		func(k *v1.Container) bool { return hasEnded(k) && k.PreviousExitCode != 0 },
		func(*v1.Container) bool { return true },
	}
	for _, isChosen := range choices {
		for i := range all {
			if len(validation.IsDNS1123Label(all[i].Name)) == 0 && isChosen(&all[i]) {
				return &all[i]
			}
		}
	}
	return nil
}
