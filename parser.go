package podinfolookup

import (
	"bytes"
	"time"
	"unicode/utf8"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// parseTestcr decodes a Testcr from valid JSON as decodeTestcr does, without the
// maps, at a fraction of the time. It returns false for anything that the API
// server does not write for a Testcr of ours, which then takes the long way.
func parseTestcr(data []byte, strings *interner) (*Testcr, bool) {
	p := parser{data: data, strings: strings}
	t := &Testcr{}
	var metadata, spec int
	p.object(func(key []byte) {
		switch string(key) {
		case "apiVersion":
			t.APIVersion = p.constant(testcrAPIVersion)
		case "kind":
			t.Kind = p.constant(GroupVersionKind.Kind)
		case "metadata":
			metadata++
			p.metadata(t)
		case "spec":
			spec++
			p.spec(&t.Spec)
		default:
			p.skip()
		}
	})
	t.malformed = spec == 0
	p.space()
	return t, !p.failed && p.at == len(p.data) && t.Kind != "" && t.APIVersion != "" && metadata == 1 && spec <= 1
}

var testcrAPIVersion = GroupVersionKind.GroupVersion().String()

func (p *parser) metadata(t *Testcr) {
	p.object(func(key []byte) {
		switch string(key) {
		case "name":
			t.Name = p.text()
		case "uid":
			t.UID = types.UID(p.text())
		case "resourceVersion":
			t.ResourceVersion = p.text()
		case "creationTimestamp":
			t.CreationTimestamp = metav1.NewTime(p.time().Local())
		case "deletionTimestamp":
			at := metav1.NewTime(p.time().Local())
			t.DeletionTimestamp = &at
		case "labels":
			t.Labels = p.labels()
		case "annotations":
			t.Annotations = p.labels()
		case "finalizers":
			t.Finalizers = p.texts()
		case "managedFields":
			t.tracked = p.managedForUsAlone()
		case "ownerReferences", "namespace":
			p.failed = true
		default:
			p.skip()
		}
	})
}

func (p *parser) spec(s *TestcrSpec) {
	p.object(func(key []byte) {
		switch string(key) {
		case "podkey":
			s.PodKey = p.text()
		case "podname":
			s.PodName = p.text()
		case "poduid":
			s.PodUID = p.text()
		case "namespace":
			s.Namespace = p.common()
		case "podip":
			s.PodIP = p.text()
		case "podips":
			s.PodIPs = p.texts()
		case "hostip":
			s.HostIP = p.common()
		case "nodename":
			s.NodeName = p.common()
		case "phase":
			s.Phase = p.common()
		case "hostnetwork":
			s.HostNetwork = p.bool()
		case "ready":
			s.Ready = p.bool()
		case "terminating":
			s.Terminating = p.bool()
		case "truncated":
			s.Truncated = p.bool()
		case "ownerkind":
			s.OwnerKind = p.common()
		case "ownername":
			s.OwnerName = p.common()
		case "workloadkind":
			s.WorkloadKind = p.common()
		case "workloadname":
			s.WorkloadName = p.common()
		case "serviceaccount":
			s.ServiceAccount = p.common()
		case "createdat":
			s.CreatedAt = metav1.NewTime(p.time())
		case "startedat":
			s.StartedAt = metav1.NewTime(p.time())
		case "labels":
			s.Labels = p.labels()
		case "containers":
			s.Containers = p.containers()
		default:
			p.failed = true
		}
	})
}

func (p *parser) containers() []Container {
	out := []Container{}
	p.array(func() {
		var c Container
		p.object(func(key []byte) {
			switch string(key) {
			case "name":
				c.Name = p.common()
			case "image":
				c.Image = p.common()
			case "id":
				c.ID = p.text()
			case "kind":
				c.Kind = p.common()
			default:
				p.failed = true
			}
		})
		out = append(out, c)
	})
	return out
}

// managedForUsAlone is trackedForUsAlone.
func (p *parser) managedForUsAlone() bool {
	entries, others := 0, 0
	p.array(func() {
		ours := false
		p.object(func(key []byte) {
			if string(key) == "manager" {
				ours = string(p.raw()) == ManagedBy
			} else {
				p.skip()
			}
		})
		entries++
		if !ours {
			others++
		}
	})
	return entries > 0 && others == 0
}

// parser reads JSON that is known to be valid from its beginning. Once it has
// failed, what it returns means nothing.
type parser struct {
	data    []byte
	at      int
	failed  bool
	strings *interner
}

func (p *parser) space() {
	for p.at < len(p.data) && (p.data[p.at] == ' ' || p.data[p.at] == '\n' || p.data[p.at] == '\t' || p.data[p.at] == '\r') {
		p.at++
	}
}

func (p *parser) take(c byte) bool {
	p.space()
	if p.at < len(p.data) && p.data[p.at] == c {
		p.at++
		return true
	}
	return false
}

func (p *parser) expect(c byte) {
	if !p.take(c) {
		p.failed = true
	}
}

// object calls field for each key, to read its value.
func (p *parser) object(field func(key []byte)) {
	p.expect('{')
	if p.failed || p.take('}') {
		return
	}
	for !p.failed {
		key := p.raw()
		p.expect(':')
		field(key)
		if p.take('}') {
			return
		}
		p.expect(',')
	}
}

// array calls element for each element, to read it.
func (p *parser) array(element func()) {
	p.expect('[')
	if p.failed || p.take(']') {
		return
	}
	for !p.failed {
		element()
		if p.take(']') {
			return
		}
		p.expect(',')
	}
}

// raw reads a string that stands for itself, without escapes; it shares data.
func (p *parser) raw() []byte {
	p.expect('"')
	end := bytes.IndexByte(p.data[p.at:], '"')
	if p.failed || end < 0 {
		p.failed = true
		return nil
	}
	s := p.data[p.at : p.at+end]
	if bytes.IndexByte(s, '\\') >= 0 || !utf8.Valid(s) {
		p.failed = true
		return nil
	}
	p.at += end + 1
	return s
}

func (p *parser) text() string { return string(p.raw()) }

// common reads a string that many Testcrs have.
func (p *parser) common() string { return p.strings.of(p.raw()) }

func (p *parser) constant(want string) string {
	if string(p.raw()) != want {
		p.failed = true
	}
	return want
}

func (p *parser) bool() bool {
	p.space()
	switch rest := p.data[p.at:]; {
	case bytes.HasPrefix(rest, []byte("true")):
		p.at += len("true")
		return true
	case bytes.HasPrefix(rest, []byte("false")):
		p.at += len("false")
	default:
		p.failed = true
	}
	return false
}

func (p *parser) time() time.Time {
	t, err := time.Parse(time.RFC3339, string(p.raw()))
	if err != nil {
		p.failed = true
	}
	return t
}

func (p *parser) texts() []string {
	out := []string{}
	p.array(func() { out = append(out, p.text()) })
	return out
}

func (p *parser) labels() map[string]string {
	out := map[string]string{}
	p.object(func(key []byte) { out[p.strings.of(key)] = p.common() })
	return out
}

// skip passes over a value of any kind.
func (p *parser) skip() {
	depth := 0
	for p.space(); p.at < len(p.data) && !p.failed; p.at++ {
		switch p.data[p.at] {
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 {
				return
			}
			depth--
		case ',':
			if depth == 0 {
				return
			}
		case '"':
			p.skipString()
		}
	}
}

// skipString stops at the quotation mark at the end.
func (p *parser) skipString() {
	for p.at++; p.at < len(p.data); p.at++ {
		switch p.data[p.at] {
		case '\\':
			p.at++
		case '"':
			return
		}
	}
	p.failed = true
}
