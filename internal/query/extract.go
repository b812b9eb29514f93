package query

import (
	"net/netip"
	"slices"
	"strings"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
)

const (
	// maxPaste bounds a pasted text in bytes: a long line of a log.
	maxPaste = 16 << 10
	// maxTerms bounds what Parse returns, since each term is a request or a search.
	maxTerms = 32
	// maxScans bounds the terms that are not exact, each of which needs a scan.
	maxScans = 8
	// separators are between the words of a text.
	separators = " \t\n\r\v\f\"'`,;()[]{}<>|=\\&?#$!@"
)

// The ranks of facts in a text, the most likely to identify the intended Pod first.
const (
	ofContainer = iota
	ofUID
	ofPod // a Pod that the text calls so
	ofIP
	ofKey
	ofName
	ofOwner // a workload or a node
	ofHash  // a number that may be an ID
	ofHostIP
	ofRange
	ranks
)

// facts collects terms by rank.
type facts [ranks][]Term

func (f *facts) add(rank int, terms ...Term) {
	for _, t := range terms {
		if len(f[rank]) < maxTerms && !slices.Contains(f[rank], t) {
			f[rank] = append(f[rank], t)
		}
	}
}

// terms returns all terms in the order of their ranks, each once, or nil.
func (f *facts) terms() []Term {
	var all []Term
	for _, terms := range f {
		all = join(all, terms)
	}
	return all
}

// join appends to terms those of more that it does not contain, up to maxTerms.
func join(terms, more []Term) []Term {
	for _, t := range more {
		if len(terms) == maxTerms {
			break
		}
		if !slices.Contains(terms, t) {
			terms = append(terms, t)
		}
	}
	return terms
}

func (f *facts) addAddr(addr netip.Addr) {
	f.add(ofIP, ip(IP, addr))
	f.add(ofHostIP, ip(HostIP, addr))
}

// addPod adds a Pod by its namespace and name, if these can be such.
func (f *facts) addPod(rank int, namespace, name string) {
	if isLabel(namespace) && isName(name) {
		f.add(rank, Term{Kind: Key, Text: namespace + "/" + name})
	}
}

// readings returns the readings of s as one fact, or nil.
func readings(s string) []Term {
	if addr, ok := parseAddr(s); ok {
		// Names of Pods and nodes may look like an IPv4 address.
		return append([]Term{ip(IP, addr), ip(HostIP, addr)}, named(s, Node, Name)...)
	}
	if prefix, ok := network(s); ok {
		return inRange(prefix)
	}
	if !isWord(s) {
		return nil
	}
	lower := strings.ToLower(s)
	if uuidForm.MatchString(lower) {
		return append([]Term{{Kind: UID, Text: lower}}, named(s, Name, Node)...)
	}
	if runtime, id, ok := strings.Cut(lower, "://"); ok && runtime != "" && isHex(id) && len(id) <= 64 {
		return containers(id)
	}
	var f facts
	f.scanIDs(s)
	f.addForms(s)
	terms := f.terms()
	isWhole := terms != nil // not a part of another fact
	if isHex(lower) && len(lower) >= v1.ContainerIDPrefix && len(lower) <= 64 {
		terms = join(terms, containers(lower))
		if len(lower) == 32 {
			terms = join(terms, []Term{{Kind: UID, Text: dashed(lower)}})
			isWhole = true
		}
	}
	terms = join(terms, names(s))
	if len(terms) == 0 && lower != s {
		terms = names(lower)
	}
	terms = join(terms, insideName(lower))
	if isWhole {
		return terms
	}
	return join(terms, partial(s))
}

// insideName returns the readings of a name as one that is made from a fact.
func insideName(s string) []Term {
	if t, ok := nodeAddr(s); ok {
		return []Term{t}
	}
	if addr, ok := dashedAddr(s); ok && addr.Is4() { // a host name of a Pod's record
		return []Term{ip(IP, addr)}
	}
	if host, port, ok := strings.Cut(s, ":"); ok && isPort(port) && isName(host) {
		return join(names(host), insideName(host))
	}
	if first, second, ok := strings.Cut(s, "_"); ok && isLabel(first) && isLabel(second) && strings.ContainsFunc(second, isLetter) && !isHex(first) { // of the kubelet, of its logs
		return []Term{{Kind: Key, Text: second + "/" + first}, {Kind: Key, Text: first + "/" + second}}
	}
	if !isName(s) {
		return nil
	}
	switch labels := strings.Split(s, "."); {
	case len(labels) == 2 && isOrdinal(labels[0]), len(labels) == 2 && len(labels[1]) == 16 && isHex(labels[1]): // WEB-0.SERVICE, an Event
		return []Term{{Kind: Name, Text: labels[0]}}
	case len(labels) == 3 && isOrdinal(labels[0]) && !slices.Contains(topDomains, labels[2]): // WEB-0.SERVICE.NS
		return []Term{{Kind: Key, Text: labels[2] + "/" + labels[0]}}
	}
	return nil
}

// topDomains end the names of nodes, and are no namespaces.
var topDomains = []string{"com", "net", "org", "io", "dev", "local", "internal", "lan", "localdomain", "pod", "svc"}

// names returns the readings of s as names in the spelling of Kubernetes.
func names(s string) []Term {
	if before, after, ok := strings.Cut(s, "/"); ok {
		return slashed(before, after)
	}
	return named(s, Name, Node, Workload)
}

// readWrapped returns the readings of one fact in quotes, or of TYPE NAME.
func readWrapped(s string) []Term {
	if inner := strings.Trim(s, "\"'`,;(){}<>"); inner != s {
		if terms := readings(inner); terms != nil {
			return terms
		}
	}
	if fields := strings.Fields(s); len(fields) == 2 && isBuiltin(fields[0]) {
		return typedWords(fields[0], unquote(fields[1]))
	}
	return nil
}

// Split returns the items of a list of facts: words between commas, semicolons or line
// feeds, or words between spaces that have the form of a fact. It returns nil if s is
// no list or an item is no fact.
func Split(s string) []string {
	byLine := strings.ContainsAny(s, ",;\n")
	var items []string
	for item := range strings.FieldsFuncSeq(s, func(r rune) bool { return strings.ContainsRune(",;\n", r) || !byLine && r <= ' ' }) {
		if item = unquote(strings.TrimSpace(item)); item == "" {
			continue
		}
		found := readings(item)
		if found == nil {
			return nil
		}
		isName := found[0].Kind == Name || found[0].Kind == Key
		if !byLine && isName && !hasForm(afterLast(item, "/")) {
			return nil
		}
		items = append(items, item)
	}
	if len(items) < 2 || len(s) > maxPaste {
		return nil
	}
	return items
}

// Typed returns the readings of TYPE NAME, or nil if the first word is no type that
// kubectl has a name for, or the second no name.
func Typed(kind, name string) []Term {
	if !isBuiltin(kind) {
		return nil
	}
	return typedWords(kind, unquote(name))
}

// typedWords returns the readings of TYPE NAME as two words.
func typedWords(kind, name string) []Term {
	if namespace, name, ok := strings.Cut(name, "/"); ok && isPodType(kind) && isLabel(namespace) && isName(name) {
		return []Term{{Kind: Key, Text: namespace + "/" + name}}
	}
	var terms []Term
	if isName(name) {
		terms = typed(kind, name)
	}
	return append(terms, partial(kind+"/"+name)...)
}

func unquote(s string) string { return strings.Trim(s, "\"'`") }

// hasForm reports whether s has the form of a name that a controller gave to a Pod.
// Words of a sentence do not have it.
func hasForm(s string) bool {
	at := strings.LastIndexByte(s, '-')
	if at <= 0 || !strings.ContainsFunc(s[:at], isLetter) || !isName(s) {
		return false
	}
	return strings.ContainsAny(s, "0123456789") || len(s)-at == 6 && strings.Trim(s[at+1:], "bcdfghjklmnpqrstvwxz2456789") == ""
}

func isLetter(r rune) bool { return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' }

// scanIDs finds all UIDs and container IDs of full length, whatever is around them:
// cgroups, paths, units of systemd, names of logs.
func (f *facts) scanIDs(s string) {
	path := 0 // how many container IDs were found before this path
	for i := 0; i < len(s); {
		c := s[i] | 0x20
		if !isAlphanumeric(c) {
			if !strings.ContainsRune("/:._-", rune(s[i])) {
				path = len(f[ofContainer])
			}
			i++
			continue
		}
		end := i + 1
		for end < len(s) && isAlphanumeric(s[end]) {
			end++
		}
		i = f.scanID(s, i, end, path)
	}
}

// scanID reads s[start:end], a longest run of letters and digits, and returns where to
// continue.
func (f *facts) scanID(s string, start, end, path int) int {
	if end-start > 64 || end-start < 8 {
		return end
	}
	isOfPod := false // the kubelet calls a cgroup pod<UID>
	if n := end - start; (n == 11 || n == 35) && strings.EqualFold(s[start:start+3], "pod") {
		start, isOfPod = start+3, true
	}
	run := strings.ToLower(s[start:end])
	if !isHex(run) {
		return end
	}
	before := s[:start]
	switch len(run) {
	case 64:
		if strings.HasSuffix(before, "sha256:") { // of an image
			return end
		}
		// In a path of nested containers, as those of kind, the last one is the Pod's.
		if t := (Term{Kind: Container, Text: run}); len(f[ofContainer]) < maxTerms && !slices.Contains(f[ofContainer], t) {
			f[ofContainer] = slices.Insert(f[ofContainer], min(path, len(f[ofContainer])), t)
		}
	case 8:
		const length = 36
		if len(s) < start+length || len(s) > start+length && isAlphanumeric(s[start+length]) {
			return end
		}
		uid := strings.ToLower(s[start : start+length])
		if s[start+8] == '_' { // systemd's cgroups
			uid = strings.ReplaceAll(uid, "_", "-")
		}
		if !uuidForm.MatchString(uid) {
			return end
		}
		if !strings.HasSuffix(before, "pvc-") && !strings.HasSuffix(before, "cni-") { // of a volume, of a network namespace
			f.add(ofUID, Term{Kind: UID, Text: uid})
		}
		return start + length
	case 32: // the hash of a static Pod stands where the UID of another one does
		if isOfPod || strings.HasSuffix(before, "_") || strings.HasSuffix(before, "/pods/") || strings.HasSuffix(before, "-pods-") ||
			strings.HasSuffix(before, "(") && strings.HasPrefix(s[end:], ")") {
			f.add(ofUID, Term{Kind: UID, Text: dashed(run)})
		}
	}
	return end
}
