package lookup

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/weiyuanke/PodInfoLookup/internal/index"
	"github.com/weiyuanke/PodInfoLookup/internal/printable"
	"github.com/weiyuanke/PodInfoLookup/internal/query"
)

//go:embed page
var pageFiles embed.FS

var pageTemplates = template.Must(template.New("").Funcs(template.FuncMap{"parts": parts}).ParseFS(pageFiles, "page/*.html"))

// endOfPart matches where a name may be broken, as in app.js.
var endOfPart = regexp.MustCompile(`[-./:]|[a-z][A-Z]`)

// parts returns the parts of a name, between which a line may end.
func parts(name string) []string {
	var list []string
	from := 0
	for _, at := range endOfPart.FindAllStringIndex(name, -1) {
		list, from = append(list, name[from:at[0]+1]), at[0]+1
	}
	return append(list, name[from:])
}

// contentPolicy lets the page load files of this server only. With trusted types a browser
// does not interpret text as markup or code, so that labels and images cannot inject any.
const contentPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'self'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

// assets are the content types of the files that the page loads.
var assets = map[string]string{
	"style.css": "text/css; charset=utf-8",
	"app.js":    "text/javascript; charset=utf-8",
	"icon.svg":  "image/svg+xml",
}

// assetHandler serves the files of the page under /assets/.
func assetHandler() http.Handler {
	mux := http.NewServeMux()
	for name, contentType := range assets {
		content, err := pageFiles.ReadFile(path.Join("page", name))
		if err != nil {
			panic(fmt.Sprintf("lookup: %v", err)) // it is not embedded
		}
		// Browsers must revalidate each time, because an upgrade changes all files at once.
		sum := sha256.Sum256(content)
		tag := `"` + hex.EncodeToString(sum[:16]) + `"`
		mux.HandleFunc("GET /assets/"+name, func(w http.ResponseWriter, r *http.Request) {
			secure(w.Header(), contentType)
			w.Header().Set("Cache-Control", "no-cache")
			w.Header().Set("Etag", tag)
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
		})
	}
	return mux
}

func secure(h http.Header, contentType string) {
	h.Set("Content-Type", contentType)
	h.Set("Content-Security-Policy", contentPolicy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
}

// pageKeys are the parameters in the address of the page. Others are ignored.
var pageKeys = []string{"q", "by", "state", "phase", "namespace", "node", "sort", "desc", "page", "pod", "at", "since", "until", "cluster"}

// pageParams is the address of the page.
type pageParams struct{ url.Values }

// With returns the address with another value of key, on the first page without a Pod.
func (p pageParams) With(key, value string) string {
	next := url.Values{}
	for k := range p.Values {
		if k != "page" && k != "pod" && k != key {
			next.Set(k, p.Get(k))
		}
	}
	if key == "pod" && p.Get("page") != "" {
		next.Set("page", p.Get("page"))
	}
	if value != "" {
		next.Set(key, value)
	}
	return "?" + next.Encode()
}

// Sort returns the address of the list in another order, or in the opposite one.
func (p pageParams) Sort(key string) string {
	next := pageParams{url.Values{}}
	for k := range p.Values {
		next.Set(k, p.Get(k))
	}
	next.Del("page")
	next.Del("desc")
	if p.Get("sort") == key && p.Get("desc") == "" {
		next.Set("desc", "true")
	}
	return next.With("sort", key)
}

// Arrow returns the value of aria-sort.
func (p pageParams) Arrow(key string) string {
	switch {
	case p.Get("sort") != key:
		return "none"
	case p.Get("desc") != "":
		return "descending"
	}
	return "ascending"
}

// IsFirstView reports whether the address selects nothing.
func (p pageParams) IsFirstView() bool {
	return !slices.ContainsFunc(pageKeys, func(key string) bool { return key != "pod" && key != "page" && p.Get(key) != "" })
}

// pageData is the data of the template. The rows are there for readers without
// JavaScript, and until a browser has its own.
type pageData struct {
	Version, Cluster, Address string
	Params                    pageParams
	Hidden                    []string // parameters that the form keeps
	States                    []string
	Columns                   []pageColumn
	Problem                   string
	AsOf                      string
	Heading, Reading          string
	Notes                     []string
	Summary                   summary
	Rows                      []pageRow
	Previous, Next            string
	Detail                    *pageDetail
	HasHistory                bool
	Past                      *pagePast // nil for the present
	Timeline                  *timeline
}

type pageColumn struct{ Key, Name string }

var pageColumns = []pageColumn{{"pod", "Pod"}, {"ip", "IP"}, {"node", "Node"}, {"status", "Status"}, {"workload", "Workload"}, {"age", "Age"}}

// pageRow is a Pod in the list. Its texts are printable.
type pageRow struct {
	Key, Name, Namespace, Node, State, Status, How, Workload, Age, Created, Note, Address string

	From, To string // in the past
	IPs      []string
	Live     bool
}

// pageDetail is the Pod that the address names.
type pageDetail struct {
	Key, State, Status, How, Close string
	Facts                          [][2]string
	Labels                         [][2]string
	Links                          []PodLink
	Timeline                       *timeline
}

const pageTime = "2006-01-02 15:04:05 UTC"

// page serves the page with the list and the Pod of its address. Its addresses are
// relative, so that it works below a path of a proxy.
func (l *Lookup) page(w http.ResponseWriter, r *http.Request) {
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	data := pageData{
		Version: l.config.Version, Cluster: l.config.ClusterName, Address: scheme + "://" + r.Host + "/",
		Params: pageParams{url.Values{}}, States: append([]string{stateUnwell}, states...), Columns: pageColumns, Heading: "Pods",
		HasHistory: l.config.History != nil,
	}
	given := r.URL.Query()
	for _, key := range pageKeys {
		if value := given.Get(key); value != "" {
			data.Params.Set(key, value)
		}
	}
	if err := l.Synced(); err != nil {
		data.Problem = err.Error()
	} else if data.isPast() {
		l.fillPast(r, &data)
	} else {
		l.confirm.ifOld(r.Context())
		l.fill(r, &data)
	}
	for _, key := range []string{"sort", "desc", "phase", "since", "until", "cluster"} {
		if data.Params.Get(key) != "" {
			data.Hidden = append(data.Hidden, key)
		}
	}
	sendPage(w, http.StatusOK, "index.html", data)
}

func sendPage(w http.ResponseWriter, status int, name string, data any) {
	var out bytes.Buffer
	if err := pageTemplates.ExecuteTemplate(&out, name, data); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	secure(w.Header(), "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(out.Bytes()) // the caller is gone
}

// missing answers a browser that asks for a path that does not exist.
func missing(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Vary", "Accept")
	root := "./" + strings.Repeat("../", strings.Count(r.URL.Path, "/")-1)
	sendPage(w, http.StatusNotFound, "missing.html", struct{ Root, Path string }{root, printable.Text(r.URL.Path)})
}

// fill searches for what the address names.
func (l *Lookup) fill(r *http.Request, data *pageData) {
	params := url.Values{}
	for key := range data.Params.Values {
		if key != "pod" && (key != "by" || data.Params.Get("q") != "") {
			params.Set(key, data.Params.Get(key))
		}
	}
	if data.Params.IsFirstView() {
		params.Set("sort", "attention")
	}
	// Each answer has a review of its own: one for all could leave out the namespaces of
	// the list, because the rights in few of many are reviewed.
	status, refusal := l.tryWithin(r, func(s *scope) { data.Summary = l.count(s, index.Query{}, "") })
	if status != http.StatusOK {
		data.Problem = refusal
		return
	}
	var result searchResult
	var err error
	status, refusal = l.tryWithin(r, func(s *scope) { result, err = l.runSearch(s, params) })
	switch {
	case status != http.StatusOK:
		data.Problem = refusal
		return
	case err != nil:
		data.Problem = err.Error()
		return
	}
	l.addFormerly(r, &result, params)
	data.fillList(&result)
	data.AsOf = "as of " + time.Now().Add(-time.Duration(result.AgeSeconds*float64(time.Second))).UTC().Format(pageTime)
	var notes bytes.Buffer
	result.Cluster = "" // it is in the heading
	result.notes(&notes)
	data.Notes = strings.Split(strings.TrimSpace(notes.String()), "\n")
	if key := data.Params.Get("pod"); key != "" {
		data.Detail = l.detail(r, key)
		data.Detail.Close = data.Params.With("pod", "")
	}
}

// detail returns what the page shows of the Pod of a key.
func (l *Lookup) detail(r *http.Request, key string) *pageDetail {
	d := &pageDetail{Key: printable.Text(key), Status: "There is no such Pod."}
	term, err := query.ParseAs(query.Key, key)
	if err != nil {
		return d
	}
	var list podList
	status, refusal := l.tryWithin(r, func(s *scope) { list = l.find(s, index.Query{Terms: []query.Term{term}, Limit: 1}) })
	switch {
	case status != http.StatusOK:
		d.Status = refusal
	case len(list.found) > 0:
		p := podOf(list.found[0], nil)
		p.Links = linksOf(l.config.Links, list.found[0], l.config.ClusterName)
		d.fill(&p)
		d.Timeline = l.timelineOf(r, p.PodIP, d.Key)
	}
	return d
}

func (d *pageData) fillList(result *searchResult) {
	number, _ := strconv.Atoi(d.Params.Get("page"))
	first := max(0, number-1) * defaultLimit
	d.Heading = fmt.Sprint(result.Total, " Pods")
	if len(result.found) > 0 && (first > 0 || result.more) {
		d.Heading = fmt.Sprintf("%d–%d of %d Pods", first+1, first+len(result.found), result.Total)
	}
	if result.Address != nil {
		d.Reading = printable.Text(result.Address.Text) + ". "
	}
	var past bytes.Buffer
	result.formerly.text(&past)
	if past.Len() > 0 {
		d.Reading += strings.TrimSpace(past.String()) + ". "
	}
	if result.Q != "" {
		d.Reading += "Read as: " + result.ReadAs + "."
	}
	if result.Ambiguous {
		d.Reading += " Ambiguous: see the notes."
	}
	if first > 0 {
		d.Previous = d.Params.With("page", strconv.Itoa(number-1))
	}
	if result.more {
		d.Next = d.Params.With("page", strconv.Itoa(max(1, number)+1))
	}
	for _, t := range result.found {
		p := podOf(t, result.terms)
		row := newPageRow(&p)
		row.Address = d.Params.With("pod", p.PodKey)
		d.Rows = append(d.Rows, row)
	}
}

func newPageRow(p *Pod) pageRow {
	row := pageRow{
		Key: p.PodKey, Name: printable.Text(p.PodName), Namespace: printable.Text(p.Namespace), Node: printable.Text(p.NodeName), State: p.State,
		Status: printable.Text(p.Status), How: p.how(), Workload: printable.Text(p.workload()), Age: p.age(), Note: p.Note, Live: p.Live,
	}
	if !p.CreatedAt.IsZero() {
		row.Created = p.CreatedAt.UTC().Format(pageTime)
	}
	for _, ip := range p.PodIPs {
		row.IPs = append(row.IPs, printable.Text(ip))
	}
	return row
}

// how returns READY and RESTARTS where something may be wrong.
func (p *Pod) how() string {
	var words []string
	if ready, all, _ := strings.Cut(p.ReadyContainers, "/"); p.Phase == "Running" && ready != all {
		words = append(words, fmt.Sprintf("%s of %s ready", ready, all))
	}
	if p.Restarts > 0 {
		words = append(words, fmt.Sprint(p.Restarts, " restarts"))
	}
	return strings.Join(words, ", ")
}

func (d *pageDetail) fill(p *Pod) {
	d.State, d.Status, d.How, d.Links = p.State, printable.Text(p.Status), p.how(), p.Links
	onePod{Pod: *p}.rows(func(name, value string) { d.Facts = append(d.Facts, [2]string{name, printable.Text(value)}) })
	for _, command := range []string{"logs -f", "describe pod", "exec -it"} {
		text := fmt.Sprintf("kubectl -n %s %s %s", p.Namespace, command, p.PodName)
		if command == "exec -it" {
			text += " -- sh"
		}
		d.Facts = append(d.Facts, [2]string{"command", printable.Text(text)})
	}
	for key, value := range p.Labels {
		d.Labels = append(d.Labels, [2]string{printable.Text(key), printable.Text(value)})
	}
	slices.SortFunc(d.Labels, func(a, b [2]string) int { return strings.Compare(a[0], b[0]) })
}
