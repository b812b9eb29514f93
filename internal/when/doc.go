// Package when reads moments: those that a person types (Parse, ParseRange), and the
// timestamps of log lines (Reader). Its functions depend on their arguments alone, and
// on the time zone database.
//
// A time without a zone is in a location that the caller gives. Where its clocks
// show a time twice, it is the earlier moment. Where they skip it, it is the moment
// at which they jump. So a later reading of the clock is never an earlier moment.
package when

import (
	// The image is built from scratch, and Windows has no time zone database. It adds
	// 0.4 MiB to the program, and each machine has the same names of zones.
	_ "time/tzdata"
)
