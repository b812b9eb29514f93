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

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
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
	Namespace Kind = "namespace" // never a result of Parse
)

// Kinds contains all kinds, in the order of help texts and errors.
var Kinds = []Kind{IP, UID, Container, Key, Name, Node, HostIP, Workload, Namespace}

// IsUnique reports whether a fact of this kind should identify one Pod, so that several
// results are ambiguous.
func (k Kind) IsUnique() bool {
	return k == IP || k == UID || k == Container || k == Key || k == Name
}

// Term is one fact, in the spelling of Testcrs.
type Term struct {
	Kind Kind
	// Text is the value: an IP in its canonical form, a UID or a container ID in lower
	// case and without the runtime.
	Text string
	// Addr is the address of an IP or HostIP, unmapped and without a zone.
	Addr netip.Addr
	// OwnerKind is the kind of a Workload in lower case, singular and unabbreviated, "" for any.
	OwnerKind string
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
	// The kubelet's cgroup drivers write the UID of a Pod as pod<UID>, that of systemd
	// with "_" for "-". Runtimes append the container ID.
	cgroupUID       = regexp.MustCompile(`(?:^|[/-])pod([0-9a-f]{8}[-_][0-9a-f]{4}[-_][0-9a-f]{4}[-_][0-9a-f]{4}[-_][0-9a-f]{12})(?:\.slice)?(?:$|[/:])`)
	cgroupContainer = regexp.MustCompile(`(?:^|[/:-])([0-9a-f]{64})(?:\.scope)?(?:$|/)`)
	// idForm is narrower than what the API server accepts, and wider than the IDs of
	// all runtimes.
	idForm = regexp.MustCompile(`^[0-9a-z._-]+$`)
)

// ownerKinds contains kubectl's names of the kinds of built-in owners.
var ownerKinds = map[string]string{
	"deploy": "deployment", "deployment": "deployment", "deployments": "deployment",
	"sts": "statefulset", "statefulset": "statefulset", "statefulsets": "statefulset",
	"ds": "daemonset", "daemonset": "daemonset", "daemonsets": "daemonset",
	"rs": "replicaset", "replicaset": "replicaset", "replicasets": "replicaset",
	"rc": "replicationcontroller", "replicationcontroller": "replicationcontroller", "replicationcontrollers": "replicationcontroller",
	"job": "job", "jobs": "job",
}

// Parse returns the readings of s, the most likely first, or an error if there is none.
func Parse(s string) ([]Term, error) {
	s = strings.TrimSpace(s)
	if err := checkText(s); err != nil {
		return nil, err
	}
	if addr, ok := parseAddr(s); ok {
		// Names of Pods and nodes may look like an IPv4 address.
		return append([]Term{ip(IP, addr), ip(HostIP, addr)}, named(s, Node, Name)...), nil
	}
	terms := cgroup(s)
	lower := strings.ToLower(s)
	if uuidForm.MatchString(lower) {
		return append([]Term{{Kind: UID, Text: lower}}, named(s, Name, Node)...), nil
	}
	if runtime, id, ok := strings.Cut(lower, "://"); ok && runtime != "" {
		if t, err := ParseAs(Container, id); err == nil {
			return []Term{t}, nil
		}
	}
	if isHex(lower) && len(lower) >= v1.ContainerIDPrefix && len(lower) <= 64 {
		terms = append(terms, Term{Kind: Container, Text: lower})
		if len(lower) == 32 {
			terms = append(terms, Term{Kind: UID, Text: dashed(lower)})
		}
	}
	if before, after, ok := strings.Cut(s, "/"); ok {
		terms = append(terms, slashed(before, after)...)
	} else {
		terms = append(terms, named(s, Name, Node, Workload)...)
	}
	if terms == nil {
		return nil, fmt.Errorf("%q is neither an IP, a UID, a container ID nor a name: say what it is with --by or another parameter", s)
	}
	return terms, nil
}

// ParseAs returns s read as kind. The error contains the form of such a fact.
func ParseAs(kind Kind, s string) (Term, error) {
	s = strings.TrimSpace(s)
	if err := checkText(s); err != nil {
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
		s = strings.ToLower(s)
		if isHex(s) && len(s) == 32 {
			s = dashed(s)
		}
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

func checkText(s string) error {
	switch {
	case s == "":
		return fmt.Errorf("nothing to look for: give an IP, a UID, a container ID or a name")
	case len(s) > maxText:
		return fmt.Errorf("%q... is longer than anything that names a Pod, which ends at %d bytes", s[:16], maxText)
	}
	return nil
}

func ip(kind Kind, addr netip.Addr) Term {
	return Term{Kind: kind, Text: addr.String(), Addr: addr}
}

// parseAddr accepts addresses as in logs and URLs: in any spelling, with a zone, in
// brackets, with a port, or as the prefix of one address.
func parseAddr(s string) (netip.Addr, bool) {
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
			if err != nil || !prefix.IsSingleIP() {
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

func cgroup(s string) []Term {
	uid := cgroupUID.FindStringSubmatch(s)
	if uid == nil {
		return nil
	}
	var terms []Term
	if id := cgroupContainer.FindStringSubmatch(s); id != nil {
		terms = append(terms, Term{Kind: Container, Text: id[1]})
	}
	return append(terms, Term{Kind: UID, Text: strings.ReplaceAll(uid[1], "_", "-")})
}

// slashed returns the readings of A/B: kubectl's TYPE/NAME, and NAMESPACE/NAME.
func slashed(before, after string) []Term {
	if !isName(after) {
		return nil
	}
	var terms []Term
	owner := Term{Kind: Workload, OwnerKind: ownerKind(before), Text: after}
	foreign := false
	_, builtin := ownerKinds[owner.OwnerKind]
	switch lower := strings.ToLower(before); {
	case lower == "po" || lower == "pod" || lower == "pods":
		terms = append(terms, Term{Kind: Name, Text: after})
	case lower == "no" || lower == "node" || lower == "nodes":
		terms = append(terms, Term{Kind: Node, Text: after})
	case builtin:
		terms = append(terms, owner)
	default:
		foreign = isKind(before) // that of an operator: rollout/web
	}
	if len(validation.IsDNS1123Label(before)) == 0 {
		terms = append(terms, Term{Kind: Key, Text: before + "/" + after})
	}
	if foreign {
		terms = append(terms, owner)
	}
	return terms
}

// isKind reports whether s can be the kind of a CRD.
func isKind(s string) bool { return len(validation.IsDNS1035Label(ownerKind(s))) == 0 }

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

func isName(s string) bool { return len(validation.IsDNS1123Subdomain(s)) == 0 }

func isHex(s string) bool { return strings.Trim(s, hexDigits) == "" }

func dashed(s string) string {
	return s[:8] + "-" + s[8:12] + "-" + s[12:16] + "-" + s[16:20] + "-" + s[20:]
}

// Matches reports whether a Testcr with the spec s has the fact t.
func (t Term) Matches(s *v1.TestcrSpec) bool {
	switch t.Kind {
	case IP:
		return slices.ContainsFunc(s.PodIPs, func(ip string) bool { return isAddr(ip, t.Addr) })
	case HostIP:
		return isAddr(s.HostIP, t.Addr)
	case UID:
		return s.PodUID == t.Text
	case Container:
		return slices.ContainsFunc(s.Containers, func(c v1.Container) bool { return hasID(c.ID, t.Text) })
	case Key:
		return s.PodKey == t.Text
	case Name:
		return s.PodName == t.Text
	case Node:
		return s.NodeName == t.Text
	case Namespace:
		return s.Namespace == t.Text
	case Workload:
		return t.isOwner(s.WorkloadKind, s.WorkloadName) || t.isOwner(s.OwnerKind, s.OwnerName)
	}
	return false
}

func (t Term) isOwner(kind, name string) bool {
	return name == t.Text && (t.OwnerKind == "" || strings.EqualFold(kind, t.OwnerKind))
}

func isAddr(s string, addr netip.Addr) bool {
	a, err := netip.ParseAddr(s)
	return err == nil && Canonical(a) == addr
}

// hasID reports whether id without its runtime begins with prefix.
func hasID(id, prefix string) bool {
	if _, after, ok := strings.Cut(id, "://"); ok {
		id = after
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

// Compare orders Pods: live ones first, then the one that started last, because it is the
// last holder of an IP, then by namespace and name. Times count in whole seconds, as in
// JSON, so that a Pod which was encoded keeps its place.
func Compare(a, b *v1.TestcrSpec) int {
	if byRank := cmp.Compare(Rank(a), Rank(b)); byRank != 0 {
		return byRank
	}
	if byStart := cmp.Compare(started(b), started(a)); byStart != 0 {
		return byStart
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
