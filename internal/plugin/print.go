package plugin

import (
	"io"
	"maps"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/printers"

	"github.com/weiyuanke/PodInfoLookup/internal/cli"
	"github.com/weiyuanke/PodInfoLookup/internal/wire"
)

// Values of -o that the libraries of kubectl do not have, or that mean the Pod here.
const (
	cardFormat  = "card"
	tableFormat = "table"
	wideFormat  = "wide"
	podFormat   = "pod"
	nameFormat  = "name"
)

// shape contains what a printer needs of the whole result.
type shape struct {
	several bool // several questions
	single  bool // one object is asked for, not a list
	watch   bool // more rows will come
	past    bool // rows have a time
}

// printer prints rows, with --watch again and again.
type printer interface {
	print(rows []row, s shape) error
}

func formats() []string {
	return slices.Concat([]string{cardFormat, tableFormat, wideFormat, podFormat}, genericclioptions.NewPrintFlags("").AllowedFormats(), []string{columnsFormat, columnsFileFormat})
}

// newPrinter returns the printer for -o.
func (o *options) newPrinter() (printer, error) {
	if o.output == "" || o.output == tableFormat || o.output == wideFormat {
		return newTable(o), nil
	}
	format, _, _ := strings.Cut(o.output, "=")
	if o.events && format != "json" && format != "yaml" {
		return nil, cli.Usagef("--output-watch-events takes tables, -o json and -o yaml, not -o %s", format)
	}
	if format == nameFormat && o.asksSeveral() {
		return nil, cli.Usagef("-o name has no place for the cluster: use -o pod, or -o json, -o jsonpath or -o custom-columns " +
			"with .metadata.annotations.stable\\.example\\.com/cluster")
	}
	switch o.output {
	case cardFormat:
		return newCard(o), nil
	case nameFormat, podFormat:
		return &podNames{out: o.Out, flags: o.clusterFlags(), isWhole: o.output == podFormat}, nil
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
// One of several clusters has the cluster in an annotation, and one of the past its times.
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
	if r.cluster != "" || r.held != nil {
		annotations := map[string]string{}
		maps.Copy(annotations, u.GetAnnotations())
		if r.cluster != "" {
			annotations[clusterAnnotation] = r.cluster
		}
		if r.held != nil {
			r.held.annotate(annotations)
		}
		u.SetAnnotations(annotations)
	}
	return u, nil
}
