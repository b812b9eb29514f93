package auditor

// allowances are writes of Testcrs that somebody else than the controller has
// owned up to. Each is of one write, so that it excuses nothing else.
type allowances struct {
	versions map[uint64]struct{} // of writes
	deleted  map[string]struct{} // UIDs of Testcrs
	windows  []gap               // in which the CRD was deleted
}

func newAllowances() allowances {
	return allowances{versions: map[uint64]struct{}{}, deleted: map[string]struct{}{}}
}

func (a *allowances) permits(w *write) bool {
	if !w.absent() || w.emptied { // who deletes one may not empty it
		_, ok := a.versions[w.at]
		return ok || w.gap != 0
	}
	if _, ok := a.deleted[w.uid]; ok {
		return true
	}
	from := w.at
	if w.gap != 0 {
		from = w.gap
	}
	for _, window := range a.windows {
		if from <= window.to && w.at >= window.from {
			return true
		}
	}
	return false
}
