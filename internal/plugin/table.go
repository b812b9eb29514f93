package plugin

import (
	"fmt"
	"io"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/internal/printable"
	"github.com/weiyuanke/PodInfoLookup/internal/query"
)

// rankCompleted is a result of query.Rank.
const rankCompleted = 2

// table prints rows for people: as columns, or on a terminal one Pod as a card. What is
// too wide for the terminal loses its least useful columns.
type table struct {
	out, errOut io.Writer
	width       func() int // of the terminal, 0 without a bound
	card        *card      // for one Pod, nil if it is a row of the table
	noHeaders   bool
	wide        bool
	events      bool
	cluster     bool // there is a column for it
	labels      bool // the same
	color       bool

	columns []string // all, nil before the first rows
	full    widths   // of all rows so far
	short   widths   // the same, of the shortened values
	last    *layout  // of the last rows
}

// widths contains the widths of columns by their names.
type widths map[string]int

// layout is how rows fit on a terminal.
type layout struct {
	columns []string
	padding int
	isShort bool   // values are shortened
	isBelow bool   // notes have lines of their own
	limits  widths // at which values are cut
}

func newTable(o *options) *table {
	terminal := terminalOf(o.Out)
	t := &table{
		out: o.Out, errOut: o.ErrOut, width: func() int { return columnsOf(terminal) },
		wide: o.output == wideFormat, noHeaders: o.noHeaders, events: o.events, cluster: o.asksSeveral(), labels: o.showLabels,
		color: allowsColor(o.Out), full: widths{}, short: widths{},
	}
	if o.output == "" && !o.noHeaders && terminal != nil {
		t.card = newCard(o)
	}
	return t
}

// The columns of a table in their order. NOTE follows if a row has one.
var (
	columns = []string{"Namespace", "Name", statusColumn, "Ready", "Restarts", "IP", "Node", "Workload", "Age"}
	// pastColumns are those of the past, in which a Pod has no age.
	pastColumns = []string{"Namespace", "Name", "From", "To", "IP", "Node", "Workload", lastColumn}
	wideColumns = []string{"Host-IP", "Service-Account", "UID", "Containers"}
)

// The columns that a narrow terminal shows as far as they fit, the most useful first. All
// others are always there.
var (
	byUse     = []string{lastColumn, "Ready", "Node", "IP", "Restarts", "Age", "Workload"}
	byUseWide = []string{lastColumn, "Ready", "Node", "IP", "UID", "Restarts", "Host-IP", "Age", "Containers", "Service-Account", "Workload"}
)

const (
	statusColumn = "Status"
	lastColumn   = "Last-Status" // that a Pod of the past had
	noteColumn   = "Note"        // if a row has a note
	labelsColumn = "Labels"
)

// cutFirst are the columns that are always there, in the order in which they are cut on a
// terminal that is too narrow even for these.
var cutFirst = []string{"Query", "Cluster", statusColumn, "Namespace", "Name"}

func (p *table) print(rows []row, s shape) error {
	if p.card != nil && len(rows) == 1 && !s.several && !s.watch {
		return p.card.print(rows, s)
	}
	if p.columns == nil {
		p.columns = p.columnsFor(rows, s)
	}
	if len(rows) == 0 {
		return nil
	}
	cells := make([]map[string]string, len(rows))
	for i := range rows {
		cells[i] = map[string]string{}
		for _, column := range p.columns {
			cells[i][column] = printable.Text(cell(column, rows[i], p.wide))
		}
		p.measure(cells[i])
	}
	width := p.width()
	fitted := p.fit(width)
	var text strings.Builder
	if p.last == nil || p.last.isShort != fitted.isShort || !slices.Equal(p.last.columns, fitted.columns) {
		p.writeHeader(&text, fitted)
	}
	p.last = &fitted
	for i := range rows {
		p.writeRow(&text, fitted, rows[i], cells[i], width)
	}
	_, err := io.WriteString(p.out, text.String())
	return err
}

// measure widens the columns for the cells of a row.
func (p *table) measure(cells map[string]string) {
	for column, value := range cells {
		least := 0
		if !p.noHeaders {
			least = len(column)
		}
		p.full[column] = max(p.full[column], widthOf(value), least)
		p.short[column] = max(p.short[column], widthOf(shortened(column, value)), least)
	}
}

// columnsFor returns the columns of a table that begins with rows.
func (p *table) columnsFor(rows []row, s shape) []string {
	all := slices.Clone(columns)
	if s.past {
		all = slices.Clone(pastColumns)
	}
	if p.wide {
		all = append(all, wideColumns...)
	}
	if s.several {
		all = slices.Insert(all, 0, "Query")
	}
	if p.events {
		all = slices.Insert(all, 0, "Event")
	}
	if p.cluster || s.past && slices.ContainsFunc(rows, func(r row) bool { return r.cluster != "" }) {
		all = slices.Insert(all, 0, "Cluster")
	}
	if s.watch || slices.ContainsFunc(rows, func(r row) bool { return note(r) != "" }) {
		all = append(all, noteColumn)
	}
	if p.labels {
		all = append(all, labelsColumn)
	}
	return all
}

// fit returns the layout for a terminal of this width. Notes move below their rows before
// a value is shortened, and values are shortened before columns are left out.
func (p *table) fit(width int) layout {
	all := layout{columns: p.columns, padding: padding}
	if width == 0 || p.full.of(all.columns, padding) <= width {
		return all
	}
	isNote := func(column string) bool { return column == noteColumn }
	all.columns, all.isBelow = slices.DeleteFunc(slices.Clone(p.columns), isNote), true
	if p.full.of(all.columns, padding) <= width {
		return all
	}
	optional := byUse
	if p.wide {
		optional = byUseWide
	}
	shown := map[string]bool{}
	columns := func() []string {
		return slices.DeleteFunc(slices.Clone(all.columns), func(column string) bool {
			return slices.Contains(optional, column) && !shown[column]
		})
	}
	for _, column := range optional {
		shown[column] = true
		if p.short.of(columns(), narrowPadding) > width {
			delete(shown, column)
		}
	}
	fitted := layout{columns: columns(), padding: narrowPadding, isShort: true, isBelow: true, limits: widths{}}
	const least = 8
	left := maps.Clone(p.short)
	for _, column := range cutFirst {
		if over := left.of(fitted.columns, narrowPadding) - width; over > 0 && slices.Contains(fitted.columns, column) {
			left[column] = min(left[column], max(least, left[column]-over))
			fitted.limits[column] = left[column]
		}
	}
	return fitted
}

// of returns the width of a line of columns.
func (w widths) of(columns []string, padding int) int {
	width := 0
	for i, column := range columns {
		if i < len(columns)-1 {
			width += padded(w[column], padding)
		} else {
			width += w[column]
		}
	}
	return width
}

// Spaces between columns: as many as kubectl has, or fewer.
const (
	padding       = 3
	narrowPadding = 2
)

// padded returns the width of a column that another one follows.
func padded(width, padding int) int {
	const least = 6 // as in kubectl
	return max(least, width+padding)
}

// widthOf returns the width of a column in a layout.
func (p *table) widthOf(l layout, column string) int {
	width := p.full[column]
	if l.isShort {
		width = p.short[column]
	}
	if limit, ok := l.limits[column]; ok {
		return min(width, limit)
	}
	return width
}

// writeHeader writes the names of columns. Standard error reports those that do not fit.
func (p *table) writeHeader(text *strings.Builder, l layout) {
	var missing []string
	for _, column := range p.columns {
		if !slices.Contains(l.columns, column) && column != noteColumn {
			missing = append(missing, strings.ToUpper(column))
		}
	}
	if len(missing) > 0 {
		fmt.Fprintf(p.errOut, "note: too narrow for %s: -o json has all\n", strings.Join(missing, ", "))
	}
	if !p.noHeaders {
		p.writeLine(text, l, bold, strings.ToUpper, "")
	}
}

// writeRow writes a row. Completed Pods are dim, so that running ones stand out.
func (p *table) writeRow(text *strings.Builder, l layout, r row, cells map[string]string, width int) {
	ofRow := ""
	if r.held == nil && query.Rank(&r.testcr.Spec) == rankCompleted || r.event == eventDeleted {
		ofRow = dim
	}
	value := func(column string) string {
		if l.isShort {
			return shortened(column, cells[column])
		}
		return cells[column]
	}
	p.writeLine(text, l, ofRow, value, statusStyle(&r.testcr.Spec))
	if l.isBelow && cells[noteColumn] != "" {
		const indent, label = "  ", "  NOTE: "
		lines := wrap(cells[noteColumn], width-len(label))
		for i, line := range lines {
			before := label
			if i > 0 {
				before = indent + indent
			}
			text.WriteString(styled(p.color, ofRow, before+cut(line, width-len(label))) + "\n")
		}
	}
}

// writeLine writes a line of a table. The style is that of all columns but STATUS.
func (p *table) writeLine(out *strings.Builder, l layout, style string, value func(column string) string, ofStatus string) {
	var line strings.Builder
	for i, column := range l.columns {
		width := p.widthOf(l, column)
		text := cut(value(column), width)
		if column == statusColumn && ofStatus != "" && p.color {
			line.WriteString(styled(true, ofStatus, text) + begin(style))
		} else {
			line.WriteString(text)
		}
		if i < len(l.columns)-1 {
			line.WriteString(strings.Repeat(" ", padded(width, l.padding)-widthOf(text)))
		}
	}
	out.WriteString(styled(p.color, style, line.String()) + "\n")
}

// maxShort bounds a shortened value, so that one Pod does not take the columns of all.
const maxShort = 40

// shortened returns a value in the form for a terminal that is too narrow for all of it.
func shortened(column, value string) string {
	switch column {
	case "Node":
		value = firstLabel(value)
	case "UID":
		value = firstDigits(value)
	case "Containers":
		if first, rest, ok := strings.Cut(value, ","); ok {
			value = fmt.Sprintf("%s+%d", first, strings.Count(rest, ",")+1)
		}
	case "Namespace", "Name", noteColumn:
		return value
	}
	return cut(value, maxShort)
}

func cell(column string, r row, wide bool) string {
	s := &r.testcr.Spec
	value := ""
	switch column {
	case "Cluster":
		value = r.cluster
	case "Event":
		value = r.event
	case "Query":
		value = r.query
	case "Namespace":
		value = s.Namespace
	case "Name":
		value = s.PodName
	case statusColumn, lastColumn:
		value = statusOf(s)
	case "From":
		return r.held.from
	case "To":
		return r.held.to
	case "IP":
		value = ipOf(r, wide)
	case "Node":
		value = s.NodeName
	case "Workload":
		if s.WorkloadName != "" {
			value = strings.ToLower(s.WorkloadKind) + "/" + s.WorkloadName
		}
	case "Age":
		return printable.Age(s.CreatedAt.Time)
	case "Ready":
		value = s.ReadyContainers
	case "Restarts":
		value = strconv.FormatInt(s.Restarts, 10)
	case "Host-IP":
		value = s.HostIP
	case "Service-Account":
		value = s.ServiceAccount
	case "UID":
		value = s.PodUID
	case "Containers":
		var names []string
		for i := range s.Containers {
			names = append(names, s.Containers[i].Name)
		}
		value = strings.Join(names, ",")
	case labelsColumn:
		value = labelsOf(s.Labels)
	case noteColumn:
		return note(r)
	}
	return printable.OrNone(value)
}

// ipOf returns the IP in the question or the first one, or all in wide output.
func ipOf(r row, wide bool) string {
	if wide {
		return strings.Join(ipsOf(&r.testcr.Spec), ",")
	}
	if r.term.Kind == query.IP {
		for _, ip := range ipsOf(&r.testcr.Spec) {
			if addr, err := netip.ParseAddr(ip); err == nil && query.Canonical(addr) == r.term.Addr {
				return ip
			}
		}
	}
	return r.testcr.Spec.PodIP
}

// ipsOf returns the IPs of a Pod in all networks.
func ipsOf(s *v1.TestcrSpec) []string {
	ips := s.PodIPs
	for i := range s.NetworkIPs {
		ips = append(slices.Clip(ips), s.NetworkIPs[i].IP)
	}
	return ips
}

// labelsOf returns labels as kubectl shows them. Those that do not fit are counted.
func labelsOf(labels map[string]string) string {
	const longest = 512
	var text strings.Builder
	for i, key := range slices.Sorted(maps.Keys(labels)) {
		if item := key + "=" + labels[key]; text.Len()+len(item) < longest {
			text.WriteString(item + ",")
			continue
		}
		return fmt.Sprintf("%s+%d more", text.String(), len(labels)-i)
	}
	return strings.TrimSuffix(text.String(), ",")
}

func note(r row) string {
	if r.event == eventDeleted {
		return "no longer found"
	}
	if r.held != nil {
		return r.held.note(r.term, &r.testcr.Spec)
	}
	text := query.NoteFor([]query.Term{r.term}, &r.testcr.Spec)
	if r.via != "" && text != "" {
		return "of " + r.via + "; " + text
	} else if r.via != "" {
		return "of " + r.via
	}
	return text
}
