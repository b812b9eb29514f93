// Package query parses facts of Pods (an IP, a UID, a container ID, a name ...) and
// matches them with Testcrs.
package query

import (
	"cmp"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"unicode"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/cache"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
)

// Kind is the kind of a fact. It is a parameter of the HTTP API, and a value of --by of
// the plugin.
type Kind string

// The kinds of facts.
const (
	IP        Kind = "ip"        // any IP of the Pod
	UID       Kind = "uid"       // metadata.uid of the Pod
	Container Kind = "container" // a container ID, or a prefix of at least 12 digits
	Key       Kind = "key"       // namespace/name
	Name      Kind = "name"      // the Pod's name, in any namespace
	Node      Kind = "node"      // the node's name
	HostIP    Kind = "hostip"    // the node's IP
	Workload  Kind = "workload"  // [kind/]name of the Pod's workload or owner
	Image     Kind = "image"     // an image by its name, tag or digest, of any container
	Label     Kind = "label"     // a label of the Pod, KEY=VALUE
	Namespace Kind = "namespace" // never a result of Parse
)

// Kinds contains all kinds, in the order of help texts and errors.
var Kinds = []Kind{IP, UID, Container, Key, Name, Node, HostIP, Workload, Image, Label, Namespace}

// IsUnique reports whether a fact of this kind should identify one Pod, so that several
// results are ambiguous.
func (k Kind) IsUnique() bool {
	return k == IP || k == UID || k == Container || k == Key || k == Name
}

// Term is one fact, in the spelling of Testcrs.
type Term struct {
	Kind Kind
	// Text is the value: an IP in its canonical form, a UID or a container ID in lower
	// case and without the runtime. In a partial term "*" stands for any characters.
	Text string
	// Partial reports that Text is a part of a name in lower case, or the beginning of
	// a UID or of a container ID. Only Parse returns such terms.
	Partial bool
	// Addr is the address of an IP or HostIP, unmapped and without a zone. It is not
	// valid in a range.
	Addr netip.Addr
	// Prefix is a range of IPs. Only Parse returns such terms.
	Prefix netip.Prefix
	// OwnerKind is the kind of a Workload in lower case, singular and unabbreviated, "" for any.
	OwnerKind string
}

// IsExact reports whether t has one value, by which an index can be asked. Other terms
// need a scan of all Pods.
func (t Term) IsExact() bool { return !t.Partial && !t.Prefix.IsValid() }

// IsService reports whether t names a Service: NAME or NAMESPACE/NAME. No Pod matches it,
// because the endpoints of a Service are not in its Pods.
func (t Term) IsService() bool { return t.Kind == Workload && t.OwnerKind == "service" }

// IsUnique reports whether t should identify one Pod, so that several results are
// ambiguous.
func (t Term) IsUnique() bool { return t.IsExact() && t.Kind.IsUnique() }

// Exact returns the exact terms at the beginning of terms, and the others. Those are
// tried only if no exact one matches.
func Exact(terms []Term) (exact, others []Term) {
	n := slices.IndexFunc(terms, func(t Term) bool { return !t.IsExact() })
	if n < 0 {
		n = len(terms)
	}
	return terms[:n], terms[n:]
}

// stage orders the terms of Parse.
func stage(t Term) int {
	if t.IsExact() {
		return 0
	}
	return 1
}

// String returns the term in the form that the HTTP API and the plugin accept.
func (t Term) String() string {
	if t.OwnerKind != "" {
		return t.OwnerKind + "/" + t.Text
	}
	return t.Text
}

const (
	hexDigits = "0123456789abcdef"
	// maxText is more than the length of any fact in bytes.
	maxText = 1024
)

var (
	uuidForm = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)
	// idForm is narrower than what the API server accepts, and wider than the IDs of
	// all runtimes.
	idForm = regexp.MustCompile(`^[0-9a-z._-]+$`)
	// imageForm is wider than what runtimes accept.
	imageForm = regexp.MustCompile(`^[0-9A-Za-z][0-9A-Za-z._/:@-]*$`)
)

// ownerKinds contains kubectl's names of the kinds of built-in owners.
var ownerKinds = map[string]string{
	"deploy": "deployment", "deployment": "deployment", "deployments": "deployment",
	"sts": "statefulset", "statefulset": "statefulset", "statefulsets": "statefulset",
	"ds": "daemonset", "daemonset": "daemonset", "daemonsets": "daemonset",
	"rs": "replicaset", "replicaset": "replicaset", "replicasets": "replicaset",
	"rc": "replicationcontroller", "replicationcontroller": "replicationcontroller", "replicationcontrollers": "replicationcontroller",
	"job": "job", "jobs": "job",
	"cj": "cronjob", "cronjob": "cronjob", "cronjobs": "cronjob",
	"dc": "deploymentconfig", "deploymentconfig": "deploymentconfig", "deploymentconfigs": "deploymentconfig",
	"svc": "service", "service": "service", "services": "service",
}

// Parse returns the facts in s, the most likely first: the readings of s as one fact,
// else of each item of a list, else the facts inside a longer text such as a line of a
// log. Exact terms come before others. It returns an error if there is no term.
func Parse(s string) ([]Term, error) {
	s = strings.TrimSpace(s)
	if err := checkText(s, maxPaste); err != nil {
		return nil, err
	}
	s = expandDots(s)
	terms := readings(s)
	if terms == nil {
		terms = readWrapped(s)
	}
	if terms == nil {
		for _, item := range Split(s) {
			terms = join(terms, readings(item))
		}
	}
	if terms == nil {
		terms = extract(s)
	}
	if terms == nil {
		terms = imageOrLabel(s)
	}
	if terms == nil {
		return nil, nothingIn(s)
	}
	slices.SortStableFunc(terms, func(a, b Term) int { return cmp.Compare(stage(a), stage(b)) })
	exact, others := Exact(terms)
	return terms[:len(exact)+min(len(others), maxScans)], nil
}

// nothingIn returns the error for a text without a fact, which says what was looked for.
func nothingIn(s string) error {
	if prefix, ok := network(s); ok {
		return fmt.Errorf("%q is too wide a range of IPs: at most a /%d of IPv4 or a /%d of IPv6 is looked for", prefix, widest4, widest6)
	}
	const shown = 64
	isOne := !strings.ContainsFunc(s, unicode.IsSpace)
	if err := checkText(s, maxText); isOne && err != nil {
		return err
	}
	if isOne && len(s) <= shown {
		return fmt.Errorf("%q is neither an IP, a UID, a container ID nor a name: say what it is with --by or another parameter", s)
	}
	dots := ""
	if len(s) > shown {
		s, dots = s[:shown], "..."
	}
	return fmt.Errorf("%q%s contains no fact of a Pod: looked for IPs, UIDs, container IDs, NAMESPACE/NAME, TYPE/NAME, DNS names, "+
		"cgroups, paths on a node, and names of Pods", s, dots)
}

// ParseBy returns the readings of s as kind: s itself, or else the facts of this kind
// that Parse finds in it.
func ParseBy(kind Kind, s string) ([]Term, error) {
	term, err := ParseAs(kind, s)
	if err == nil && !strings.Contains(s, "*") {
		return []Term{term}, nil
	}
	terms, _ := Parse(s) // the error of ParseAs is the more precise one
	terms = slices.DeleteFunc(terms, func(t Term) bool { return t.Kind != kind })
	if len(terms) == 0 {
		return []Term{term}, err
	}
	return terms, nil
}

// ParseAs returns s read as kind. The error contains the form of such a fact.
func ParseAs(kind Kind, s string) (Term, error) {
	s = strings.TrimSpace(s)
	if err := checkText(s, maxText); err != nil {
		return Term{}, err
	}
	switch kind {
	case IP, HostIP:
		addr, ok := parseAddr(s)
		if !ok {
			return Term{}, fmt.Errorf("%q is not an IPv4 or IPv6 address", s)
		}
		return ip(kind, addr), nil
	case UID:
		s = CanonicalUID(s)
		if !idForm.MatchString(s) {
			return Term{}, fmt.Errorf("%q is not a UID", s)
		}
	case Container:
		if at := strings.LastIndex(s, "://"); at >= 0 {
			s = s[at+len("://"):]
		}
		if s = strings.ToLower(s); len(s) < v1.ContainerIDPrefix {
			return Term{}, fmt.Errorf("%q is not a container ID: at least its first %d characters are needed", s, v1.ContainerIDPrefix)
		}
		if !idForm.MatchString(s) {
			return Term{}, fmt.Errorf("%q is not a container ID", s)
		}
	case Key:
		if key, err := cache.ParseObjectName(s); err != nil || key.Namespace == "" || key.Name == "" {
			return Term{}, fmt.Errorf("%q is not NAMESPACE/NAME", s)
		}
	case Workload:
		before, after, ok := strings.Cut(s, "/")
		switch {
		case ok && (!isKind(before) || after == "" || strings.Contains(after, "/")):
			return Term{}, fmt.Errorf("%q is not NAME or KIND/NAME, as in deployment/web", s)
		case ok:
			return Term{Kind: kind, OwnerKind: ownerKind(before), Text: after}, nil
		}
	case Image:
		if s = strings.TrimPrefix(s, "docker-pullable://"); !imageForm.MatchString(s) {
			return Term{}, fmt.Errorf("%q is not the name, the tag or the digest of an image", s)
		}
	case Label:
		s = strings.Replace(s, "==", "=", 1)
		if key, _, ok := strings.Cut(s, "="); !ok || !isLabelKey(key) || strings.ContainsAny(s, " \t\n,") {
			return Term{}, fmt.Errorf("%q is not KEY=VALUE, as in app=cart", s)
		}
	case Name, Node, Namespace:
		if strings.Contains(s, "/") {
			return Term{}, fmt.Errorf("%q is not the name of a %s: it has a slash", s, kindNoun[kind])
		}
	default:
		return Term{}, fmt.Errorf("%q is no kind of fact: there are %s", kind, strings.Join(KindNames(), ", "))
	}
	return Term{Kind: kind, Text: s}, nil
}

var kindNoun = map[Kind]string{Name: "Pod", Node: "node", Namespace: "namespace"}

// KindNames returns the names of all kinds, in the order of Kinds.
func KindNames() []string {
	names := make([]string, len(Kinds))
	for i, k := range Kinds {
		names[i] = string(k)
	}
	return names
}

func checkText(s string, limit int) error {
	switch {
	case s == "":
		return fmt.Errorf("nothing to look for: give an IP, a UID, a container ID or a name")
	case len(s) > limit:
		return fmt.Errorf("%q... is longer than anything that names a Pod, which ends at %d bytes", s[:16], limit)
	}
	return nil
}

func ip(kind Kind, addr netip.Addr) Term {
	return Term{Kind: kind, Text: addr.String(), Addr: addr}
}

// parseAddr accepts addresses as in logs and URLs: in any spelling, with a zone, in
// brackets, with a port, or with the length of the prefix of its network.
func parseAddr(s string) (netip.Addr, bool) {
	if !strings.ContainsAny(s, ".:") {
		return netip.Addr{}, false // errors of netip cost an allocation
	}
	bare := s
	if strings.HasPrefix(s, "[") && strings.HasSuffix(s, "]") {
		bare = s[1 : len(s)-1]
	}
	addr, err := netip.ParseAddr(bare)
	if err != nil {
		port, err := netip.ParseAddrPort(s)
		addr = port.Addr()
		if err != nil {
			prefix, err := netip.ParsePrefix(s)
			if _, isNetwork := network(s); err != nil || isNetwork {
				return netip.Addr{}, false
			}
			addr = prefix.Addr()
		}
	}
	return Canonical(addr), true
}

// Canonical returns addr without a zone, and an IPv4 address that is mapped into IPv6 as
// IPv4.
func Canonical(addr netip.Addr) netip.Addr {
	return addr.WithZone("").Unmap()
}

// slashed returns the readings of A/B: kubectl's TYPE/NAME, and NAMESPACE/NAME.
func slashed(before, after string) []Term {
	if !isName(after) {
		return nil
	}
	terms := typed(before, after)
	if isLabel(before) {
		terms = append(terms, Term{Kind: Key, Text: before + "/" + after})
	}
	if !isBuiltin(before) && isKind(before) { // that of an operator: rollout/web
		terms = append(terms, Term{Kind: Workload, OwnerKind: ownerKind(before), Text: after})
	}
	return terms
}

// typed returns the readings of a name behind a type that Kubernetes has.
func typed(kind, name string) []Term {
	switch {
	case isPodType(kind):
		return []Term{{Kind: Name, Text: name}}
	case isNodeType(kind):
		return []Term{{Kind: Node, Text: name}}
	case isBuiltin(kind):
		return []Term{{Kind: Workload, OwnerKind: ownerKind(kind), Text: name}}
	}
	return nil
}

func isPodType(s string) bool {
	s = strings.ToLower(s)
	return s == "po" || s == "pod" || s == "pods"
}

func isNodeType(s string) bool {
	s = strings.ToLower(s)
	return s == "no" || s == "node" || s == "nodes"
}

// isBuiltin reports whether s is kubectl's name of a type that Kubernetes has.
func isBuiltin(s string) bool {
	_, ok := ownerKinds[ownerKind(s)]
	return ok && !strings.Contains(s, "/") || isPodType(s) || isNodeType(s)
}

func isLabel(s string) bool { return len(s) <= 63 && isName(s) && strings.IndexByte(s, '.') < 0 }

// isKind reports whether s can be the kind of a CRD.
func isKind(s string) bool {
	s = ownerKind(s)
	return isLabel(s) && isLetter(rune(s[0]))
}

// ownerKind returns the kind of which s is kubectl's abbreviation or plural, in any case,
// with or without a group.
func ownerKind(s string) string {
	s, _, _ = strings.Cut(strings.ToLower(s), ".")
	return cmp.Or(ownerKinds[s], s)
}

func named(s string, kinds ...Kind) []Term {
	if !isName(s) {
		return nil
	}
	terms := make([]Term, len(kinds))
	for i, k := range kinds {
		terms[i] = Term{Kind: k, Text: s}
	}
	return terms
}

// isName reports whether s is a DNS subdomain, as the names of most objects. The
// regular expression of apimachinery would take most of the time of Parse.
func isName(s string) bool {
	if s == "" || len(s) > maxName {
		return false
	}
	before := byte('.')
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z' || '0' <= c && c <= '9':
		case c == '-' && before != '.':
		case c == '.' && before != '.' && before != '-':
		default:
			return false
		}
		before = s[i]
	}
	return before != '-' && before != '.'
}

func isHex(s string) bool { return strings.Trim(s, hexDigits) == "" }

// CanonicalUID returns uid in lower case, and with dashes if it is 32 hexadecimal digits.
func CanonicalUID(uid string) string {
	uid = strings.ToLower(uid)
	if len(uid) == 32 && isHex(uid) {
		return dashed(uid)
	}
	return uid
}

func dashed(s string) string {
	return s[:8] + "-" + s[8:12] + "-" + s[12:16] + "-" + s[16:20] + "-" + s[20:]
}

// Matches reports whether a Testcr with the spec s has the fact t.
func (t Term) Matches(s *v1.TestcrSpec) bool {
	switch t.Kind {
	case IP:
		return slices.ContainsFunc(s.PodIPs, t.isAddr) || slices.ContainsFunc(s.NetworkIPs, func(n v1.NetworkIP) bool { return t.isAddr(n.IP) })
	case HostIP:
		return t.isAddr(s.HostIP) || slices.ContainsFunc(s.HostIPs, t.isAddr)
	case UID:
		return t.is(s.PodUID) || s.NodeUID != "" && t.is(CanonicalUID(s.NodeUID))
	case Container:
		return slices.ContainsFunc(s.Containers, func(c v1.Container) bool { return t.isID(c.ID) || c.PreviousID != "" && t.isID(c.PreviousID) })
	case Image:
		return slices.ContainsFunc(s.Containers, t.isImage)
	case Label:
		return t.hasLabel(s.Labels)
	case Key:
		return t.is(s.PodKey)
	case Name:
		return t.is(s.PodName)
	case Node:
		return t.is(s.NodeName)
	case Namespace:
		return s.Namespace == t.Text
	case Workload:
		return t.isOwner(s.WorkloadKind, s.WorkloadName) || t.isOwner(s.OwnerKind, s.OwnerName)
	}
	return false
}

func (t Term) is(value string) bool {
	return value == t.Text || t.Partial && matchesGlob(t.Text, value)
}

func (t Term) isOwner(kind, name string) bool {
	return t.is(name) && (t.OwnerKind == "" || strings.EqualFold(kind, t.OwnerKind))
}

func (t Term) isAddr(s string) bool {
	a, err := netip.ParseAddr(s)
	return err == nil && (Canonical(a) == t.Addr || t.Prefix.IsValid() && t.Prefix.Contains(Canonical(a)))
}

// isID reports whether id without its runtime begins with the text of t.
func (t Term) isID(id string) bool {
	if _, after, ok := strings.Cut(id, "://"); ok {
		id = after
	}
	prefix := t.Text
	if t.Partial {
		prefix = strings.TrimSuffix(prefix, "*")
	}
	return len(id) >= len(prefix) && strings.EqualFold(id[:len(prefix)], prefix)
}

// Rank orders results: 0 for a live Pod, 1 for a terminating one, 2 for a completed one,
// whose IP may have been assigned again.
func Rank(s *v1.TestcrSpec) int {
	switch {
	case s.Phase == string(corev1.PodSucceeded) || s.Phase == string(corev1.PodFailed):
		return 2
	case s.Terminating:
		return 1
	}
	return 0
}

// Compare orders Pods: live ones first, then by namespace and name.
func Compare(a, b *v1.TestcrSpec) int {
	if byRank := cmp.Compare(Rank(a), Rank(b)); byRank != 0 {
		return byRank
	}
	return strings.Compare(a.PodKey, b.PodKey)
}

// started returns when the node accepted the Pod, or else when it was created, in seconds.
func started(s *v1.TestcrSpec) int64 {
	if s.StartedAt.IsZero() {
		return s.CreatedAt.Unix()
	}
	return s.StartedAt.Unix()
}

// Note returns why s may not be the intended Pod, or "" for a live Pod with its own IP.
func Note(s *v1.TestcrSpec) string {
	var notes []string
	if rank := Rank(s); rank == 2 {
		notes = append(notes, "completed ("+s.Phase+"): its IP may be another Pod's by now")
	} else if rank == 1 {
		notes = append(notes, "terminating")
	}
	if s.HostNetwork {
		notes = append(notes, "host network: shares the IP of its node")
	}
	return strings.Join(notes, "; ")
}
