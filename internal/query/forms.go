package query

import (
	"net/netip"
	"strings"
)

// addForms adds the facts of a word that only certain writers make: URLs, paths, names
// of logs and of Docker's containers, DNS names. It does not add plain names.
func (f *facts) addForms(word string) {
	scheme, rest, isURL := strings.Cut(word, "://")
	if isURL {
		word = rest
	}
	segments := strings.Split(word, "/")
	for i, segment := range segments {
		f.addSegment(segment)
		f.addResource(segments[i:])
	}
	if isURL && scheme != "" {
		f.addHost(segments[0])
	}
}

// addSegment adds the facts of a word without slashes.
func (f *facts) addSegment(s string) {
	s = strings.Trim(s, ".:")
	f.addAddrs(s)
	f.addScope(s)
	if strings.Contains(s, "_") {
		f.addJoined(s, false)
	}
	if host, _, _ := strings.Cut(s, ":"); strings.Contains(host, ".") {
		f.addDomain(strings.ToLower(host))
	}
}

// scopes are before container IDs in the units of systemd.
var scopes = []string{"cri-containerd-", "crio-conmon-", "crio-", "docker-", "libpod-"}

// addScope adds the container of a scope whose ID is cut. Others are found by length.
func (f *facts) addScope(s string) {
	for _, scope := range scopes {
		if id, ok := strings.CutPrefix(s, scope); ok {
			for _, t := range containers(strings.ToLower(strings.TrimSuffix(id, ".scope"))) {
				rank := ofContainer
				if t.Partial {
					rank = ofRange
				}
				f.add(rank, t)
			}
			return
		}
	}
}

// addAddrs adds the address in s, which may have words or a port beside it:
// src:10.0.0.7, 10.0.0.7:http.
func (f *facts) addAddrs(s string) {
	if strings.Count(s, ".") < 3 && strings.Count(s, ":") < 2 {
		return
	}
	if addr, ok := parseAddr(s); ok {
		f.addSeen(addr)
		return
	}
	parts := strings.Split(s, ":")
	for i, part := range parts {
		if strings.Count(part, ".") != 3 || strings.Trim(part, "0123456789.") != "" {
			continue
		}
		if i+1 < len(parts) && isHex(parts[i+1]) && !isPort(parts[i+1]) {
			continue
		}
		if addr, ok := parseAddr(part); ok {
			f.addSeen(addr)
		}
	}
}

// addSeen adds an address inside a text. Addresses that no Pod can have are frequent
// there.
func (f *facts) addSeen(addr netip.Addr) {
	if !addr.IsLoopback() && !addr.IsUnspecified() && !addr.IsMulticast() && addr != netip.AddrFrom4([4]byte{255, 255, 255, 255}) {
		f.addAddr(addr)
	}
}

func isPort(s string) bool {
	port := 0
	for _, c := range s {
		if c < '0' || c > '9' || port > 65535 {
			return false
		}
		port = port*10 + int(c-'0')
	}
	return s != "" && port <= 65535
}

// addResource adds the Pod or node of a path of the API server, of its keys in etcd, or
// of the kubelet, which begins with the segment of a collection.
func (f *facts) addResource(path []string) {
	if len(path) < 2 {
		return
	}
	switch path[0] {
	case "namespaces":
		if len(path) >= 4 && path[2] == "pods" {
			f.addPod(ofPod, path[1], path[3])
		}
	case "registry":
		if len(path) >= 4 && path[1] == "pods" {
			f.addPod(ofPod, path[2], path[3])
		}
	case "containerLogs", "exec", "attach", "portForward":
		if len(path) >= 3 {
			f.addPod(ofPod, path[1], path[2])
		}
	case "nodes":
		if isName(path[1]) {
			f.add(ofOwner, Term{Kind: Node, Text: path[1]})
		}
	}
}

// addJoined adds the Pod of words that are joined by "_":
//
//	NS_NAME_UID             the kubelet's folder of logs
//	NAME_NS(UID)            the kubelet's log
//	NAME_NS_CONTAINER-ID    the kubelet's links to logs
//	NAME_NS_UID_N           a sandbox of containerd
//	C_NAME_NS_UID_N         a container of containerd, with k8s_ before it of Docker and CRI-O
//
// isCall reports that an opening parenthesis follows.
func (f *facts) addJoined(s string, isCall bool) {
	const most = 7
	parts := strings.SplitN(s, "_", most)
	for i, part := range parts {
		if i < 2 || !isUID(part) {
			continue
		}
		if i+1 < len(parts) {
			f.addPod(ofPod, parts[i-1], parts[i-2])
		} else {
			// Agents that collect logs write a path with dots.
			f.addPod(ofPod, afterLast(parts[i-2], "pods."), parts[i-1])
		}
		return
	}
	switch len(parts) {
	case 3:
		part := strings.TrimSuffix(parts[2], ".log")
		if dash := strings.LastIndexByte(part, '-'); len(part)-dash == 65 && isHex(strings.ToLower(part[dash+1:])) {
			f.addPod(ofPod, parts[1], afterLast(parts[0], "containers."))
		}
	case 2:
		if isCall || strings.Contains(parts[0], "-") {
			f.addPod(ofPod, parts[1], parts[0])
		} else if strings.Contains(parts[1], "-") {
			f.addPod(ofKey, parts[0], parts[1])
		}
	}
}

func isUID(s string) bool {
	s = strings.ToLower(s)
	return len(s) == 32 && isHex(s) || len(s) == 36 && uuidForm.MatchString(s)
}

func afterLast(s, separator string) string {
	if at := strings.LastIndex(s, separator); at >= 0 {
		return s[at+len(separator):]
	}
	return s
}

// addDomain adds the facts of a DNS name: a reverse name, the record of a Pod's IP or
// of a Pod of a StatefulSet, in any cluster domain.
func (f *facts) addDomain(name string) {
	name = strings.TrimSuffix(name, ".")
	if len(name) > maxName {
		return
	}
	labels := strings.Split(name, ".")
	if addr, ok := reversed(labels); ok {
		f.addAddr(addr)
		return
	}
	for i := 2; i < len(labels); i++ {
		var host string
		switch {
		case labels[i] == "pod":
			host = labels[i-2]
		case labels[i] == "svc" && i > 2:
			host = labels[i-3]
		case labels[i] == "svc" && isLabel(labels[0]) && isLabel(labels[1]):
			f.add(ofKey, Term{Kind: Workload, OwnerKind: "service", Text: labels[1] + "/" + labels[0]})
			return
		default:
			continue
		}
		if addr, ok := dashedAddr(host); ok && isLabel(labels[i-1]) {
			f.addAddr(addr)
		} else if labels[i] == "svc" {
			f.addPod(ofPod, labels[i-1], host)
		}
		return
	}
}

// nodeAddr returns the address that is the name of a node: ip-10-0-0-7.ec2.internal.
func nodeAddr(name string) (Term, bool) {
	label, _, _ := strings.Cut(name, ".")
	host, ok := strings.CutPrefix(label, "ip-")
	if !ok {
		return Term{}, false
	}
	addr, ok := dashedAddr(host)
	return ip(HostIP, addr), ok
}

// reversed returns the address of a name under in-addr.arpa or ip6.arpa.
func reversed(labels []string) (netip.Addr, bool) {
	n := len(labels) - 2
	if n < 4 || labels[n+1] != "arpa" {
		return netip.Addr{}, false
	}
	var text strings.Builder
	separator := "."
	if labels[n] == "ip6" {
		separator = ":"
	}
	switch {
	case labels[n] == "in-addr" && n == 4, labels[n] == "ip6" && n == 32:
	default:
		return netip.Addr{}, false
	}
	for i := n - 1; i >= 0; i-- {
		text.WriteString(labels[i])
		if i > 0 && (n == 4 || i%4 == 0) {
			text.WriteString(separator)
		}
	}
	addr, err := netip.ParseAddr(text.String())
	return Canonical(addr), err == nil
}

// dashedAddr returns the address in a label of a DNS name, with "-" for "." or ":".
func dashedAddr(label string) (netip.Addr, bool) {
	separator := ":"
	if strings.Count(label, "-") == 3 && !strings.Contains(label, "--") {
		separator = "."
	}
	if !strings.Contains(label, "-") {
		return netip.Addr{}, false
	}
	addr, err := netip.ParseAddr(strings.ReplaceAll(label, "-", separator))
	return Canonical(addr), err == nil
}

// addHost adds the Pod that the host of a URL may be: NAME, or the name of a Pod of a
// StatefulSet and its Service.
func (f *facts) addHost(s string) {
	host, _, _ := strings.Cut(s, ":")
	name, rest, _ := strings.Cut(strings.ToLower(host), ".")
	if isName(name) && !isHex(name) && (rest == "" || isOrdinal(name) && isLabel(rest)) {
		f.add(ofName, Term{Kind: Name, Text: name})
	}
}

// isOrdinal reports whether s ends as the Pods of a StatefulSet do: web-0.
func isOrdinal(s string) bool {
	at := strings.LastIndexByte(s, '-')
	return at > 0 && isPort(s[at+1:])
}
