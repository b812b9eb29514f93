package when_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/weiyuanke/PodInfoLookup/internal/when"
)

func TestReader_Time(t *testing.T) {
	const (
		second = "2026-11-26T03:12:45Z"
		milli  = "2026-11-26T03:12:45.123Z"
		micro  = "2026-11-26T03:12:45.123456Z"
		nano   = "2026-11-26T03:12:45.123456789Z"
		before = "2025-11-27T02:52:00Z" // 1764211920
	)
	tests := []struct {
		line string
		zone string
		want string // "" for none
	}{
		{line: "2026-11-26T03:12:45Z started", want: second},
		{line: "2026-11-26T03:12:45.123456789Z stdout F started", want: nano},
		{line: "2026-11-26T04:12:45.123+01:00 stdout P started", want: milli},
		{line: `2026-11-26T03:12:45.123Z stdout F {"time":"2020-01-01T00:00:00Z"}`, want: milli},
		{line: "2026-11-26T03:12:45Z", want: second},
		{line: "2026-11-26T03:12:45Z\r\n", want: second},
		{line: "  2026-11-26 03:12:45 started", want: second},
		{line: "2026-11-26 04:12:45 started", zone: "Europe/Berlin", want: second},
		{line: "2026-11-26 03:12:45,123 INFO [main] com.example.Cart - started", want: milli},
		{line: "2026-11-26 03:12:45,123 +0000 INFO started", want: milli},
		{line: "2026-11-26 03:12:45.123 UTC [42] LOG:  checkpoint", zone: "Asia/Tokyo", want: milli},
		{line: "2026-11-26 03:12:45 +12345 bytes", want: second},
		{line: "2026-11-26 12:12:45 - started", zone: "Asia/Tokyo", want: second},
		{line: "2026-11-26 03:12:45.123456 +0000 UTC m=+0.1", zone: "Asia/Tokyo", want: micro},
		{line: "[2026-11-26T03:12:45.123Z] \"GET /cart HTTP/1.1\" 200", want: milli},
		{line: "[2026-11-26 03:12:45,123] INFO started (kafka.server)", want: milli},
		{line: "[2026-11-26T03:12:45,123][INFO ][o.e.n.Node] started", want: milli},
		{line: "2026/11/26 03:12:45 [error] 42#42: *7 connect() failed, client: 10.0.0.7", want: second},
		{line: "2026/11/26 03:12:45.123456 main.go:7: started", want: micro},
		{line: "20261126T031245Z started", want: second},
		{line: "20261126T031245.123Z started", want: milli},
		{line: "INFO 2026-11-26 03:12:45 started", want: second},
		{line: "info: 2026-11-26 03:12:45 started", want: second},
		{line: "INFO  [2026-11-26 03:12:45,123] com.example.Cart: started", want: milli},
		{line: "[INFO] [main] 2026-11-26 03:12:45 started", want: second},
		{line: "(main) <7> 2026-11-26 03:12:45 started", want: second},
		{line: "[INFO]2026-11-26 03:12:45 started", want: second},
		{line: "I, [2026-11-26T03:12:45.123456 #1]  INFO -- : started", want: micro},
		{line: "cart-1  | 2026-11-26T03:12:45Z started", want: second},
		{line: "cart-7d9f-x2x main 2026-11-26T03:12:45Z started", want: second},
		{line: "1 2 3 4 2026-11-26T03:12:45Z", want: second},
		{line: "[pod/cart-1/main] 2026-11-26T03:12:45Z started", want: second},
		{line: "\x1b[90m2026-11-26T03:12:45Z\x1b[0m started", want: second},
		{line: "\x1b[36mINFO\x1b[0m[2026-11-26T03:12:45Z] started", want: second},
		{line: "1:M 26 Nov 2026 03:12:45.123 * Ready to accept connections", want: milli},
		{line: "26-Nov-2026 03:12:45.123 INFO [main] org.apache.catalina", want: milli},
		{line: "2026-12-31T23:59:60Z leap", want: "2027-01-01T00:00:00Z"},

		{line: "I1126 03:12:45.123456       1 main.go:7] started", want: micro},
		{line: "E1126 04:12:45.123456       1 main.go:7] started", zone: "Europe/Berlin", want: micro},
		{line: "cart-1 main W1126 03:12:45.123456       1 main.go:7] started", want: micro},
		{line: "I1128 01:12:45.123456       1 main.go:7] ahead of now", want: "2026-11-28T01:12:45.123456Z"},
		{line: "I1129 03:12:45.123456       1 main.go:7] last year's", want: "2025-11-29T03:12:45.123456Z"},
		{line: "F0229 03:12:45.123456       1 main.go:7] a leap year's", want: "2024-02-29T03:12:45.123456Z"},

		{line: `10.0.0.7 - - [26/Nov/2026:03:12:45 +0000] "GET /?from=2020-01-01T00:00:00Z HTTP/1.1" 200 7`, want: second},
		{line: `10.0.0.7 - alice smith [25/Nov/2026:22:12:45 -0500] "GET / HTTP/1.1" 200 7`, want: second},
		{line: `fd00::7, 10.0.0.7 some proxy of a user - [26/Nov/2026:03:12:45 +0000] "GET / HTTP/1.1"`, want: second},
		{line: "haproxy[42]: 10.0.0.7:4242 [26/Nov/2026:03:12:45.123] web cart/1", want: milli},

		{line: "Nov 26 03:12:45 node-1 kubelet[42]: started", want: second},
		{line: "<34>Nov 26 03:12:45 node-1 kubelet[42]: started", want: second},
		{line: "Nov  6 03:12:45 node-1 kubelet[42]: started", want: "2026-11-06T03:12:45Z"},
		{line: "Dec 31 23:59:59 node-1 kubelet[42]: started", want: "2025-12-31T23:59:59Z"},
		{line: "Nov 26 03:12:45 2019 kubelet: a host named 2019", want: second},
		{line: "Nov 26 2025 03:12:45 asa-1: started", want: "2025-11-26T03:12:45Z"},
		{line: "<34>1 2026-11-26T03:12:45.123Z node-1 kubelet 42 - - started", want: milli},
		{line: "[Thu Nov 26 03:12:45.123456 2026] [core:notice] [pid 1] started", want: micro},

		{line: "1764211920 started", want: before},
		{line: "1764211920.5 started", want: "2025-11-27T02:52:00.5Z"},
		{line: "1764211920000    45 10.0.0.7 TCP_MISS/200", want: before},
		{line: "[1764211920] SERVICE ALERT", want: before},
		{line: "1764211920000000 started", want: before},
		{line: "1764211920000000000 started", want: before},
		{line: "1.7642119205e+09\tINFO\tstarted", want: "2025-11-27T02:52:00.5Z"},
		{line: "1764211920", want: before},

		{line: `{"ts":"2026-11-26T03:12:45Z","msg":"started"}`, want: second},
		{line: `{"msg":"started","time":"2026-11-26T03:12:45.123456789Z"}`, want: nano},
		{line: `{"log":"at 2020-01-01T00:00:00Z \"time\":\"x\\","stream":"stdout","time":"2026-11-26T03:12:45.123456789Z"}`, want: nano},
		{line: ` { "level" : "info" , "timestamp" : "2026-11-26 03:12:45,123" }`, want: milli},
		{line: `{"@timestamp":"2026-11-26T04:12:45.123+0100"}`, want: milli},
		{line: `{"level":"info","ts":1764211920.5,"msg":"started"}`, want: "2025-11-27T02:52:00.5Z"},
		{line: `{"ts":1764211920}`, want: before},
		{line: `{"ts":1764211920000}`, want: before},
		{line: `{"ts":1764211920500.0,"caller":"main.go:7"}`, want: "2025-11-27T02:52:00.5Z"},
		{line: `{"ts":1.76421192e9}`, want: before},
		{line: `{"ts":1.76421192E+12}`, want: before},
		{line: `{"ts":"1764211920000000000"}`, want: before},
		{line: `{"ts":1764211920`, want: before},
		{line: `{"ts":1064211920123456}`, want: "2003-09-22T06:25:20.123456Z"},
		{line: `{"ts":1764211920.5, "time":"2026-11-26T03:12:45Z","timestamp":"2026-11-26T03:12:46Z","@timestamp":"2026-11-26T03:12:47Z"}`, want: "2026-11-26T03:12:47Z"},
		{line: `{"time":"2026-11-26T03:12:45Z","ts":1764211920}`, want: before},
		{line: `{"ts":1764211920,"time":"2026-11-26T03:12:45Z"}`, want: before},
		{line: `{"time":0.123,"ts":1764211920}`, want: before},
		{line: `{"ts":"n/a","time":"2026-11-26T03:12:45Z"}`, want: second},
		{line: `{"a":{"time":"2020-01-01T00:00:00Z"},"b":[{"ts":1},"]"],"time":"2026-11-26T03:12:45Z"}`, want: second},
		{line: `[pod/cart-1/main] {"ts":1764211920}`, want: before},
		{line: `cart-1 main {"ts":1764211920}`, want: before},
		{line: `{"time":"2026-11-26 04:12:45"}`, zone: "Europe/Berlin", want: second},

		{line: `ts=2026-11-26T03:12:45.123Z caller=main.go:7 msg=started`, want: milli},
		{line: `time="2026-11-26T03:12:45Z" level=info msg=started`, want: second},
		{line: `level=info msg="not ts=2020-01-01T00:00:00Z \" time=1" time=2026-11-26T03:12:45Z`, want: second},
		{line: `level=info time=1764211920 msg=started`, want: before},
		{line: `ts=1764211920 time=2026-11-26T03:12:45Z`, want: before},
		{line: `time=0.12 ts=1764211920.000 msg=started`, want: before},
		{line: `cart-1 main ts=2026-11-26T03:12:45Z msg=started`, want: second},

		{line: ""},
		{line: "started"},
		{line: "10.0.0.7"},
		{line: "10.0.0.7:8080 started"},
		{line: "fd00::2026:1126:312:45 started"},
		{line: "order 1764211920 was shipped"},
		{line: "17642119201 started"},
		{line: "1064211920 an old number"},
		{line: "1796211920 a number of the future"},
		{line: "1764211920: a label"},
		{line: "1764211920-7 an order"},
		{line: "1764211920abc a digest"},
		{line: "1764211920.5.7 a version"},
		{line: "17642119 a short number"},
		{line: "certificate of the proxy expired on 2025-01-01T00:00:00Z"},
		{line: "\tat com.example.Cart.add(Cart.java:42) 2025-01-01T00:00:00Z"},
		{line: "[INFO] 10.0.0.7:4242 - 12345 \"A IN cart.shop.svc.\" NOERROR 0.000123456s"},
		{line: "[INFO] expired 2025-01-01T00:00:00Z"},
		{line: "WARN expired 2025-01-01T00:00:00Z"},
		{line: "cart-1 main expired 2025-01-01T00:00:00Z"},
		{line: "x509: certificate 2025-01-01T00:00:00Z"},
		{line: "a 1 2 3 4 2025-01-01T00:00:00Z"},
		{line: "1 2 3 4 5 2025-01-01T00:00:00Z"},
		{line: "2026-11-26 is a date"},
		{line: "2026-11-26T03:12Z has no seconds"},
		{line: "2026-11-31T03:12:45Z is no date"},
		{line: "2026-11-26T25:12:45Z is no time of day"},
		{line: "2026-11-26T03:12:45+99:00 is no zone"},
		{line: "2026-11-26T03:12:45Zulu"},
		{line: "0001-01-01T00:00:00Z is Go's zero time"},
		{line: "[12345.678901] eth0: link up"},
		{line: "03:12:45 started"},
		{line: "Mon 03:12:45 started"},
		{line: "Nov 31 03:12:45 node-1"},
		{line: "1126 03:12:45.123456 without the letter"},
		{line: "E1326 03:12:45.123456 is no month"},
		{line: "E1126 is an error code"},
		{line: "[INFO] [1764211920] not at the start"},
		{line: "cart2 main 2025-01-01T00:00:00Z"},
		{line: "cart-1 side-car main 2025-01-01T00:00:00Z"},
		{line: "[never closed"},
		{line: "a [ b [ c"},
		{line: "\x1b[90"},
		{line: "<34>"},
		{line: strings.Repeat("long ", 50) + "[26/Nov/2026:03:12:45 +0000]"},
		{line: `{"msg":"started"}`},
		{line: `{"msg":"at 2026-11-26T03:12:45Z"}`},
		{line: `{"order":1764211920}`},
		{line: `{"ts":17642119}`},
		{line: `{"ts":964211920}`},
		{line: `{"ts":-1764211920}`},
		{line: `{"ts":1796211920}`},
		{line: `{"ts":null,"time":{"time":"2026-11-26T03:12:45Z"}}`},
		{line: `{"a":{"time":"2026-11-26T03:12:45Z"}}`},
		{line: `{"time":"0001-01-01T00:00:00Z"}`},
		{line: `{"time`},
		{line: `{"a":"\`},
		{line: `{"a"`},
		{line: `{`},
		{line: `{}`},
		{line: `a {"ts":1764211920}`},
		{line: `msg="ts=1764211920"`},
		{line: `msg="never closed ts=1764211920`},
		{line: `elapsed=1764211920`},
		{line: `=`},
	}
	for _, test := range tests {
		t.Run(test.line+" "+test.zone, func(t *testing.T) {
			loc := location(t, test.zone)
			reader := when.Reader{Location: loc, Now: now}
			got, ok := reader.Time([]byte(test.line))
			if ok != (test.want != "") {
				t.Fatalf("got %v, %t; want %q", got, ok, test.want)
			}
			if ok && (!got.Equal(mustTime(t, test.want)) || got.Location() != loc) {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}

func TestReader_WithoutNow(t *testing.T) {
	var reader when.Reader
	for _, line := range []string{"Nov 26 03:12:45 node-1", "I1126 03:12:45.123456 1", "1764211920 started", `{"ts":1764211920}`} {
		if got, ok := reader.Time([]byte(line)); ok {
			t.Errorf("%q is %v, want none", line, got)
		}
	}
	want := time.Date(2026, 11, 26, 3, 12, 45, 0, time.UTC)
	if got, ok := reader.Time([]byte("2026-11-26 03:12:45 started")); !ok || !got.Equal(want) || got.Location() != time.UTC {
		t.Errorf("got %v, %t; want %v", got, ok, want)
	}
}

// In the first year there is no year before for a date that is still to come.
func TestReader_OfTheFirstYear(t *testing.T) {
	reader := when.Reader{Now: time.Date(1970, 1, 1, 0, 0, 0, 0, time.UTC)}
	if got, ok := reader.Time([]byte("Nov 26 03:12:45 node-1")); ok {
		t.Errorf("got %v, want none", got)
	}
}

var errNone = errors.New("no timestamp")

func TestReader_EachForm(t *testing.T) {
	frames := []string{"%s", "%s started", "[INFO] %s - started", "cart-1 main %s", `{"msg":"a","ts":"%s"}`, `level=info time="%s" msg=a`, "\x1b[90m%s\x1b[0m a"}
	for _, frame := range frames {
		t.Run(frame, func(t *testing.T) {
			read := func(text string, now time.Time) (time.Time, error) {
				if text[0] == '[' && strings.Contains(frame, `"`) {
					text = strings.Trim(text, "[]") // a string has no brackets in it
				}
				reader := when.Reader{Location: now.Location(), Now: now}
				got, ok := reader.Time(fmt.Appendf(nil, frame, text))
				if !ok {
					return got, errNone
				}
				return got, nil
			}
			forms := sharedForms
			if strings.HasPrefix(frame, "[INFO]") || strings.HasPrefix(frame, "cart") {
				forms = forms[:len(forms)-5] // an epoch has no prefix
			}
			checkForms(t, forms, 3000, read)
			checkForms(t, yearlessForms, 363, read)
		})
	}
}

// Text that is cut off, or has a byte changed, is read without a panic.
func TestReader_OfParts(t *testing.T) {
	reader := when.Reader{Now: now, Location: location(t, "Europe/Berlin")}
	for _, log := range logs {
		for end := range len(log.line) {
			reader.Time([]byte(log.line[:end]))
			for _, c := range []byte("0-:[{\"= \x1b\xff") {
				changed := []byte(log.line)
				changed[end] = c
				reader.Time(changed)
			}
		}
	}
}

// logs are lines of logs, and one without a timestamp.
var logs = []struct{ name, line string }{
	{name: "CRI", line: "2026-11-26T03:12:45.123456789Z stdout F started the server on 10.0.0.7:8080 in 42 ms"},
	{name: "java", line: "2026-11-26 03:12:45,123 INFO [main] com.example.Cart - started the server on 10.0.0.7:8080"},
	{name: "klog", line: `I1126 03:12:45.123456    1234 kubelet.go:42] "SyncLoop (PLEG)" pod="shop/cart-1" event={"ID":"0b5c"}`},
	{name: "access", line: `10.0.0.7 - - [26/Nov/2026:03:12:45 +0000] "GET /api/v1/carts/7 HTTP/1.1" 200 42 "-" "Go-http-client/2.0"`},
	{name: "syslog", line: "<34>Nov 26 03:12:45 node-1 kubelet[42]: started the server on 10.0.0.7:8080"},
	{name: "json", line: `{"level":"info","ts":1764211920.123456,"caller":"main.go:42","msg":"started the server on 10.0.0.7:8080"}`},
	{name: "docker", line: `{"log":"GET /api/v1/carts/7 HTTP/1.1 \"200\" 42 from 10.0.0.7\n","stream":"stdout","time":"2026-11-26T03:12:45.123456789Z"}`},
	{name: "logfmt", line: `ts=2026-11-26T03:12:45.123Z caller=main.go:42 level=info msg="started the server on 10.0.0.7:8080"`},
	{name: "stern", line: "cart-7d9f-x2x main 2026-11-26T03:12:45Z started the server on 10.0.0.7:8080"},
	{name: "epoch", line: "1764211920.123     45 10.0.0.7 TCP_MISS/200 4242 GET http://cart.shop/ - DIRECT/10.0.0.8 text/html"},
	{name: "none", line: "\tat com.example.shop.cart.Cart.add(Cart.java:42) ~[cart.jar!/:1.2.3] from 10.0.0.7 [again]"},
}

func TestReader_DoesNotAllocate(t *testing.T) {
	reader := when.Reader{Now: now, Location: location(t, "Europe/Berlin")}
	for _, log := range logs {
		line := []byte(log.line)
		if _, ok := reader.Time(line); ok != (log.name != "none") {
			t.Errorf("%s: has a timestamp: %t", log.name, ok)
		}
		if n := testing.AllocsPerRun(100, func() { reader.Time(line) }); n != 0 {
			t.Errorf("%s: %v allocations a line, want none", log.name, n)
		}
	}
}

func BenchmarkReader(b *testing.B) {
	for _, zone := range []string{"UTC", "Europe/Berlin"} {
		reader := when.Reader{Now: now, Location: location(b, zone)}
		for _, log := range logs {
			b.Run(log.name+"/"+strings.ReplaceAll(zone, "/", "-"), func(b *testing.B) {
				line := []byte(log.line)
				b.ReportAllocs()
				for b.Loop() {
					reader.Time(line)
				}
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "lines/s")
			})
		}
	}
}

func BenchmarkParse(b *testing.B) {
	for _, text := range []string{"03:12", "2026-11-26T03:12:45Z", "03:12 Europe/Berlin", "soon"} {
		b.Run(text, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, _ = when.Parse(text, now)
			}
		})
	}
}

func FuzzReader(f *testing.F) {
	for _, log := range logs {
		f.Add([]byte(log.line))
	}
	for _, line := range []string{
		"[Thu Nov 26 03:12:45.123456 2026] [core:notice]", "\x1b[36mINFO\x1b[0m[2026-11-26T03:12:45Z] a", "1.7642119205e+09\tINFO",
		`{"a":{"b":["\"]"]},"time":"2026-11-26 03:12:45,123"}`, `level=info msg="a \" b" time=1764211920`, "1:M 26 Nov 2026 03:12:45.123 * a",
	} {
		f.Add([]byte(line))
	}
	utc, local := when.Reader{Now: now}, when.Reader{Now: now, Location: location(f, "Europe/Berlin")}
	f.Fuzz(func(t *testing.T, line []byte) {
		original := string(line)
		got, ok := utc.Time(line)
		inLocal, okLocal := local.Time(line)
		if string(line) != original {
			t.Fatalf("%q was changed to %q", original, line)
		}
		if !ok {
			if !got.IsZero() {
				t.Errorf("%q is %v, and no time", line, got)
			}
			return
		}
		if got.Year() < 1969 || got.Year() > 2200 {
			t.Errorf("%q is %v", line, got)
		}
		// The zones are an hour or two apart, or the line has one. An epoch and a year may be on the edge of what is read.
		if difference := got.Sub(inLocal); okLocal && difference != 0 && difference.Abs() > 2*time.Hour && difference.Abs() < 300*24*time.Hour {
			t.Errorf("%q is %v, and %v in Berlin", line, got, inLocal)
		}
		again, ok := utc.Time([]byte(got.Format(time.RFC3339Nano) + " " + original))
		if ok != (got.Year() >= 1970 && got.Year() <= 2199) || ok && !again.Equal(got) {
			t.Errorf("%v was read as %v, %t", got, again, ok)
		}
	})
}
