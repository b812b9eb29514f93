package index

// Collide leaves only the bits of mask of all hashes. Call it before the first Put.
func (x *Index) Collide(mask uint64) { x.mask = mask }

// Size returns the number of entries in all maps and lists of x.
func (x *Index) Size() int { return len(x.all) + len(x.first) + len(x.rest) }
