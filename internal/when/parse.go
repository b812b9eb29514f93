package when

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"time"
)

// MaxText is the length in bytes of the longest text that Parse reads.
const MaxText = 64

// skew is how far in the future a moment may be: the clock of the caller may be
// ahead. Such a moment is now.
const skew = time.Minute

const (
	forms = "use 03:12, yesterday 03:12, mon 03:12, 2026-11-26, 2026-11-26T03:12:45Z, -2h or epoch seconds"
	zones = "use UTC, +01:00 or Europe/Berlin"
)

// Parse returns the moment that a person means by text, in the location of now. A time
// without a zone is in that location too. The forms are:
//
//   - now, and how long ago: 2h, -2h, 2h ago, 90 minutes ago, 1d12h, 1w. A day is 24 hours.
//   - 03:12, 03:12:45, 03:12:45.123, 3:12pm: the latest such time. At 02:00, 03:12 is
//     yesterday's.
//   - today 03:12, yesterday 03:12, and mon 03:12 for the latest such Monday. Without
//     a time of day it is midnight.
//   - 2026-11-26, 2026/11/26 and 20261126, alone or with a time of day as in RFC 3339:
//     behind T or a space, with or without seconds, fraction and zone.
//   - the stamps of logs: 1126 03:12:45.123456 of klog, 26/Nov/2026:03:12:45 +0000,
//     Nov 26 03:12:45, Thu Nov 26 03:12:45 2026. Without a year it is the latest.
//   - Thu, 26 Nov 2026 03:12:45 +0000, of kubectl describe. The weekday is not checked.
//   - an epoch in seconds, or in milli-, micro- or nanoseconds by its magnitude, from
//     1973-03-03 on: 1764211920.123.
//
// Each time of day may have an offset or the name of a zone behind it, such as
// 03:12 Europe/Berlin. Names come from the time zone database, plus Z.
//
// A moment in the future is an error, except that one of the next minute is now. An
// error is one line, has at most the first MaxText bytes of text, and escapes
// those that are not printable.
func Parse(text string, now time.Time) (time.Time, error) {
	now = now.Round(0)
	if len(text) > MaxText {
		return time.Time{}, fmt.Errorf("%q... is longer than %d bytes: %s", text[:MaxText/2], MaxText, forms)
	}
	s := strings.TrimSpace(text)
	if s == "" {
		return time.Time{}, errors.New("the time is empty: " + forms)
	}
	t, ok := parse(s, now)
	if !ok {
		var err error
		if t, err = parseWithZone(s, now); err != nil {
			return time.Time{}, err
		}
	}
	switch t = t.In(now.Location()); {
	case t.Year() < minYear:
		return time.Time{}, fmt.Errorf("%q is before %d", text, minYear)
	case t.After(now.Add(skew)):
		return time.Time{}, fmt.Errorf("%q is in the future: it is %s", text, now.Format("2006-01-02 15:04:05 MST"))
	case t.After(now):
		return now, nil
	}
	return t, nil
}

// ParseRange returns the moment or the range that a query of the past is about. The
// arguments are the values of flags or parameters of these names, "" without one, each
// in a form of Parse. Errors have the name of the argument in front.
//
// A moment is at alone, and from and to are equal. A range begins with since, and ends
// with until, or now. If all are "", the query is about the present: from and to are
// the zero time.
func ParseRange(at, since, until string, now time.Time) (from, to time.Time, isMoment bool, err error) {
	switch {
	case at != "" && (since != "" || until != ""):
		return from, to, false, errors.New("at is one moment, since and until are a range: use one or the other")
	case until != "" && since == "":
		return from, to, false, errors.New("until needs since, the begin of the range")
	case at != "":
		if from, err = Parse(at, now); err != nil {
			return time.Time{}, time.Time{}, false, fmt.Errorf("at: %w", err)
		}
		return from, from, true, nil
	case since == "":
		return from, to, false, nil
	}
	if from, err = Parse(since, now); err != nil {
		return time.Time{}, time.Time{}, false, fmt.Errorf("since: %w", err)
	}
	to = now.Round(0)
	if until != "" {
		if to, err = Parse(until, now); err != nil {
			return time.Time{}, time.Time{}, false, fmt.Errorf("until: %w", err)
		}
	}
	if from.After(to) {
		const layout = "2006-01-02 15:04:05.999999999 MST"
		return time.Time{}, time.Time{}, false, fmt.Errorf("since is after until: %s, %s", from.Format(layout), to.Format(layout))
	}
	return from, to, false, nil
}

// parseWithZone parses text whose last word is a zone.
func parseWithZone(s string, now time.Time) (time.Time, error) {
	i := strings.LastIndexByte(s, ' ')
	if i < 0 {
		return time.Time{}, notATime(s)
	}
	rest, name := strings.TrimSpace(s[:i]), s[i+1:]
	loc := zone(name)
	if loc != nil {
		now = now.In(loc)
	}
	t, ok := parse(rest, now)
	switch {
	case !ok, loc == nil && (name[0] < 'A' || name[0] > 'Z'):
		return time.Time{}, notATime(s)
	case loc == nil:
		return time.Time{}, fmt.Errorf("%q is not a time zone: %s", name, zones)
	}
	return t, nil
}

func notATime(s string) error { return fmt.Errorf("%q is not a time: %s", s, forms) }

// zone returns the location with an offset or a name, nil if there is none.
func zone(name string) *time.Location {
	var c civil
	switch {
	case name == "Z" || name == "z":
		return time.UTC
	case name[0] == '+' || name[0] == '-':
		if c.readOffset([]byte(name), 0, 2) == len(name) {
			return time.FixedZone("", c.offset)
		}
		return nil
	case name[0] < 'A' || name[0] > 'Z' || name == "Local":
		return nil
	}
	loc, err := time.LoadLocation(name)
	if err != nil {
		return nil
	}
	return loc
}

// parse parses each form without the name of a zone. The result may be in the future.
func parse(s string, now time.Time) (time.Time, bool) {
	if strings.EqualFold(s, "now") {
		return now, true
	}
	if ago, ok := parseAgo(strings.ToLower(s)); ok {
		return now.Add(-ago), true
	}
	if t, n := readEpoch([]byte(strings.TrimPrefix(s, "@"))); n > 0 && n == len(strings.TrimPrefix(s, "@")) {
		return t, true
	}
	if t, ok := parseDate(s, now); ok {
		return t, true
	}
	return parseDay(strings.Fields(strings.ToLower(s)), now)
}

// parseDate parses a date, with or without a time of day.
func parseDate(s string, now time.Time) (time.Time, bool) {
	if strings.HasPrefix(s, "[") {
		s = strings.TrimSuffix(s[1:], "]")
	}
	if len(s) > 5 && s[3:5] == ", " && weekdayOf(s[0], s[1], s[2]) >= 0 {
		s = s[5:]
	}
	b := []byte(s)
	c, n := readCivil(b)
	if n == 0 {
		n = c.readDate(b)
	}
	if n == 0 {
		c = civil{}
		if n = c.readKlog(b); !c.isDate() {
			n = 0
		}
	}
	if n == 0 || n != len(b) || c.year == 0 && !c.inLatestYear(now.Add(skew), now.Location()) {
		return time.Time{}, false
	}
	return c.at(now.Location()), true
}

// parseDay parses a time of day, a day, or both.
func parseDay(words []string, now time.Time) (time.Time, bool) {
	if last := len(words) - 1; last > 0 && (words[last] == "am" || words[last] == "pm") {
		words[last-1] += words[last]
		words = words[:last]
	}
	var c civil
	var day string
	hasClock := false
	for _, word := range words {
		if clock, ok := parseClock(word); ok && !hasClock {
			c, hasClock = clock, true
		} else if day == "" {
			day = word
		} else {
			return time.Time{}, false
		}
	}
	if c.hasZone {
		now = now.In(time.FixedZone("", c.offset))
	}
	ago, again, ok := daysSince(day, now.Weekday())
	if !ok || day == "" && !hasClock {
		return time.Time{}, false
	}
	t := c.onDay(ago, now)
	if again > 0 && t.After(now.Add(skew)) {
		t = c.onDay(ago+again, now)
	}
	return t, true
}

// onDay returns the moment of c on the day that was daysAgo.
func (c *civil) onDay(daysAgo int, now time.Time) time.Time {
	year, month, day := now.Date()
	year, month, day = time.Date(year, month, day-daysAgo, 0, 0, 0, 0, time.UTC).Date()
	c.year, c.month, c.day = year, int(month), day
	return c.at(now.Location())
}

// daysSince returns how many days ago the latest day of a name is, and after how many
// days the name comes again, 0 for never. Each day is named "".
func daysSince(name string, today time.Weekday) (ago, again int, ok bool) {
	switch {
	case name == "":
		return 0, 1, true
	case name == "today":
		return 0, 0, true
	case name == "yesterday":
		return 1, 0, true
	case len(name) < 3:
		return 0, 0, false
	}
	for day := time.Sunday; day <= time.Saturday; day++ {
		if strings.HasPrefix(strings.ToLower(day.String()), name) {
			return int(today-day+7) % 7, 7, true
		}
	}
	return 0, 0, false
}

// parseClock parses 03:12:45.123 with an offset or without, 3:12pm and 3pm.
func parseClock(s string) (c civil, ok bool) {
	half := ""
	if strings.HasSuffix(s, "am") || strings.HasSuffix(s, "pm") {
		s, half = s[:len(s)-2], s[len(s)-2:]
		if !strings.Contains(s, ":") {
			s += ":00"
		}
	}
	if strings.IndexByte(s, ':') == 1 {
		s = "0" + s
	}
	b := []byte(s)
	n := c.readClock(b, 0)
	if half == "" {
		n = c.readZone(b, n)
	} else if c.hour < 1 || c.hour > 12 {
		return c, false
	} else if c.hour %= 12; half == "pm" {
		c.hour += 12
	}
	return c, n > 0 && n == len(b)
}

var units = map[string]time.Duration{
	"s": time.Second, "sec": time.Second, "secs": time.Second, "second": time.Second, "seconds": time.Second,
	"m": time.Minute, "min": time.Minute, "mins": time.Minute, "minute": time.Minute, "minutes": time.Minute,
	"h": time.Hour, "hr": time.Hour, "hrs": time.Hour, "hour": time.Hour, "hours": time.Hour,
	"d": 24 * time.Hour, "day": 24 * time.Hour, "days": 24 * time.Hour,
	"w": 7 * 24 * time.Hour, "week": 7 * 24 * time.Hour, "weeks": 7 * 24 * time.Hour,
}

// parseAgo parses a duration in the past. One with a plus sign is in the future, and
// negative.
func parseAgo(s string) (time.Duration, bool) {
	sign := time.Duration(1)
	rest, isAgo := strings.CutSuffix(s, " ago")
	switch {
	case strings.HasPrefix(rest, "-"):
		rest = rest[1:]
	case strings.HasPrefix(rest, "+") && !isAgo:
		rest, sign = rest[1:], -1
	}
	total := 0.0
	for first := true; first || rest != ""; first = false {
		var amount float64
		var unit time.Duration
		var ok bool
		if amount, unit, rest, ok = cutAmount(rest); !ok {
			return 0, false
		}
		total += amount * float64(unit)
	}
	if total >= math.MaxInt64 {
		return 0, false
	}
	return sign * time.Duration(math.Round(total)), true
}

// cutAmount cuts a number and its unit, such as 1.5h, off the start of s.
func cutAmount(s string) (amount float64, unit time.Duration, rest string, ok bool) {
	i, scale := 0, 0.0
	for ; i < len(s) && (isDigit(s[i]) || s[i] == '.' && scale == 0 && i > 0); i++ {
		if s[i] == '.' {
			scale = 1
			continue
		}
		amount = amount*10 + float64(s[i]-'0')
		scale *= 10
	}
	if i == 0 {
		return 0, 0, "", false
	}
	if scale > 0 {
		amount /= scale
	}
	name := strings.TrimLeft(s[i:], " ")
	end := 0
	for end < len(name) && name[end] >= 'a' && name[end] <= 'z' {
		end++
	}
	unit, ok = units[name[:end]]
	return amount, unit, strings.TrimLeft(name[end:], " "), ok
}
