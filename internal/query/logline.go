package query

import (
	"slices"
	"strconv"
	"strings"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
)

// labelKinds contains what follows a word and "=" or ":" in logs, metrics, JSON and
// environments. See normalize for the spelling.
var labelKinds = map[string]Kind{
	"pod": Name, "pods": Name, "podname": Name, "name": Name, "workload": Workload,
	"namespace": Namespace, "ns": Namespace, "podnamespace": Namespace, "namespacename": Namespace,
	"node": Node, "nodename": Node, "host": Node, "hostname": Node,
	"uid": UID, "poduid": UID, "podid": UID,
	"container": Container, "containerid": Container, "cid": Container, "id": Container, "sandboxid": Container, "podsandboxid": Container,
}

// labelPrefixes are put before the same labels by agents and proxies.
var labelPrefixes = []string{
	"iokubernetes", "kubernetes", "k8s", "exported", "source", "destination", "src", "dst", "involvedobject", "regarding", "objectref", "metadata",
}

// normalize returns a label in lower case, without separators and prefixes:
// k8s.pod.name, kubernetes_pod_name and POD_NAME are podname.
func normalize(label string) string {
	const longest = 40
	if len(label) > longest {
		return ""
	}
	label = afterLast(label, "/") // of Kubernetes
	label = strings.Map(func(r rune) rune {
		if r == '_' || r == '-' || r == '.' {
			return -1
		}
		return r
	}, strings.ToLower(label))
	for _, prefix := range labelPrefixes {
		if rest, ok := strings.CutPrefix(label, prefix); ok && rest != "" {
			label = rest
		}
	}
	return label
}

// word is a word of a text.
type word struct {
	text        string // without punctuation at its ends
	label       string // what it is the value of, normalized
	prev, prev2 string // the words before, if only spaces, quotes and brackets are between
	isQuoted    bool
	next        byte // behind the word, 0 at the end
}

// words splits s.
func words(s string) (all []word) {
	var last word
	lastEnd := 0
	pending, isFlagged := "", false // the label of the next word, and whether it is a flag
	end := 0
	for end < len(s) {
		start := end
		for start < len(s) && isSeparator(s[start]) {
			start++
		}
		for end = start; end < len(s) && !isSeparator(s[end]); {
			end++
		}
		raw := s[start:end]
		w := word{text: strings.Trim(raw, punctuation), label: pending}
		if w.text == "" {
			continue // as the colon between the strings of JSON
		}
		label := ""
		if isLabelOf(raw, s[end:min(len(s), end+4)]) {
			label = normalize(strings.TrimLeft(w.text, "-"))
		}
		if isFlag(raw) {
			if pending = label; raw == "-n" {
				pending = "namespace"
			}
			isFlagged = pending != ""
			continue
		}
		between := s[lastEnd:start]
		if pending == "" && label == "" && !strings.ContainsAny(between, " \t\n=;&(") {
			w.label = last.label // another item of a list
		}
		if !strings.ContainsAny(between, "\n:=,;|<>") {
			w.prev, w.prev2 = last.text, last.prev
		}
		w.isQuoted = start > 0 && strings.IndexByte("\"'`", s[start-1]) >= 0
		if end < len(s) {
			w.next = s[end]
		}
		if name, value, ok := strings.Cut(w.text, ":"); ok && labelKinds[normalize(name)] != "" {
			w.label, w.text = normalize(name), value // ip:10.0.0.7, pod:cart-5d9f
		}
		all = append(all, w)
		if !isFlagged { // kubectl logs -n shop cart-5d9f: logs is before the name
			last = w
		}
		lastEnd, pending, isFlagged = end, label, false
	}
	return all
}

// punctuation is at the ends of words.
const punctuation = ".:-/*+~^%"

func isFlag(s string) bool { return len(s) > 1 && s[0] == '-' && (s[1] == '-' || isLetter(rune(s[1]))) }

// isLabelOf reports whether raw is the label of what follows: label=, "label":, label:
// or the flag of kubectl.
func isLabelOf(raw, rest string) bool {
	rest = strings.TrimLeft(rest, "\"'")
	return raw == "--namespace" || strings.HasSuffix(raw, ":") || rest != "" && (rest[0] == '=' || rest[0] == ':')
}

func isSeparator(c byte) bool { return separates[c] }

var separates = func() (is [256]bool) {
	for c := range is {
		is[c] = c <= ' ' || c == 0x7f || strings.IndexByte(separators, byte(c)) >= 0
	}
	return is
}()

// isWord reports whether s is one word of ASCII.
func isWord(s string) bool {
	for i := range len(s) {
		if s[i] > '~' || isSeparator(s[i]) {
			return false
		}
	}
	return true
}

// extract returns the facts inside a text of several words.
func extract(s string) []Term {
	s = unescape(s)
	l := logLine{words: words(s), isCommand: strings.HasPrefix(s, "kubectl ") || strings.HasPrefix(s, "oc ") || strings.Contains(s, " -n ")}
	l.scanIDs(s)
	l.readContext()
	for i := range l.words {
		l.addWord(&l.words[i])
	}
	return l.terms()
}

// logLine is a text of several words.
type logLine struct {
	facts
	words      []word
	isCommand  bool // of kubectl
	namespaces []string
	kind       string // of the object that a label "name" is of
}

// readContext reads what other words need.
func (l *logLine) readContext() {
	const most = 4
	for i := range l.words {
		w := &l.words[i]
		isNamespace := labelKinds[w.label] == Namespace || w.label == "" && (w.prev == "namespace" || w.prev == "ns")
		switch {
		case isNamespace && len(l.namespaces) < most && isLabel(w.text) && !slices.Contains(l.namespaces, w.text):
			l.namespaces = append(l.namespaces, w.text)
		case l.kind == "" && (w.label == "kind" || w.label == "resource") && isBuiltin(w.text):
			l.kind = w.text
		}
	}
}

func (l *logLine) addWord(w *word) {
	text := w.text
	if prefix, ok := network(text); ok {
		l.add(ofRange, inRange(prefix)...)
		return
	}
	if w.next == '@' && strings.Contains(text, "://") {
		return // the user in a URL
	}
	var known facts
	known.scanIDs(text)
	known.addForms(text)
	if w.next == '(' && strings.Contains(text, "_") {
		known.addJoined(text, true)
	}
	known.addDumped(text)
	for rank, terms := range known {
		l.add(rank, terms...)
	}
	if len(known[ofContainer])+len(known[ofUID])+len(known[ofPod])+len(known[ofIP]) > 0 {
		return
	}
	l.addLabeled(w.label, text)
	l.addTyped(w)
	l.addHash(text)
	if t, ok := nodeAddr(strings.ToLower(text)); ok {
		l.add(ofHostIP, t)
	}
	switch before, after, isSlashed := strings.Cut(text, "/"); {
	case isSlashed:
		l.addSlashed(before, after)
	case hasForm(text) && labelKinds[w.label] == "" && !isBuiltin(strings.TrimSuffix(w.label, "name")):
		l.addPodName(ofName, text)
	}
}

// addDumped adds an address of tcpdump, which has its port behind a dot: 10.0.0.7.8080.
func (f *facts) addDumped(s string) {
	at := strings.LastIndexByte(s, '.')
	if at < 0 || !isPort(s[at+1:]) || strings.Count(s, ".") != 4 && strings.Count(s, ":") < 2 {
		return
	}
	if addr, ok := parseAddr(s[:at]); ok {
		f.addSeen(addr)
	}
}

// addLabeled adds the value of a label.
func (l *logLine) addLabeled(label, value string) {
	if label == "name" { // of anything
		switch {
		case l.kind != "":
			label = strings.ToLower(l.kind)
		case len(l.namespaces) > 0:
			label = "pod"
		default:
			return
		}
	}
	kind := labelKinds[label]
	if kindOf := strings.TrimSuffix(label, "name"); kind == "" && isBuiltin(kindOf) { // job-name
		label = kindOf
	}
	switch {
	case kind == Name:
		l.addPodNamed(value)
	case kind == Node && strings.HasPrefix(label, "host"): // a Pod calls itself its host, too
		l.add(ofName, named(value, Name)...)
		l.add(ofOwner, named(value, Node)...)
	case kind == Node:
		l.add(ofOwner, named(value, Node)...)
	case kind == Workload:
		l.add(ofOwner, named(value, Workload)...)
	case kind == UID, kind == Container:
		l.addID(kind, strings.ToLower(value))
	case isBuiltin(label) && isName(value):
		l.add(ofOwner, typed(label, value)...)
	}
}

// addID adds an ID of less than its full length, or in an uncommon form.
func (l *logLine) addID(kind Kind, id string) {
	if strings.Trim(id, "0123456789") == "" {
		return // a number
	}
	switch {
	case kind == Container && len(id) >= v1.ContainerIDPrefix && len(id) <= 64:
		l.add(ofContainer, containers(id)...)
	case kind == UID && isHex(id) && len(id) == 32:
		l.add(ofUID, Term{Kind: UID, Text: dashed(id)})
	case kind == Container:
		l.add(ofRange, containers(id)...)
	default:
		if uid, ok := uidPrefix(id); ok {
			l.add(ofRange, Term{Kind: UID, Text: uid + "*", Partial: true})
		}
	}
}

// addHash adds a word of hexadecimal digits that may be an ID. Times are digits alone.
func (l *logLine) addHash(s string) {
	s = strings.ToLower(s)
	if len(s) < v1.ContainerIDPrefix || len(s) > 63 || !isHex(s) || strings.Trim(s, "0123456789") == "" {
		return
	}
	if len(s) == 32 {
		uid := Term{Kind: UID, Text: dashed(s)}
		if slices.Contains(l.facts[ofUID], uid) {
			return
		}
		l.add(ofHash, uid)
	}
	l.add(ofHash, Term{Kind: Container, Text: s})
}

// addTyped adds a word behind the name of a type (pod "cart-5d9f"), and the first words
// of a line of kubectl get pods.
func (l *logLine) addTyped(w *word) {
	isClear := w.isQuoted || hasForm(w.text) || l.isCommand
	switch {
	case labelKinds[w.label] == Namespace:
	case l.isCommand && (w.prev == "logs" || w.prev == "exec" || w.prev == "attach"):
		l.addPodNamed(w.text)
	case isPodType(w.prev) && (isClear || strings.ContainsAny(w.text, "/_")):
		l.addPodNamed(w.text)
	case isClear && isBuiltin(w.prev) && isName(w.text):
		l.add(ofOwner, typed(w.prev, w.text)...)
	}
	if ready, of, ok := strings.Cut(w.text, "/"); ok && isPort(ready) && isPort(of) && isName(w.prev) {
		l.addPod(ofPod, w.prev2, w.prev)
		l.addPodName(ofName, w.prev)
	}
}

// addSlashed adds the readings of A/B in a text, where most words with a slash are
// neither TYPE/NAME nor NAMESPACE/NAME. A container may follow.
func (l *logLine) addSlashed(before, after string) {
	name, container, isContainer := strings.Cut(after, "/")
	if !isContainer {
		name, _, _ = strings.Cut(name, ":")
	}
	switch {
	case !isName(name) || strings.Contains(container, "/"):
	case isPodType(before):
		if isContainer && hasForm(container) { // pods/NS/NAME
			l.addPod(ofPod, name, container)
		}
		l.addPodName(ofPod, name)
	case isContainer && !hasForm(name):
	case isBuiltin(before):
		l.add(ofOwner, typed(before, name)...)
	case hasForm(name):
		l.addPod(ofKey, before, name)
	}
}

// addPodNamed adds what a text calls a Pod: NS/NAME, NAME_NS or NAME.
func (l *logLine) addPodNamed(s string) {
	if namespace, name, ok := strings.Cut(s, "/"); ok {
		l.addPod(ofPod, namespace, name)
		return
	}
	if strings.Contains(s, "_") {
		l.addJoined(s, true)
		return
	}
	l.addPodName(ofPod, s)
}

// addPodName adds a name in the namespaces of the text, then in any.
func (l *logLine) addPodName(rank int, name string) {
	if !isName(name) {
		return
	}
	for _, namespace := range l.namespaces {
		l.addPod(ofPod, namespace, name)
	}
	l.add(rank, Term{Kind: Name, Text: name})
}

// unescape decodes what writers put into text: escapes of JSON, Go and systemd, and the
// colors of terminals.
func unescape(s string) string {
	if strings.ContainsAny(s, "\u00a0\u2018\u2019\u201c\u201d") {
		s = typographic.Replace(s)
	}
	if strings.IndexByte(s, '\\') < 0 && strings.IndexByte(s, 0x1b) < 0 {
		return s
	}
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); {
		switch s[i] {
		case 0x1b:
			out = append(out, ' ')
			i++
			if i < len(s) && s[i] == '[' {
				for i++; i < len(s) && (s[i] == ';' || '0' <= s[i] && s[i] <= '9'); {
					i++
				}
				i++ // the letter
			}
		case '\\':
			for i < len(s) && s[i] == '\\' { // escaped more than once
				i++
			}
			c, n := unescapeOne(s[min(i, len(s)):])
			out = append(out, c)
			i += n
		default:
			out = append(out, s[i])
			i++
		}
	}
	return string(out)
}

var typographic = strings.NewReplacer("\u00a0", " ", "\u2018", "'", "\u2019", "'", "\u201c", `"`, "\u201d", `"`)

// unescapeOne returns the character that s, behind a backslash, stands for, and the
// length of its escape. One that is not ASCII is a space.
func unescapeOne(s string) (byte, int) {
	if s == "" {
		return ' ', 0
	}
	digits := map[byte]int{'x': 2, 'u': 4}[s[0]]
	if digits == 0 || len(s) <= digits {
		if strings.IndexByte("nrt", s[0]) >= 0 {
			return ' ', 1
		}
		return s[0], 1
	}
	code, err := strconv.ParseUint(s[1:1+digits], 16, 32)
	if err != nil || code < ' ' || code > '~' {
		return ' ', 1
	}
	return byte(code), 1 + digits
}
