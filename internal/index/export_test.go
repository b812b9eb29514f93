package index

// Collide leaves only the bits of mask of all hashes; it must come first.
func (x *Index) Collide(mask uint64) { x.mask = mask }

// Size is the number of entries that x holds in all of its maps and lists.
func (x *Index) Size() int { return len(x.all) + len(x.one) + len(x.more) }
