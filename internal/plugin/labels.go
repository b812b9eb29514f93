package plugin

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"k8s.io/client-go/tools/cache"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/internal/addresses"
	"github.com/weiyuanke/PodInfoLookup/internal/index"
	"github.com/weiyuanke/PodInfoLookup/internal/query"
)

// label is the text in brackets that annotate writes. With --json the fields of a holder
// and a closing brace follow, in the same string, because each read of other memory costs
// as much as the rest of a lookup.
type label string

func (l label) text() label {
	if l[len(l)-1] == ']' {
		return l
	}
	return l[:strings.IndexByte(string(l), ']')+1]
}

func (l label) json() label { return l[strings.IndexByte(string(l), ']')+1:] }

// labels contains the label of each fact, by keys of a fixed size.
type labels struct {
	ips  map[key]label
	uids map[key]label
	// By the first 12 digits: each is a container ID in lower case, without its runtime,
	// and its label. Others with the same 12 digits are in more.
	ids  map[uint64]string
	more map[uint64][]string

	facts []fact // of a line of JSON, reused

	past *pastLabels // of the past, in place of the others; nil for the present
}

func (l *labels) ip(k key) label {
	if l.past != nil {
		return l.past.ip(k)
	}
	return l.ips[k]
}

func (l *labels) uid(k key) label {
	if l.past != nil {
		return l.past.uid(k)
	}
	return l.uids[k]
}

// container returns the label of the only ID that begins with b, or "". b has at least 12
// hexadecimal digits.
func (l *labels) container(b []byte) label {
	if l.past != nil {
		return l.past.container(b)
	}
	k := idKey(b)
	found := labelOfID(l.ids[k], b)
	if len(l.more) == 0 {
		return found
	}
	for _, id := range l.more[k] {
		if other := labelOfID(id, b); found != "" && other != "" {
			return ""
		} else if other != "" {
			found = other
		}
	}
	return found
}

// labelOfID returns the label behind id if id begins with b, or "". They have the first
// 12 digits in common.
func labelOfID(id string, b []byte) label {
	if len(id) <= len(b) {
		return ""
	}
	for i := shortID; i < len(b); i++ {
		if hexValue[id[i]] != hexValue[b[i]] {
			return ""
		}
	}
	bracket := strings.IndexByte(id[shortID:], '[')
	if shortID+bracket < len(b) {
		return ""
	}
	return label(id[shortID+bracket:])
}

// idKey returns the number of the first 12 hexadecimal digits of id.
func idKey[S string | []byte](id S) (k uint64) {
	for i := range shortID {
		k = k<<4 | uint64(hexValue[id[i]])
	}
	return k
}

// names contains the labels of all facts. One read lock is held for a whole block of the
// stream, so that a lookup costs no more than one in a map.
type names struct {
	index *index.Index
	json  bool // lines of JSON get a field
	// others has the Services and nodes; nil if they get no labels.
	others *addresses.Cache

	mu     sync.RWMutex
	labels labels
	last   label // that was made: the facts of a Pod share it
}

func newNames() *names {
	return &names{
		index:  index.New(),
		labels: labels{ips: map[key]label{}, uids: map[key]label{}, ids: map[uint64]string{}, more: map[uint64][]string{}, facts: []fact{}},
	}
}

func (n *names) handler() cache.ResourceEventHandler { return podHandler(n.update) }

// update replaces one state of a Pod by the next; nil stands for absent.
func (n *names) update(old, pod podState) {
	if old != nil {
		n.index.Remove(old.Spec().PodKey, old.GetResourceVersion())
		defer n.labelAll(old.Spec())
	}
	if pod != nil {
		n.index.Put(pod, pod.GetResourceVersion())
		n.labelAll(pod.Spec())
	}
}

// labelAll makes the labels of all facts of s again.
func (n *names) labelAll(s *v1.TestcrSpec) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, ip := range s.PodIPs {
		if addr, err := netip.ParseAddr(ip); err == nil {
			n.labelIP(query.Canonical(addr))
		}
	}
	for i := range s.NetworkIPs {
		if addr, err := netip.ParseAddr(s.NetworkIPs[i].IP); err == nil {
			n.labelIP(query.Canonical(addr))
		}
	}
	n.labelUID(s.PodUID)
	n.labelUID(query.CanonicalUID(s.NodeUID))
	for i := range s.Containers {
		n.labelContainer(bareID(s.Containers[i].ID))
		n.labelContainer(bareID(s.Containers[i].PreviousID))
	}
}

func (n *names) labelIP(addr netip.Addr) {
	t := query.Term{Kind: query.IP, Text: addr.String(), Addr: addr}
	pods := n.find(t)
	h := holderOfIP(pods)
	if n.others != nil && (len(pods) == 0 || t.IsAlias(pods[0])) {
		if other := holderOfAddress(n.others.Lookup(addr, nil)); other != (holder{}) {
			h = other
		}
	}
	n.set(n.labels.ips, addr.As16(), h)
}

// labelOthers makes the labels of addrs again, whose Services or nodes have changed.
func (n *names) labelOthers(addrs []netip.Addr) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, addr := range addrs {
		n.labelIP(addr)
	}
}

func (n *names) labelUID(uid string) {
	if k, length := parseUID([]byte(uid)); length > 0 && length == len(uid) {
		pods := n.find(query.Term{Kind: query.UID, Text: uid})
		n.set(n.labels.uids, k, holderOf(pods))
	}
}

func (n *names) labelContainer(id string) {
	if len(id) < shortID || len(id) > longID || strings.Trim(id, hexDigits) != "" {
		return
	}
	has := func(c v1.Container) bool { return bareID(c.ID) == id || bareID(c.PreviousID) == id }
	pods := n.find(query.Term{Kind: query.Container, Text: id})
	pods = slices.DeleteFunc(pods, func(s *v1.TestcrSpec) bool { return !slices.ContainsFunc(s.Containers, has) })
	k := idKey(id)
	all := append(slices.Clone(n.labels.more[k]), n.labels.ids[k])
	all = slices.DeleteFunc(all, func(other string) bool { return other == "" || strings.HasPrefix(other, id+"[") })
	if len(pods) > 0 {
		holder := holderOf(pods)
		holder.Container = clean(pods[0].Containers[slices.IndexFunc(pods[0].Containers, has)].Name, longestContainer)
		all = append(all, id+string(n.newLabel(holder)))
	}
	delete(n.labels.ids, k)
	delete(n.labels.more, k)
	if len(all) > 0 {
		n.labels.ids[k] = all[0]
	}
	if len(all) > 1 {
		n.labels.more[k] = all[1:]
	}
}

const hexDigits = "0123456789abcdef"

// bareID returns id without its runtime, in lower case.
func bareID(id string) string {
	if _, after, ok := strings.Cut(id, "://"); ok {
		id = after
	}
	return strings.ToLower(id)
}

func (n *names) find(term query.Term) []*v1.TestcrSpec {
	pods, _, _ := n.index.Find(nil, index.Query{Terms: []query.Term{term}})
	// Annotations count only if the status of no Pod has the fact.
	if alias := slices.IndexFunc(pods, term.IsAlias); alias > 0 {
		pods = pods[:alias]
	}
	return pods
}

func (n *names) set(labels map[key]label, k key, h holder) {
	if h == (holder{}) {
		delete(labels, k)
	} else {
		labels[k] = n.newLabel(h)
	}
}

func (n *names) newLabel(h holder) label {
	l := label(h.text())
	if n.json {
		l += label(h.json())
	}
	if l != n.last {
		n.last = l
	}
	return n.last
}

// holder is a Pod that has a fact, or the Service or the node that has an IP. Its names
// are clean.
type holder struct {
	Pod       string `json:"pod,omitempty"`
	Service   string `json:"service,omitempty"`
	Container string `json:"container,omitempty"`
	Node      string `json:"node,omitempty"` // which shares its IP with Pods
	Others    int    `json:"others,omitempty"`
	Completed bool   `json:"completed,omitempty"`
	Uncertain bool   `json:"uncertain,omitempty"` // the Pod perhaps had the fact then
}

// holderOf returns the first of pods, which are in the order of query.Compare.
func holderOf(pods []*v1.TestcrSpec) holder {
	if len(pods) == 0 {
		return holder{}
	}
	return holder{Pod: clean(pods[0].PodKey, longestPod), Others: len(pods) - 1}
}

// holderOfIP does not count completed Pods if there are others, because their IP may have
// been assigned again.
func holderOfIP(pods []*v1.TestcrSpec) holder {
	isCompleted := func(s *v1.TestcrSpec) bool { return query.Rank(s) == rankCompleted }
	completed := slices.IndexFunc(pods, isCompleted)
	if completed > 0 {
		pods = pods[:completed]
	}
	h := holderOf(pods)
	h.Completed = completed == 0
	if len(pods) > 0 && pods[0].HostNetwork {
		h.Node = clean(pods[0].NodeName, longestName)
	}
	return h
}

// holderOfAddress returns the Service, else the node, that has an IP.
func holderOfAddress(f addresses.Finding) holder {
	switch {
	case len(f.Services) > 0:
		s := &f.Services[0]
		return holder{Service: clean(s.Namespace+"/"+s.Name, longestPod), Others: len(f.Services) + f.MoreServices - 1}
	case len(f.Nodes) > 0:
		return holder{Node: clean(f.Nodes[0].Name, longestName), Others: len(f.Nodes) + f.MoreNodes - 1}
	}
	return holder{}
}

// The lengths of names in bytes that Kubernetes admits. labelLength finds no longer
// labels.
const (
	longestName      = 253
	longestPod       = 63 + len("/") + longestName
	longestContainer = 63
)

// clean returns name with "?" for all characters that names in Kubernetes do not have, so
// that a label ends at its bracket and can be in JSON.
func clean(name string, longest int) string {
	name = strings.Map(func(r rune) rune {
		if r < rune(len(inLabel)) && r < 0x80 && inLabel[r] && r != ' ' && r != '+' {
			return r
		}
		return '?'
	}, name)
	return name[:min(len(name), longest)]
}

func (h holder) text() string {
	var text strings.Builder
	text.WriteByte('[')
	switch {
	case h.Service != "":
		text.WriteString("service/" + h.Service)
	case h.Node != "" && h.Pod == "":
		text.WriteString("node/" + h.Node)
	case h.Node != "":
		text.WriteString("node/" + h.Node + " ")
	}
	text.WriteString(h.Pod)
	if h.Container != "" {
		text.WriteString(" " + h.Container)
	}
	if h.Others > 0 {
		fmt.Fprintf(&text, " +%d", h.Others)
	}
	if h.Completed {
		text.WriteString(" completed")
	}
	if h.Uncertain {
		text.WriteString(" ?")
	}
	text.WriteByte(']')
	return text.String()
}

func (h holder) json() string {
	text, err := json.Marshal(h)
	if err != nil { // impossible: there are only strings and numbers
		panic(err)
	}
	return string(text[1:])
}
