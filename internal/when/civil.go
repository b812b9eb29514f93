package when

import "time"

// Years outside this range are no times of a log: the zero time of Go is in year 1.
const (
	minYear = 1970
	maxYear = 2199
)

const secondsPerDay = 24 * 60 * 60

// civil is a date and a time of day as they are written.
type civil struct {
	year, month, day     int // year 0 is not written
	hour, min, sec, nsec int
	hasSec               bool
	hasZone              bool
	offset               int // seconds east of UTC, with hasZone
}

// at returns the moment that clocks in loc show c, or in the zone of c.
func (c *civil) at(loc *time.Location) time.Time {
	u := time.Date(c.year, time.Month(c.month), c.day, c.hour, c.min, c.sec, c.nsec, time.UTC)
	switch {
	case c.hasZone:
		return u.Add(-time.Duration(c.offset) * time.Second).In(loc)
	case loc == time.UTC:
		return u
	}
	t := time.Date(c.year, time.Month(c.month), c.day, c.hour, c.min, c.sec, c.nsec, loc)
	start, end := t.ZoneBounds()
	for _, change := range [...]time.Time{start, end} {
		if change.IsZero() {
			continue
		}
		if distance := t.Unix() - change.Unix(); distance > 2*secondsPerDay || distance < -2*secondsPerDay {
			continue
		}
		_, before := change.Add(-time.Second).Zone()
		_, after := change.Zone()
		isBefore, isAfter := u.Unix()-int64(before) < change.Unix(), u.Unix()-int64(after) >= change.Unix()
		switch {
		case isBefore && isAfter: // clocks show it twice
			return u.Add(-time.Duration(before) * time.Second).In(loc)
		case !isBefore && !isAfter: // clocks skip it
			return change
		}
	}
	return t
}

// inLatestYear sets the latest year in which c is a date that is not after limit.
// It reports whether there is one.
func (c *civil) inLatestYear(limit time.Time, loc *time.Location) bool {
	year := limit.In(loc).Year()
	if c.hasZone {
		year++ // it may be ahead of loc
	}
	for ; year >= minYear; year-- {
		if c.year = year; c.isDate() && !c.at(loc).After(limit) {
			return true
		}
	}
	c.year = 0
	return false
}

func (c *civil) isDate() bool {
	return c.month >= 1 && c.month <= 12 && c.day >= 1 && c.day <= daysIn(c.year, c.month)
}

// daysIn returns the days of a month. Year 0 is a leap year.
func daysIn(year, month int) int {
	switch month {
	case 2:
		if year%4 == 0 && (year%100 != 0 || year%400 == 0) {
			return 29
		}
		return 28
	case 4, 6, 9, 11:
		return 30
	}
	return 31
}

// readCivil reads a date with a time of day at the start of b. It returns how many
// bytes that took, 0 if there is none.
func readCivil(b []byte) (c civil, n int) {
	if len(b) < len("1126 03:12") {
		return c, 0
	}
	switch {
	case isDigit(b[0]):
		if n = c.readYearFirst(b); n == 0 {
			n = c.readDayFirst(b)
		}
	case isDigit(b[1]) && (b[0] == 'I' || b[0] == 'W' || b[0] == 'E' || b[0] == 'F'):
		if n = c.readKlog(b[1:]); n > 0 {
			n++
		}
	default:
		n = c.readMonthFirst(b)
	}
	if n == 0 || !c.isDate() || !endsAt(b, n) {
		return civil{}, 0
	}
	return c, n
}

// readDate reads 2026-11-26, 2026/11/26 or 20261126.
func (c *civil) readDate(b []byte) int {
	year, ok := number(b, 0, 4)
	if !ok || year < minYear || year > maxYear || len(b) < len("20261126") {
		return 0
	}
	var okMonth, okDay bool
	n := len("20261126")
	if sep := b[4]; sep == '-' || sep == '/' {
		if n += 2; len(b) < n || b[7] != sep {
			return 0
		}
		c.month, okMonth = number(b, 5, 2)
		c.day, okDay = number(b, 8, 2)
	} else {
		c.month, okMonth = number(b, 4, 2)
		c.day, okDay = number(b, 6, 2)
	}
	if c.year = year; !okMonth || !okDay || !c.isDate() {
		return 0
	}
	return n
}

// readYearFirst reads 2026-11-26T03:12:45.123Z, 2026/11/26 03:12:45 and
// 20261126T031245Z.
func (c *civil) readYearFirst(b []byte) int {
	n := c.readDate(b)
	if n == 0 || n == len(b) || b[n] != 'T' && b[n] != 't' && b[n] != ' ' {
		return 0
	}
	if n == len("20261126") {
		return c.readBasicClock(b, n+1)
	}
	return c.readZone(b, c.readClock(b, n+1))
}

// readBasicClock reads 031245.123Z at b[i].
func (c *civil) readBasicClock(b []byte, i int) int {
	var ok [3]bool
	c.hour, ok[0] = number(b, i, 2)
	c.min, ok[1] = number(b, i+2, 2)
	c.sec, ok[2] = number(b, i+4, 2)
	if ok != [3]bool{true, true, true} || c.hour > 23 || c.min > 59 || c.sec > 60 {
		return 0
	}
	c.hasSec = true
	return c.readZone(b, c.readFraction(b, i+6))
}

// readDayFirst reads 26/Nov/2026:03:12:45 +0000, 26 Nov 2026 03:12:45 and
// 26-Nov-2026 03:12:45.
func (c *civil) readDayFirst(b []byte) int {
	if len(b) < len("26/Nov/2026:03:12") {
		return 0
	}
	sep := b[2]
	if sep != '/' && sep != ' ' && sep != '-' || b[6] != sep || b[11] != ' ' && b[11] != ':' {
		return 0
	}
	var okDay, okYear bool
	c.day, okDay = number(b, 0, 2)
	c.month = monthOf(b[3], b[4], b[5])
	c.year, okYear = number(b, 7, 4)
	if !okDay || !okYear || c.year < minYear || c.year > maxYear {
		return 0
	}
	return c.readZone(b, c.readClock(b, 12))
}

// readKlog reads 1126 03:12:45.123456, which begins with a letter in a log.
func (c *civil) readKlog(b []byte) int {
	var okMonth, okDay bool
	c.month, okMonth = number(b, 0, 2)
	c.day, okDay = number(b, 2, 2)
	if !okMonth || !okDay || len(b) < 5 || b[4] != ' ' {
		return 0
	}
	n := c.readClock(b, 5)
	if !c.hasSec {
		return 0
	}
	return n
}

// readMonthFirst reads Nov 26 03:12:45, Nov 26 2026 03:12:45, Thu Nov 26 03:12:45 2026
// and Thu Nov 26 03:12:45 UTC 2026.
func (c *civil) readMonthFirst(b []byte) int {
	i, hasWeekday := 0, weekdayOf(b[0], b[1], b[2]) >= 0 && b[3] == ' '
	if hasWeekday {
		i = 4
	}
	if len(b) < i+len("Nov 26 03:12") || b[i+3] != ' ' {
		return 0
	}
	if c.month = monthOf(b[i], b[i+1], b[i+2]); c.month == 0 {
		return 0
	}
	i += 4
	if b[i] == ' ' { // one digit is padded
		i++
	}
	for digits := 0; digits < 2 && isDigit(b[i]); digits++ {
		c.day = c.day*10 + int(b[i]-'0')
		i++
	}
	if b[i] != ' ' {
		return 0
	}
	if year, ok := yearAt(b, i+1); ok && i+5 < len(b) && b[i+5] == ' ' {
		c.year = year
		i += 5
	}
	n := c.readZone(b, c.readClock(b, i+1))
	if n == 0 || !hasWeekday || c.year != 0 || n == len(b) || b[n] != ' ' {
		return n
	}
	if year, ok := yearAt(b, n+1); ok && endsAt(b, n+5) {
		c.year = year
		n += 5
	}
	return n
}

// readClock reads 03:12, 03:12:45 or 03:12:45.123 at b[i]. It returns the end, 0 if
// there is none.
func (c *civil) readClock(b []byte, i int) int {
	var ok [3]bool
	c.hour, ok[0] = number(b, i, 2)
	c.min, ok[1] = number(b, i+3, 2)
	if !ok[0] || !ok[1] || b[i+2] != ':' || c.hour > 23 || c.min > 59 {
		return 0
	}
	if i+5 == len(b) || b[i+5] != ':' {
		return i + 5
	}
	c.sec, ok[2] = number(b, i+6, 2)
	if !ok[2] || c.sec > 60 { // 60 is a leap second
		return 0
	}
	c.hasSec = true
	return c.readFraction(b, i+8)
}

// readFraction reads .123456789 or ,123 at b[i], if it is there. Digits below the
// nanosecond are dropped.
func (c *civil) readFraction(b []byte, i int) int {
	if i+1 >= len(b) || b[i] != '.' && b[i] != ',' || !isDigit(b[i+1]) {
		return i
	}
	unit := 100_000_000
	for i++; i < len(b) && isDigit(b[i]); i++ {
		c.nsec += int(b[i]-'0') * unit
		unit /= 10
	}
	return i
}

// readZone reads a zone at b[i], if it is there: Z, an offset, or behind a space an
// offset of four digits, UTC or GMT. It returns its end, 0 for an impossible offset.
func (c *civil) readZone(b []byte, i int) int {
	if i == 0 || i >= len(b) {
		return i
	}
	switch b[i] {
	case 'Z', 'z':
		c.hasZone = true
		return i + 1
	case '+', '-':
		return c.readOffset(b, i, 2)
	case ' ':
		if i+1 == len(b) {
			return i
		}
		if b[i+1] == '+' || b[i+1] == '-' {
			if end := c.readOffset(b, i+1, 4); end != i+1 {
				return end
			}
			return i
		}
		if name := b[i+1:]; (hasPrefix(name, "UTC") || hasPrefix(name, "GMT")) && endsAt(name, 3) {
			c.hasZone = true
			return i + 4
		}
	}
	return i
}

// readOffset reads +01:00, +0100 or +01 at b[i], of at least minDigits digits. It
// returns i if that is no offset, 0 for an impossible one.
func (c *civil) readOffset(b []byte, i, minDigits int) int {
	hours, ok := number(b, i+1, 2)
	if !ok {
		return i
	}
	end := i + 3
	rest := end
	if rest < len(b) && b[rest] == ':' {
		rest++
	}
	minutes, hasMinutes := number(b, rest, 2)
	switch {
	case hasMinutes:
		end = rest + 2
	case minDigits > 2:
		return i
	}
	if !endsAt(b, end) {
		return i
	}
	if hours > 23 || minutes > 59 {
		return 0
	}
	c.hasZone = true
	if c.offset = (hours*60 + minutes) * 60; b[i] == '-' {
		c.offset = -c.offset
	}
	return end
}

// readEpoch reads a number of seconds, or of milli-, micro- or nanoseconds by its
// magnitude, from 1973-03-03 on. It returns how many bytes that took, 0 if there is
// none.
func readEpoch(b []byte) (t time.Time, n int) {
	if len(b) == 0 || b[0] < '1' || b[0] > '9' {
		return t, 0
	}
	point, digits := -1, 0
	for ; n < len(b) && (isDigit(b[n]) || b[n] == '.' && point < 0); n++ {
		if b[n] == '.' {
			point = n
		} else {
			digits++
		}
	}
	mantissa := b[:n]
	whole := digits // the digits before the decimal point
	if point >= 0 {
		whole = point
		if point == n-1 {
			return t, 0
		}
	}
	if n < len(b) && (b[n] == 'e' || b[n] == 'E') {
		exponent, end := readExponent(b, n+1)
		if end == 0 {
			return t, 0
		}
		whole += exponent
		n = end
	}
	seconds := whole
	for seconds > 10 {
		seconds -= 3
	}
	if seconds < 9 || whole > 19 || !endsAt(b, n) {
		return t, 0
	}
	var sec, nsec int64
	next, unit := 0, int64(1_000_000_000)
	for i := range seconds + 9 {
		if next == point {
			next++
		}
		digit := int64(0)
		if next < len(mantissa) {
			digit = int64(mantissa[next] - '0')
			next++
		}
		if i < seconds {
			sec = sec*10 + digit
		} else {
			unit /= 10
			nsec += digit * unit
		}
	}
	return time.Unix(sec, nsec), n
}

// readExponent reads +09, 9 or 09 at b[i]. It returns its end, 0 if there is none.
func readExponent(b []byte, i int) (exponent, end int) {
	if i < len(b) && b[i] == '+' {
		i++
	}
	start := i
	for ; i < len(b) && isDigit(b[i]) && i < start+3; i++ {
		exponent = exponent*10 + int(b[i]-'0')
	}
	if i == start {
		return 0, 0
	}
	return exponent, i
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// endsAt reports whether what was read up to i does not go on as a word or number.
func endsAt(b []byte, i int) bool {
	return i >= len(b) || !isDigit(b[i]) && (b[i]|0x20 < 'a' || b[i]|0x20 > 'z')
}

// number returns the number of exactly count digits at b[i].
func number(b []byte, i, count int) (int, bool) {
	if i+count > len(b) {
		return 0, false
	}
	value := 0
	for _, c := range b[i : i+count] {
		if !isDigit(c) {
			return 0, false
		}
		value = value*10 + int(c-'0')
	}
	return value, true
}

// yearAt returns the year at b[i].
func yearAt(b []byte, i int) (int, bool) {
	year, ok := number(b, i, 4)
	return year, ok && year >= minYear && year <= maxYear
}

func hasPrefix(b []byte, prefix string) bool {
	return len(b) >= len(prefix) && string(b[:len(prefix)]) == prefix
}

// nameOf returns the index of a name of three letters in names, -1 if it is none.
func nameOf(names string, x, y, z byte) int {
	x, y, z = x|0x20, y|0x20, z|0x20
	for i := 0; i < len(names); i += 3 {
		if names[i] == x && names[i+1] == y && names[i+2] == z {
			return i / 3
		}
	}
	return -1
}

// monthOf returns 1 for Jan, 0 for what is no month.
func monthOf(x, y, z byte) int { return nameOf("janfebmaraprmayjunjulaugsepoctnovdec", x, y, z) + 1 }

// weekdayOf returns 0 for Sun, -1 for what is no weekday.
func weekdayOf(x, y, z byte) int { return nameOf("sunmontuewedthufrisat", x, y, z) }
