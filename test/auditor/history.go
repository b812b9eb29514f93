package auditor

import (
	"slices"
	"time"
)

// version is a state that a Pod had from a resource version on.
type version struct {
	state

	at uint64
	// unseen stands for all states that it may have had in a gap of the watch.
	// Nothing that was certainly born after the gap can be one of them.
	unseen bool
	until  time.Time // writes that come later cannot have shown an unseen state
}

// write is a state that a Testcr took on by one write.
type write struct {
	state

	at    uint64
	uid   string // metadata.uid of the Testcr
	heard time.Time
	// emptied: the Testcr is there and has deletionTimestamp, but nothing of a Pod.
	emptied bool
	gap     uint64 // the write came after this version and until at; 0 when at is its own
}

// writeOf returns the write of a Testcr that exists. An emptied one counts as absent.
func writeOf(t *testcrOf, at uint64, heard time.Time) write {
	s := t.state()
	return write{state: s, at: at, uid: string(t.Metadata.UID), heard: heard, emptied: s.absent()}
}

// history is that of one name: of the Pod, and of the Testcr that is named for it.
type history struct {
	testcr string // its name
	pod    string // namespace/name, "" for a Testcr that no Pod was seen for

	versions []version
	born     map[string]struct{} // UIDs whose first version was seen, so that none is unseen
	shown    int                 // the earliest of versions that the last judged write can have shown
	writes   []write             // not yet judged

	// The last observed states.
	now     state
	says    state
	uid     string // metadata.uid of the Testcr
	foreign bool   // the Testcr is not marked as the controller's: without a Pod it may stay
	podAt   uint64 // resource version of the Pod, 0 when there is none
	saysAt  uint64 // resource version of the Testcr, 0 when there is none
	waiting []change
	differs time.Time // since when Pod and Testcr differ, zero when they do not
	heard   time.Time // of anything
}

// change is one change of a Pod that the Testcr has yet to show.
type change struct {
	text  string
	heard time.Time
}

// add appends a state of the Pod. A change of what no Testcr tells is none.
func (h *history) add(v version) {
	if last := &h.versions[len(h.versions)-1]; !v.unseen && !last.unseen && last.text == v.text {
		return
	}
	h.versions = append(h.versions, v)
}

// find returns the earliest version from index on that w can show.
func (h *history) find(w *write, from int) (int, bool) {
	for i := from; i < len(h.versions); i++ {
		switch v := &h.versions[i]; {
		case v.at >= w.at:
			return 0, false
		case v.unseen && h.mayBeUnseen(v, w), !v.unseen && v.text == w.text:
			return i, true
		}
	}
	return 0, false
}

func (h *history) mayBeUnseen(v *version, w *write) bool {
	if w.heard.After(v.until) {
		return false
	}
	_, born := h.born[w.state.uid]
	return w.absent() || !born && w.state.uid != "" // every Pod has a UID
}

// judge decides about one write, and returns what is wrong with it.
func (h *history) judge(w *write) (Kind, string) {
	if i, ok := h.find(w, h.shown); ok {
		h.shown = i
		return "", ""
	}
	last := h.versions[h.shown].text
	if w.absent() {
		return DeletedLive, "the Pod was last shown as " + short(last)
	}
	detail := difference("it says ", w.text, ", after ", last)
	if _, ok := h.find(w, 0); ok {
		return WentBack, detail
	}
	var uid, ip, text bool
	for i := range h.versions {
		v := &h.versions[i]
		if v.uid != w.state.uid || v.absent() {
			continue
		}
		uid = true
		text = text || v.text == w.text
		ip = ip || !slices.ContainsFunc(w.ips, func(ip string) bool { return !slices.Contains(h.ipsOf(v.uid), ip) })
	}
	switch {
	case text:
		return TooEarly, detail
	case !uid:
		return NeverHadUID, detail
	case !ip:
		return NeverHadIP, detail
	default:
		return NeverHadValue, detail
	}
}

// ipsOf returns all IPs that the Pod of this UID ever had.
func (h *history) ipsOf(uid string) (ips []string) {
	for i := range h.versions {
		if h.versions[i].uid == uid {
			ips = append(ips, h.versions[i].ips...)
		}
	}
	return ips
}

// compare brings the present up to date after an event of either side, and
// returns how long each change that is shown now has waited.
func (h *history) compare(heard time.Time) (waited []change) {
	h.heard = heard
	switch same := h.now.text == h.says.text || h.now.absent() && h.foreign; {
	case same:
		waited, h.waiting, h.differs = h.waiting, nil, time.Time{}
	default:
		if h.differs.IsZero() {
			h.differs = heard
		}
		for i, c := range slices.Backward(h.waiting) {
			if c.text == h.says.text { // it shows this one, and so all before
				waited, h.waiting = h.waiting[:i+1], slices.Clone(h.waiting[i+1:])
				break
			}
		}
	}
	return waited
}
