package plugin

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/liggitt/tabwriter"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/printers"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/internal/cli"
	"github.com/weiyuanke/PodInfoLookup/internal/printable"
	"github.com/weiyuanke/PodInfoLookup/internal/query"
	"github.com/weiyuanke/PodInfoLookup/internal/wire"
)

// Results of query.Rank.
const (
	rankTerminating = 1
	rankCompleted   = 2
)

// shape contains what a printer needs of the whole result.
type shape struct {
	several bool // several questions
	single  bool // one object is asked for, not a list
	watch   bool // more rows will come
}

// printer prints rows, with --watch again and again.
type printer interface {
	print(rows []row, s shape) error
}

func formats() []string {
	return slices.Concat([]string{"wide"}, genericclioptions.NewPrintFlags("").AllowedFormats(), []string{columnsFormat, columnsFileFormat})
}

// newPrinter returns the printer for -o.
func (o *options) newPrinter() (printer, error) {
	if o.output == "" || o.output == "wide" {
		return newTable(o), nil
	}
	format, _, _ := strings.Cut(o.output, "=")
	if o.events && format != "json" && format != "yaml" {
		return nil, cli.Usagef("--output-watch-events takes tables, -o json and -o yaml, not -o %s", format)
	}
	if format == "name" && o.asksSeveral() {
		return nil, cli.Usagef("-o name has no place for the cluster: use -o json, -o jsonpath or -o custom-columns, " +
			"with .metadata.annotations.stable\\.example\\.com/cluster")
	}
	if format == columnsFormat || format == columnsFileFormat {
		return o.newColumns()
	}
	flags := genericclioptions.NewPrintFlags("").WithDefaultOutput(o.output)
	p, err := flags.ToPrinter()
	if genericclioptions.IsNoCompatiblePrinterError(err) {
		return nil, cli.Usagef("-o %q is none of %s%s", o.output, strings.Join(formats(), ", "), didYouMeanWord(format, formats()))
	} else if err != nil {
		return nil, cli.UsageError{Err: err}
	}
	return &objects{ResourcePrinter: p, out: o.Out, format: format, events: o.events}, nil
}

// objects prints Testcrs as objects of the API.
type objects struct {
	printers.ResourcePrinter
	out    io.Writer
	format string // of -o, up to "="
	events bool
}

func (p *objects) print(rows []row, s shape) error {
	if !s.single && !s.watch {
		list := &unstructured.UnstructuredList{Object: map[string]any{
			"apiVersion": "v1", "kind": "List", "metadata": map[string]any{"resourceVersion": ""},
		}}
		for i := range rows {
			u, err := p.object(rows[i])
			if err != nil {
				return err
			}
			list.Items = append(list.Items, *u)
		}
		return p.write(list)
	}
	for i := range rows {
		u, err := p.object(rows[i])
		if err != nil {
			return err
		}
		var obj runtime.Object = u
		if p.events {
			obj = &metav1.WatchEvent{Type: rows[i].event, Object: runtime.RawExtension{Object: obj}}
		}
		if err := p.write(obj); err != nil {
			return err
		}
	}
	return nil
}

// object returns a Testcr as kubectl get prints it, without managed fields. A Testcr that
// is made from a Pod has no UID, and the resource version of the Pod, which is not its own.
// One of several clusters has the cluster in an annotation.
func object(r row) (*unstructured.Unstructured, error) {
	u, err := wire.ToUnstructured(r.testcr)
	if err != nil {
		return nil, err
	}
	u.SetManagedFields(nil)
	u.SetGeneration(0)
	if r.testcr.UID == "" {
		u.SetResourceVersion("")
	}
	if r.cluster != "" {
		annotations := map[string]string{}
		maps.Copy(annotations, u.GetAnnotations())
		annotations[clusterAnnotation] = r.cluster
		u.SetAnnotations(annotations)
	}
	return u, nil
}

// table prints Testcrs for people.
type table struct {
	printers.ResourcePrinter
	out     io.Writer
	rows    bytes.Buffer
	aligned *tabwriter.Writer // keeps the widths of columns for later rows
	wide    bool
	events  bool
	cluster bool // there is a column for it
	labels  bool // the same
	color   bool
	columns []metav1.TableColumnDefinition
}

func newTable(o *options) *table {
	wide := o.output == "wide"
	out := o.Out
	if wrapped, ok := out.(output); ok {
		out = wrapped.Writer
	}
	t := &table{
		ResourcePrinter: printers.NewTablePrinter(printers.PrintOptions{Wide: wide, NoHeaders: o.noHeaders}),
		out:             o.Out, wide: wide, events: o.events, cluster: o.asksSeveral(), labels: o.showLabels,
		color: printers.AllowsColorOutput(out),
	}
	t.aligned = printers.GetNewTabWriter(&t.rows)
	return t
}

// The columns of a table; those of priority 1 are for -o wide.
var columns = []metav1.TableColumnDefinition{
	{Name: "Namespace"}, {Name: "Name"}, {Name: "Status"}, {Name: "Ready"}, {Name: "Restarts"}, {Name: "IP"}, {Name: "Node"},
	{Name: "Workload"}, {Name: "Age"},
	{Name: "Host-IP", Priority: 1}, {Name: "Service-Account", Priority: 1},
	{Name: "UID", Priority: 1}, {Name: "Containers", Priority: 1},
}

func (p *table) print(rows []row, s shape) error {
	if p.columns == nil {
		p.columns = slices.Clone(columns)
		if s.several {
			p.columns = slices.Insert(p.columns, 0, metav1.TableColumnDefinition{Name: "Query"})
		}
		if p.events {
			p.columns = slices.Insert(p.columns, 0, metav1.TableColumnDefinition{Name: "Event"})
		}
		if p.cluster {
			p.columns = slices.Insert(p.columns, 0, metav1.TableColumnDefinition{Name: "Cluster"})
		}
		if s.watch || slices.ContainsFunc(rows, func(r row) bool { return note(r) != "" }) {
			p.columns = append(p.columns, metav1.TableColumnDefinition{Name: "Note"})
		}
		if p.labels {
			p.columns = append(p.columns, metav1.TableColumnDefinition{Name: "Labels"})
		}
	}
	t := &metav1.Table{ColumnDefinitions: p.columns}
	for i := range rows {
		cells := make([]any, len(p.columns))
		for j, c := range p.columns {
			cells[j] = printable.Text(cell(c.Name, rows[i], p.wide))
		}
		t.Rows = append(t.Rows, metav1.TableRow{Cells: cells})
	}
	p.rows.Reset()
	if err := p.PrintObj(t, p.aligned); err != nil {
		return err
	}
	if err := p.aligned.Flush(); err != nil {
		return err
	}
	if p.color {
		_, err := p.out.Write(colored(p.rows.Bytes(), rows))
		return err
	}
	_, err := p.out.Write(p.rows.Bytes())
	return err
}

// colored dims completed Pods and colors terminating ones, so that running Pods stand
// out. There may be a header before the rows.
func colored(text []byte, rows []row) []byte {
	lines := bytes.SplitAfter(bytes.TrimSuffix(text, []byte("\n")), []byte("\n"))
	var out []byte
	for i, line := range lines {
		color := ""
		if r := i - (len(lines) - len(rows)); r < 0 {
			color = "\x1b[1m"
		} else if rank := query.Rank(&rows[r].testcr.Spec); rank == rankCompleted || rows[r].event == eventDeleted {
			color = "\x1b[2m"
		} else if rank == rankTerminating {
			color = "\x1b[33m"
		}
		line = bytes.TrimSuffix(line, []byte("\n"))
		if color != "" {
			line = slices.Concat([]byte(color), line, []byte("\x1b[0m"))
		}
		out = append(append(out, line...), '\n')
	}
	return out
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
	case "Status":
		value = cmp.Or(s.Status, s.Phase) // a Testcr of before a change of the CRD has no status
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
	case "Labels":
		value = labelsOf(s.Labels)
	case "Note":
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
	text := query.NoteFor([]query.Term{r.term}, &r.testcr.Spec)
	if r.via != "" && text != "" {
		return "of " + r.via + "; " + text
	} else if r.via != "" {
		return "of " + r.via
	}
	return text
}
