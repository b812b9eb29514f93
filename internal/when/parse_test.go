package when_test

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/weiyuanke/PodInfoLookup/internal/when"
)

// now is a Friday.
var now = time.Date(2026, time.November, 27, 2, 0, 0, 0, time.UTC)

func location(tb testing.TB, name string) *time.Location {
	tb.Helper()
	loc, err := time.LoadLocation(name)
	if err != nil {
		tb.Fatal(err)
	}
	return loc
}

// mustTime parses a time of the table of a test.
func mustTime(tb testing.TB, text string) time.Time {
	tb.Helper()
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		tb.Fatal(err)
	}
	return t
}

func TestParse(t *testing.T) {
	tests := []struct {
		text string
		zone string // of now
		want string
	}{
		{text: "now", want: "2026-11-27T02:00:00Z"},
		{text: " NOW ", want: "2026-11-27T02:00:00Z"},

		{text: "2h", want: "2026-11-27T00:00:00Z"},
		{text: "-2h", want: "2026-11-27T00:00:00Z"},
		{text: "2h ago", want: "2026-11-27T00:00:00Z"},
		{text: "2 hours ago", want: "2026-11-27T00:00:00Z"},
		{text: "-90m", want: "2026-11-27T00:30:00Z"},
		{text: "90 Minutes Ago", want: "2026-11-27T00:30:00Z"},
		{text: "-1d12h", want: "2026-11-25T14:00:00Z"},
		{text: "1d 12h ago", want: "2026-11-25T14:00:00Z"},
		{text: "1w", want: "2026-11-20T02:00:00Z"},
		{text: "1.5h", want: "2026-11-27T00:30:00Z"},
		{text: "0.25s", want: "2026-11-27T01:59:59.75Z"},
		{text: "0s", want: "2026-11-27T02:00:00Z"},
		{text: "+30s", want: "2026-11-27T02:00:00Z"},

		{text: "03:12", want: "2026-11-26T03:12:00Z"},
		{text: "3:12", want: "2026-11-26T03:12:00Z"},
		{text: "01:12", want: "2026-11-27T01:12:00Z"},
		{text: "02:00", want: "2026-11-27T02:00:00Z"},
		{text: "02:01", want: "2026-11-27T02:00:00Z"},
		{text: "02:02", want: "2026-11-26T02:02:00Z"},
		{text: "01:12:45", want: "2026-11-27T01:12:45Z"},
		{text: "01:12:45.123", want: "2026-11-27T01:12:45.123Z"},
		{text: "01:12Z", want: "2026-11-27T01:12:00Z"},
		{text: "03:12+02:00", want: "2026-11-27T01:12:00Z"},
		{text: "03:12 +0200", want: "2026-11-27T01:12:00Z"},
		{text: "03:12 Europe/Berlin", want: "2026-11-26T02:12:00Z"},
		{text: "02:12 Europe/Berlin", want: "2026-11-27T01:12:00Z"},
		{text: "01:12 UTC", zone: "Asia/Tokyo", want: "2026-11-27T01:12:00Z"},
		{text: "01:12 Z", zone: "Asia/Tokyo", want: "2026-11-27T01:12:00Z"},
		{text: "10:12", zone: "Asia/Tokyo", want: "2026-11-27T01:12:00Z"},
		{text: "20:00", zone: "America/New_York", want: "2026-11-27T01:00:00Z"},
		{text: "22:00", zone: "America/New_York", want: "2026-11-26T03:00:00Z"},
		{text: "3:12pm", want: "2026-11-26T15:12:00Z"},
		{text: "1:12 AM", want: "2026-11-27T01:12:00Z"},
		{text: "12am", want: "2026-11-27T00:00:00Z"},
		{text: "12:30pm", want: "2026-11-26T12:30:00Z"},

		{text: "yesterday 03:12", want: "2026-11-26T03:12:00Z"},
		{text: "Yesterday 01:12:45", want: "2026-11-26T01:12:45Z"},
		{text: "01:12 yesterday", want: "2026-11-26T01:12:00Z"},
		{text: "yesterday", want: "2026-11-26T00:00:00Z"},
		{text: "today", want: "2026-11-27T00:00:00Z"},
		{text: "today 01:12", want: "2026-11-27T01:12:00Z"},
		{text: "yesterday 03:12 Europe/Berlin", want: "2026-11-26T02:12:00Z"},
		{text: "yesterday 23:12", zone: "Pacific/Auckland", want: "2026-11-26T10:12:00Z"},
		{text: "mon 03:12", want: "2026-11-23T03:12:00Z"},
		{text: "Monday 03:12", want: "2026-11-23T03:12:00Z"},
		{text: "thurs 03:12", want: "2026-11-26T03:12:00Z"},
		{text: "fri 01:12", want: "2026-11-27T01:12:00Z"},
		{text: "fri 03:12", want: "2026-11-20T03:12:00Z"},
		{text: "sat 03:12", want: "2026-11-21T03:12:00Z"},
		{text: "fri", want: "2026-11-27T00:00:00Z"},
		{text: "fri 01:30Z", zone: "America/New_York", want: "2026-11-27T01:30:00Z"},
		{text: "thu 22:00+00:00", zone: "Pacific/Auckland", want: "2026-11-26T22:00:00Z"},

		{text: "2026-11-26", want: "2026-11-26T00:00:00Z"},
		{text: "2026/11/26", want: "2026-11-26T00:00:00Z"},
		{text: "20261126", want: "2026-11-26T00:00:00Z"},
		{text: "2026-11-26", zone: "Europe/Berlin", want: "2026-11-25T23:00:00Z"},
		{text: "2026-11-26 Europe/Berlin", want: "2026-11-25T23:00:00Z"},
		{text: "2026-11-26T03:12:45Z", want: "2026-11-26T03:12:45Z"},
		{text: "2026-11-26t03:12:45z", want: "2026-11-26T03:12:45Z"},
		{text: "2026-11-26T03:12:45+02:00", want: "2026-11-26T01:12:45Z"},
		{text: "2026-11-26T03:12:45-0530", want: "2026-11-26T08:42:45Z"},
		{text: "2026-11-26T03:12:45.123456789Z", want: "2026-11-26T03:12:45.123456789Z"},
		{text: "2026-11-26T03:12:45.1234567899Z", want: "2026-11-26T03:12:45.123456789Z"},
		{text: "2026-11-26 03:12:45,123", want: "2026-11-26T03:12:45.123Z"},
		{text: "2026-11-26 03:12", want: "2026-11-26T03:12:00Z"},
		{text: "2026-11-26T03:12", zone: "Asia/Kolkata", want: "2026-11-25T21:42:00Z"},
		{text: "2026-11-26T03:12Z", zone: "Asia/Kolkata", want: "2026-11-26T03:12:00Z"},
		{text: "2026-11-26 03:12 Europe/Berlin", want: "2026-11-26T02:12:00Z"},
		{text: "2026-11-26 03:12:45 +0000 UTC", want: "2026-11-26T03:12:45Z"},
		{text: "20261126T031245Z", want: "2026-11-26T03:12:45Z"},
		{text: "2026-02-28T23:59:60Z", want: "2026-03-01T00:00:00Z"},
		{text: "2024-02-29", want: "2024-02-29T00:00:00Z"},
		{text: "2026-11-27T02:00:59Z", want: "2026-11-27T02:00:00Z"},
		{text: "1970-01-01", want: "1970-01-01T00:00:00Z"},

		{text: "1126 03:12:45.123456", want: "2026-11-26T03:12:45.123456Z"},
		{text: "I1126 03:12:45.123456", want: "2026-11-26T03:12:45.123456Z"},
		{text: "1128 03:12:45.123456", want: "2025-11-28T03:12:45.123456Z"},
		{text: "26/Nov/2026:03:12:45 +0000", want: "2026-11-26T03:12:45Z"},
		{text: "[26/Nov/2026:03:12:45 +0100]", want: "2026-11-26T02:12:45Z"},
		{text: "26 Nov 2026 03:12:45", want: "2026-11-26T03:12:45Z"},
		{text: "Nov 26 03:12:45", want: "2026-11-26T03:12:45Z"},
		{text: "Nov  6 03:12:45", want: "2026-11-06T03:12:45Z"},
		{text: "Nov 28 03:12:45", want: "2025-11-28T03:12:45Z"},
		{text: "Feb 29 03:12:45", want: "2024-02-29T03:12:45Z"},
		{text: "Nov 26 03:12:45 Europe/Berlin", want: "2026-11-26T02:12:45Z"},
		{text: "Thu Nov 26 03:12:45 2026", want: "2026-11-26T03:12:45Z"},
		{text: "Thu Nov 26 03:12:45 UTC 2026", zone: "Asia/Tokyo", want: "2026-11-26T03:12:45Z"},
		{text: "Thu, 26 Nov 2026 03:12:45 +0100", want: "2026-11-26T02:12:45Z"},
		{text: "Thu, 26 Nov 2026 03:12:45 GMT", want: "2026-11-26T03:12:45Z"},
		{text: "Nov 26 2026 03:12:45", want: "2026-11-26T03:12:45Z"},

		{text: "1764211920", want: "2025-11-27T02:52:00Z"},
		{text: "@1764211920", want: "2025-11-27T02:52:00Z"},
		{text: "1764211920.123", want: "2025-11-27T02:52:00.123Z"},
		{text: "1764211920123", want: "2025-11-27T02:52:00.123Z"},
		{text: "1764211920123.456", want: "2025-11-27T02:52:00.123456Z"},
		{text: "1764211920123456", want: "2025-11-27T02:52:00.123456Z"},
		{text: "1764211920123456789", want: "2025-11-27T02:52:00.123456789Z"},
		{text: "1.764211920123e9", want: "2025-11-27T02:52:00.123Z"},
		{text: "100000000", want: "1973-03-03T09:46:40Z"},

		// Berlin's clocks showed 02:30 twice on 2026-10-25, and never on 2026-03-29.
		{text: "2026-10-25 01:30", zone: "Europe/Berlin", want: "2026-10-24T23:30:00Z"},
		{text: "2026-10-25 02:30", zone: "Europe/Berlin", want: "2026-10-25T00:30:00Z"},
		{text: "2026-10-25 03:00", zone: "Europe/Berlin", want: "2026-10-25T02:00:00Z"},
		{text: "2026-10-25 02:30 Europe/Berlin", want: "2026-10-25T00:30:00Z"},
		{text: "2026-03-29 01:59:59", zone: "Europe/Berlin", want: "2026-03-29T00:59:59Z"},
		{text: "2026-03-29 02:00", zone: "Europe/Berlin", want: "2026-03-29T01:00:00Z"},
		{text: "2026-03-29 02:30", zone: "Europe/Berlin", want: "2026-03-29T01:00:00Z"},
		{text: "2026-03-29 03:00", zone: "Europe/Berlin", want: "2026-03-29T01:00:00Z"},
		{text: "2026-03-29 02:30+02:00", zone: "Europe/Berlin", want: "2026-03-29T00:30:00Z"},
		{text: "2026-11-01 01:30", zone: "America/New_York", want: "2026-11-01T05:30:00Z"},
		{text: "2026-03-08 02:30", zone: "America/New_York", want: "2026-03-08T07:00:00Z"},
		{text: "2026-04-24", zone: "Africa/Cairo", want: "2026-04-23T22:00:00Z"}, // midnight is skipped
		{text: "2011-12-30 12:00", zone: "Pacific/Apia", want: "2011-12-30T10:00:00Z"},
	}
	for _, test := range tests {
		t.Run(test.text+" "+test.zone, func(t *testing.T) {
			loc := location(t, test.zone)
			got, err := when.Parse(test.text, now.In(loc))
			if want := mustTime(t, test.want); err != nil || !got.Equal(want) {
				t.Fatalf("got %v, %v; want %v", got, err, want)
			}
			if got.Location() != loc {
				t.Errorf("got a time in %v, want %v", got.Location(), loc)
			}
		})
	}
}

// A zone may be in another year than now.
func TestParse_AtNewYear(t *testing.T) {
	now := time.Date(2026, 12, 31, 20, 0, 0, 0, time.UTC)
	want := time.Date(2026, 12, 31, 16, 30, 0, 0, time.UTC)
	for _, text := range []string{"Jan  1 01:30:00 +0900", "Jan  1 01:30:00 Asia/Tokyo", "01:30+09:00"} {
		if got, err := when.Parse(text, now); err != nil || !got.Equal(want) {
			t.Errorf("%q is %v, %v; want %v", text, got, err, want)
		}
	}
}

func TestParse_Error(t *testing.T) {
	tests := []struct {
		text string
		want string // part of the error
	}{
		{text: "", want: "the time is empty: use 03:12"},
		{text: "  ", want: "the time is empty: use 03:12"},
		{text: "soon", want: `"soon" is not a time: use 03:12`},
		{text: "\x1b[31m\n\xff", want: `"\x1b[31m\n\xff" is not a time`},
		{text: strings.Repeat("9", 65), want: `9"... is longer than 64 bytes`},
		{text: strings.Repeat("9", 64), want: "is not a time"},
		{text: "10.0.0.7", want: "is not a time"},
		{text: "5", want: "is not a time"},
		{text: "0312", want: "is not a time"},
		{text: "99999999", want: "is not a time"},
		{text: "17642119201", want: "is not a time"},
		{text: "1764211920.", want: "is not a time"},
		{text: "1764211920e", want: "is not a time"},
		{text: "03:12 +99:00", want: "is not a time"},
		{text: "03:12 -2", want: "is not a time"},
		{text: "Xyz 26 03:12:45", want: "is not a time"},
		{text: "Nov 261 03:12:45", want: "is not a time"},
		{text: "1764211920e99", want: "is not a time"},
		{text: "24:00", want: "is not a time"},
		{text: "03:60", want: "is not a time"},
		{text: "13pm", want: "is not a time"},
		{text: "0:30am", want: "is not a time"},
		{text: "03:12 04:12", want: "is not a time"},
		{text: "today yesterday", want: "is not a time"},
		{text: "mo 03:12", want: "is not a time"},
		{text: "mondayy", want: "is not a time"},
		{text: "2026-11-31", want: "is not a time"},
		{text: "2026-02-29", want: "is not a time"},
		{text: "2026-13-01", want: "is not a time"},
		{text: "2026-11/26", want: "is not a time"},
		{text: "2026-11-26T", want: "is not a time"},
		{text: "2026-11-26T03:12:45+25:00", want: "is not a time"},
		{text: "2026-11-26T03:12:45ZZ", want: "is not a time"},
		{text: "1969-12-31", want: "is not a time"},
		{text: "1.2.3h", want: "is not a time"},
		{text: "2x", want: "is not a time"},
		{text: "h", want: "is not a time"},
		{text: "--2h", want: "is not a time"},
		{text: "+2h ago", want: "is not a time"},
		{text: "999999999999999999999w", want: "is not a time"},
		{text: "03:12 Mars/Base", want: `"Mars/Base" is not a time zone: use UTC, +01:00`},
		{text: "03:12 PST", want: `"PST" is not a time zone`},
		{text: "soon PST", want: `"soon PST" is not a time: use`},
		{text: "soon UTC", want: `"soon UTC" is not a time: use`},
		{text: "03:12 ../../etc/passwd", want: "is not a time"},
		{text: "03:12 Local", want: `"Local" is not a time zone`},
		{text: "03:12 UTC UTC", want: "is not a time"},
		{text: "3000w", want: "is before 1970"},
		{text: "+2h", want: `"+2h" is in the future: it is 2026-11-27 02:00:00 UTC`},
		{text: "today 03:12", want: "is in the future"},
		{text: "2026-11-28", want: "is in the future"},
		{text: "2026-11-27T02:01:01Z", want: "is in the future"},
		{text: "4102444800", want: "is in the future"},
	}
	for _, test := range tests {
		t.Run(test.text, func(t *testing.T) {
			got, err := when.Parse(test.text, now)
			if err == nil {
				t.Fatalf("got %v, want an error", got)
			}
			if !strings.Contains(err.Error(), test.want) || strings.ContainsAny(err.Error(), "\n\x1b") {
				t.Errorf("got %q, want one line with %q", err, test.want)
			}
		})
	}
}

func TestParseRange(t *testing.T) {
	tests := []struct {
		name             string
		at, since, until string
		wantFrom, wantTo string // RFC 3339, "" for the zero time
		wantMoment       bool
		wantErr          string
	}{
		{name: "the present"},
		{name: "a moment", at: "03:12", wantFrom: "2026-11-26T03:12:00Z", wantTo: "2026-11-26T03:12:00Z", wantMoment: true},
		{name: "until now", since: "24h", wantFrom: "2026-11-26T02:00:00Z", wantTo: "2026-11-27T02:00:00Z"},
		{name: "a range", since: "yesterday 03:12", until: "1h", wantFrom: "2026-11-26T03:12:00Z", wantTo: "2026-11-27T01:00:00Z"},
		{name: "of no length", since: "1h", until: "60m", wantFrom: "2026-11-27T01:00:00Z", wantTo: "2026-11-27T01:00:00Z"},
		{name: "until alone", until: "1h", wantErr: "until needs since, the begin of the range"},
		{name: "at with since", at: "1h", since: "2h", wantErr: "use one or the other"},
		{name: "at with until", at: "1h", until: "2h", wantErr: "use one or the other"},
		{name: "backwards", since: "1h", until: "2h", wantErr: "since is after until: 2026-11-27 01:00:00 UTC, 2026-11-27 00:00:00 UTC"},
		{name: "at is wrong", at: "soon", wantErr: `at: "soon" is not a time`},
		{name: "since is wrong", since: "soon", wantErr: `since: "soon" is not a time`},
		{name: "until is wrong", since: "1h", until: "later", wantErr: `until: "later" is not a time`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			from, to, isMoment, err := when.ParseRange(test.at, test.since, test.until, now)
			if test.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), test.wantErr) || !from.IsZero() || !to.IsZero() || isMoment {
					t.Errorf("got %v, %v, %t, %v; want the error %q alone", from, to, isMoment, err, test.wantErr)
				}
				return
			}
			var wantFrom, wantTo time.Time
			if test.wantFrom != "" {
				wantFrom, wantTo = mustTime(t, test.wantFrom), mustTime(t, test.wantTo)
			}
			if err != nil || !from.Equal(wantFrom) || !to.Equal(wantTo) || isMoment != test.wantMoment {
				t.Errorf("got %v, %v, %t, %v; want %v, %v, %t", from, to, isMoment, err, wantFrom, wantTo, test.wantMoment)
			}
		})
	}
}

// form is a way to write a moment.
type form struct {
	name    string
	step    time.Duration // what it can express
	format  func(time.Time) string
	isLocal bool // it has no zone
}

func layout(name string, step time.Duration, isLocal bool) form {
	return form{name: name, step: step, format: func(t time.Time) string { return t.Format(name) }, isLocal: isLocal}
}

// sharedForms are those that Parse and Reader both read.
var sharedForms = []form{
	layout("2006-01-02T15:04:05Z07:00", time.Second, false),
	layout("2006-01-02T15:04:05.000Z0700", time.Millisecond, false),
	layout("2006-01-02T15:04:05.000000000Z07:00", time.Nanosecond, false),
	layout("2006-01-02 15:04:05 -0700", time.Second, false),
	layout("2006-01-02 15:04:05.000000", time.Microsecond, true),
	layout("2006-01-02 15:04:05,000", time.Millisecond, true),
	layout("2006/01/02 15:04:05", time.Second, true),
	layout("20060102T150405Z0700", time.Second, false),
	layout("20060102T150405.000", time.Millisecond, true),
	layout("02 Jan 2006 15:04:05.000", time.Millisecond, true),
	layout("02-Jan-2006 15:04:05.000", time.Millisecond, true),
	layout("[02/Jan/2006:15:04:05 -0700]", time.Second, false),
	layout("Mon Jan _2 15:04:05.000000 2006", time.Microsecond, true),
	layout("Jan _2 2006 15:04:05", time.Second, true),
	{name: "seconds", step: time.Second, format: func(t time.Time) string { return strconv.FormatInt(t.Unix(), 10) }},
	{name: "decimals", step: time.Microsecond, format: func(t time.Time) string { return fmt.Sprintf("%d.%06d", t.Unix(), t.Nanosecond()/1000) }},
	{name: "milliseconds", step: time.Millisecond, format: func(t time.Time) string { return strconv.FormatInt(t.UnixMilli(), 10) }},
	{name: "microseconds", step: time.Microsecond, format: func(t time.Time) string { return strconv.FormatInt(t.UnixMicro(), 10) }},
	{name: "nanoseconds", step: time.Nanosecond, format: func(t time.Time) string { return strconv.FormatInt(t.UnixNano(), 10) }},
}

// yearlessForms are read as a time of the last year.
var yearlessForms = []form{
	layout("I0102 15:04:05.000000", time.Microsecond, true),
	layout("Jan _2 15:04:05", time.Second, true),
}

// checkForms formats random times of the last days before now in each form, and reads
// them back.
func checkForms(t *testing.T, forms []form, days int, read func(text string, now time.Time) (time.Time, error)) {
	t.Helper()
	random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // G404: times that can be had again
	for _, zone := range []string{"UTC", "Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe", "Asia/Tokyo"} {
		loc := location(t, zone)
		for _, form := range forms {
			for range 300 {
				now := now.Add(-time.Duration(random.Int64N(int64(365 * 24 * time.Hour)))).In(loc)
				want := now.Add(-time.Duration(random.Int64N(int64(days) * 24 * int64(time.Hour)))).Truncate(form.step)
				text := form.format(want)
				got, err := read(text, now)
				if form.isLocal && err == nil && got.Before(want) && form.format(got) == text {
					continue // the clocks show it twice, and got is the earlier one
				}
				if err != nil || !got.Equal(want) {
					t.Fatalf("%s in %s: %q at %v is %v, %v; want %v", form.name, zone, text, now, got, err, want)
				}
			}
		}
	}
}

func TestParse_EachForm(t *testing.T) {
	more := []form{
		layout("2006-01-02T15:04Z07:00", time.Minute, false),
		layout("2006-01-02 15:04", time.Minute, true),
		layout("Mon Jan _2 15:04:05 MST 2006", time.Second, true), // of the program date, in UTC
	}
	more[2].format = func(t time.Time) string { return t.UTC().Format(more[2].name) }
	checkForms(t, append(more, sharedForms...), 5000, when.Parse)
	checkForms(t, append([]form{layout("0102 15:04:05.000000", time.Microsecond, true)}, yearlessForms...), 364, when.Parse)
	checkForms(t, []form{layout("Mon 15:04:05.000", time.Millisecond, true), layout("Monday 15:04", time.Minute, true)}, 6, when.Parse)
}

func TestParse_Duration(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4)) //nolint:gosec // G404: times that can be had again
	for range 2000 {
		ago := time.Duration(random.Int64N(int64(1000 * time.Hour))).Truncate(time.Millisecond)
		for _, text := range []string{ago.Truncate(time.Second).String(), "-" + ago.Truncate(time.Second).String(), ago.Truncate(time.Second).String() + " ago"} {
			if got, err := when.Parse(text, now); err != nil || now.Sub(got) != ago.Truncate(time.Second) {
				t.Fatalf("%q is %v, %v; want %v ago", text, got, err, ago)
			}
		}
	}
}

// A later reading of a clock is never an earlier moment, also when clocks change.
func TestParse_KeepsOrder(t *testing.T) {
	for _, zone := range []string{"Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Cairo", "Asia/Tokyo"} {
		loc := location(t, zone)
		var last time.Time
		for minute := range 366 * 24 * 4 {
			text := time.Date(2025, 11, 1, 0, minute*15, 0, 0, time.UTC).Format("2006-01-02 15:04")
			got, err := when.Parse(text, now.In(loc))
			if err != nil || got.Before(last) {
				t.Fatalf("%s in %s is %v, %v; want one not before %v", text, zone, got, err, last)
			}
			last = got
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, text := range []string{
		"now", "2h ago", "-1d12h", "1.5h", "03:12", "3:12pm", "yesterday 03:12", "mon 03:12 Europe/Berlin", "2026-11-26T03:12:45.123+02:00",
		"20261126T031245Z", "1126 03:12:45.123456", "26/Nov/2026:03:12:45 +0000", "Thu Nov 26 03:12:45 UTC 2026", "1764211920.123", "1.7e9",
	} {
		f.Add(text)
	}
	loc := location(f, "Europe/Berlin")
	f.Fuzz(func(t *testing.T, text string) {
		for _, now := range []time.Time{now, now.In(loc)} {
			got, err := when.Parse(text, now)
			switch {
			case err != nil:
				if len(err.Error()) > 600 || strings.ContainsAny(err.Error(), "\n\r\x1b") {
					t.Errorf("%q: %q", text, err)
				}
			case got.After(now) || got.Year() < 1970:
				t.Errorf("%q is %v, not in the past", text, got)
			default:
				again, err := when.Parse(got.Format(time.RFC3339Nano), now)
				if err != nil || !again.Equal(got) {
					t.Errorf("%q is %v, read again %v, %v", text, got, again, err)
				}
			}
		}
	})
}
