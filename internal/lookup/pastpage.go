package lookup

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/weiyuanke/PodInfoLookup/internal/history"
	"github.com/weiyuanke/PodInfoLookup/internal/printable"
	"github.com/weiyuanke/PodInfoLookup/internal/query"
)

// maxTimeline bounds the holders in the timeline of an IP, the latest of which are shown.
const maxTimeline = 50

// pagePast is the state of a page about the past. The server draws it, with JavaScript and
// without.
type pagePast struct {
	AsOf, Now, Address string
	Edges              []string
}

var pastColumns = []pageColumn{
	{"pod", "Pod"}, {"ip", "IP"}, {"node", "Node"}, {"status", "Last status"}, {"workload", "Workload"}, {"from", "From"}, {"to", "To"},
}

// timeline is the holders of an IP over the record, the latest first.
type timeline struct {
	IP    string
	More  bool // there are earlier ones
	Items []timelineItem
	Notes []string // what is not known
}

// timelineItem is a holder and its bar: X and Width are its certain interval, MayX and
// MayWidth also what is uncertain, in 1000ths of the record.
type timelineItem struct {
	Pod, From, To, Address   string
	X, Width, MayX, MayWidth int64
	IsThis                   bool // the Pod that is shown
}

func (d *pageData) isPast() bool {
	return d.Params.Get("at") != "" || d.Params.Get("since") != "" || d.Params.Get("until") != ""
}

// fillPast answers what the address asks of the past.
func (l *Lookup) fillPast(r *http.Request, data *pageData) {
	for _, key := range []string{"state", "phase", "sort", "desc", "page"} { // the past has none of them
		data.Params.Del(key)
	}
	data.Columns, data.Heading = pastColumns, "Pods"
	now := url.Values{}
	for key := range data.Params.Values {
		if key != "at" && key != "since" && key != "until" && key != "cluster" {
			now.Set(key, data.Params.Get(key))
		}
	}
	data.Past = &pagePast{AsOf: "not now", Now: "?" + now.Encode()}
	q, _, err := l.parsePast(data.Params.Values)
	if err == nil && q.Since.IsZero() {
		err = errNoHistory // not with History: isPast
	}
	if err != nil {
		data.Problem = err.Error()
		return
	}
	data.fillPeriod(&q)
	if data.Params.Get("q") == "" {
		data.Params.Del("by")
	}
	list := q
	if err := list.setSearch(data.Params.Values); err != nil {
		data.Problem = err.Error()
	} else if len(list.readings[0]) > 0 || data.Params.Get("pod") == "" {
		l.fillPastList(r, data, list)
	}
	if key := data.Params.Get("pod"); key != "" {
		data.Detail = l.pastDetail(r, data.Past, q, key)
		data.Detail.Close = data.Params.With("pod", "")
	}
}

// fillPeriod makes times absolute, so that the address stays right.
func (d *pageData) fillPeriod(q *pastQuestion) {
	const shown = "2 Jan 2006 15:04:05.999 UTC"
	set := func(key string, t time.Time) { d.Params.Set(key, t.UTC().Format(time.RFC3339Nano)) }
	if q.isMoment {
		set("at", q.Since)
		d.Past.AsOf = "as of " + q.Since.Format(shown)
	} else {
		set("since", q.Since)
		set("until", q.Until)
		d.Past.AsOf = "from " + q.Since.Format(shown) + " to " + q.Until.Format(shown)
	}
	d.AsOf = d.Past.AsOf
	d.Past.Address = "?" + d.Params.Encode()
}

func (l *Lookup) fillPastList(r *http.Request, data *pageData, q pastQuestion) {
	result, _, err := l.askPast(r, q)
	if err != nil {
		data.Problem = err.Error()
		return
	}
	data.Past.Edges = printableAll(result.edges())
	data.Heading = fmt.Sprint(len(result.Result.Items), " Pods")
	if result.Error != "" {
		data.Reading = printable.Text(result.Error) + "."
	} else if result.ReadAs != "" {
		data.Reading = "Read as: " + result.ReadAs + "."
	}
	for i := range result.Result.Items {
		item := &result.Result.Items[i]
		row := newPageRow(&Pod{TestcrSpec: item.TestcrSpec, State: stateOf(&item.TestcrSpec), Note: result.doubt(item), Live: item.Certain})
		row.From, row.To = result.bounds(item)
		row.Age, row.Address = "", data.Params.With("pod", item.PodKey)
		data.Rows = append(data.Rows, row)
	}
	for _, t := range result.terms {
		if t.Kind == query.IP && data.Params.Get("pod") == "" { // the Pod has a timeline of its own
			data.Timeline = l.timelineOf(r, t.Text, "")
		}
	}
}

// pastDetail returns what the page shows of the Pod of a key in the past.
func (l *Lookup) pastDetail(r *http.Request, page *pagePast, q pastQuestion, key string) *pageDetail {
	d := &pageDetail{Key: printable.Text(key)}
	term, err := query.ParseAs(query.Key, key)
	if err != nil {
		d.Status = err.Error()
		return d
	}
	q.readings = [][]query.Term{{term}}
	result, _, err := l.askPast(r, q)
	if err == nil && len(page.Edges) == 0 {
		page.Edges = printableAll(result.edges())
	}
	switch {
	case err != nil:
		d.Status = err.Error()
	case result.Error != "":
		d.Status = printable.Text(result.Error)
	default:
		item := &result.Result.Items[0]
		p := podOf(&item.TestcrSpec, nil)
		p.Note = result.doubt(item)
		d.fill(&p)
		from, to := result.bounds(item)
		d.Facts = slices.DeleteFunc(d.Facts, func(fact [2]string) bool { // of the present
			return fact[0] == "age" || fact[0] == "command"
		})
		d.Facts = append([][2]string{{"from", from}, {"to", to}}, d.Facts...)
		d.Status = "last status: " + d.Status
		d.Timeline = l.timelineOf(r, item.PodIP, d.Key)
	}
	return d
}

// timelineOf returns the holders of an IP over the whole record, or nil without a record.
func (l *Lookup) timelineOf(r *http.Request, ip, pod string) *timeline {
	term, err := query.ParseAs(query.IP, ip)
	if l.config.History == nil || err != nil {
		return nil
	}
	q := pastQuestion{readings: [][]query.Term{{term}}}
	q.Since, q.Until, q.Limit, q.Clusters = time.Unix(0, 0), time.Now(), maxTimeline, []string{l.config.ClusterName}
	result, _, err := l.askPast(r, q)
	t := &timeline{IP: term.Text}
	switch {
	case err != nil:
		t.Notes = []string{printable.Text(err.Error())}
		return t
	case len(result.Records) == 0 || result.Records[0].Ends.Unix() <= 0:
		t.Notes = []string{"nothing is recorded yet"}
		return t
	}
	record := &result.Records[0]
	t.More = result.More
	result.More, result.Since = false, record.Begins // each question for all of the record reaches before it
	t.Notes = printableAll(result.edges())
	t.Notes = t.Notes[:len(t.Notes)-1] // the zone of times is on the page
	begins := record.Begins
	for i := range result.Result.Items {
		if from := result.Result.Items[i].From; from.Before(begins) {
			begins = from
		}
	}
	for i := range result.Result.Items {
		t.Items = append(t.Items, newTimelineItem(result, &result.Result.Items[i], begins, record.Ends, pod))
	}
	return t
}

func newTimelineItem(result *past, item *history.Item, begins, ends time.Time, pod string) timelineItem {
	scale := func(t, absent time.Time) int64 {
		if t.IsZero() {
			t = absent
		}
		if t.Before(begins) {
			t = begins
		}
		return min(1000, int64(1000*t.Sub(begins).Seconds()/max(1, ends.Sub(begins).Seconds())))
	}
	from, to := result.bounds(item)
	at := url.Values{"q": {item.PodUID}, "by": {string(query.UID)}, "at": {item.From.Format(time.RFC3339Nano)}}
	t := timelineItem{Pod: printable.Text(item.PodKey), From: from, To: to, Address: "?" + at.Encode(), IsThis: printable.Text(item.PodKey) == pod}
	t.X = scale(item.From, begins)
	t.MayX = scale(item.FromEarliest, item.From)
	latest := item.To
	if !item.ToLatest.IsZero() {
		latest = item.ToLatest
	}
	const least = 4 // so that a short one is seen
	t.Width, t.MayWidth = scale(item.To, ends)-t.X, max(least, scale(latest, ends)-t.MayX)
	if !item.IsOpen() && !item.From.Before(item.To) {
		t.Width = 0 // never certain
	} else {
		t.Width = max(least, t.Width)
	}
	return t
}

// Label returns the holder in words.
func (t timelineItem) Label() string { return t.From + " to " + t.To }

func (t *timeline) Heading() string {
	return "Who had " + t.IP + ": " + strconv.Itoa(len(t.Items)) + " in the record"
}

func printableAll(lines []string) []string {
	for i := range lines {
		lines[i] = printable.Text(lines[i])
	}
	return lines
}
