package plugin

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"

	"k8s.io/client-go/util/jsonpath"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/internal/cli"
	"github.com/weiyuanke/PodInfoLookup/internal/wire"
)

// sortColumns contains the path in a Testcr for each column of a table.
var sortColumns = map[string]string{
	"namespace": ".spec.namespace", "name": ".spec.podname", "status": ".spec.status", "ready": ".spec.readycontainers",
	"restarts": ".spec.restarts", "ip": ".spec.podip", "node": ".spec.nodename", "workload": ".spec.workloadname",
	"age": ".spec.createdat", "host-ip": ".spec.hostip", "service-account": ".spec.serviceaccount", "uid": ".spec.poduid",
}

// podPaths contains the path in a Testcr for paths in a Pod that kubectl users sort by.
// The metadata of a Testcr are not those of its Pod.
var podPaths = map[string]string{
	".metadata.name": ".spec.podname", ".metadata.namespace": ".spec.namespace", ".metadata.uid": ".spec.poduid",
	".metadata.creationtimestamp": ".spec.createdat", ".spec.nodename": ".spec.nodename", ".spec.serviceaccountname": ".spec.serviceaccount",
	".status.podip": ".spec.podip", ".status.hostip": ".spec.hostip", ".status.phase": ".spec.phase", ".status.starttime": ".spec.startedat",
	".status.containerstatuses[0].restartcount": ".spec.restarts",
}

// sorter sorts rows by a value of their Testcrs.
type sorter struct {
	by      string // of the command line
	path    *jsonpath.JSONPath
	isKnown bool // Testcrs have the field: all Pods of an answer may lack the value
	isAge   bool // the time of a creation sorts the other way round
}

// newSorter returns nil without --sort-by.
func newSorter(by string) (*sorter, error) {
	if by == "" {
		return nil, nil //nolint:nilnil // nothing is sorted
	}
	s := &sorter{by: by}
	path, isColumn := sortColumns[strings.ToLower(by)]
	if isColumn {
		s.isKnown, s.isAge = true, strings.EqualFold(by, "age")
	} else {
		path = "." + strings.TrimPrefix(strings.TrimSuffix(strings.TrimPrefix(by, "{"), "}"), ".")
		if !strings.ContainsAny(path[1:], ".[") {
			names := columnNames()
			return nil, cli.Usagef("--sort-by=%s: there is no such column%s: there are %s, or give a JSONPath, such as .spec.podname",
				by, didYouMeanWord(by, names), strings.Join(names, ", "))
		}
		path = cmp.Or(podPaths[strings.ToLower(path)], path)
		s.isKnown = isField(path)
	}
	s.path = jsonpath.New("sort-by").AllowMissingKeys(true)
	if err := s.path.Parse("{" + path + "}"); err != nil {
		return nil, cli.Usagef("--sort-by=%s: %w", by, err)
	}
	return s, nil
}

// isField reports whether path begins with a field of a Testcr's spec.
func isField(path string) bool {
	field, ok := strings.CutPrefix(path, ".spec.")
	if end := strings.IndexAny(field, ".["); end >= 0 {
		field = field[:end]
	}
	return ok && slices.ContainsFunc(reflect.VisibleFields(reflect.TypeFor[v1.TestcrSpec]()), func(f reflect.StructField) bool {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		return name == field
	})
}

func columnNames() []string {
	var names []string
	for _, c := range slices.Concat(columns, wideColumns) {
		if name := strings.ToLower(c); sortColumns[name] != "" {
			names = append(names, name)
		}
	}
	return names
}

// sort sorts rows in ascending order. Those without the value come first, as with kubectl.
func (s *sorter) sort(rows []row) error {
	type keyed struct {
		row
		value any
	}
	all := make([]keyed, len(rows))
	isFound := s.isKnown || len(rows) == 0
	for i, r := range rows {
		u, err := wire.ToUnstructured(r.testcr)
		if err != nil {
			return err
		}
		results, err := s.path.FindResults(u.Object)
		if err != nil && !strings.Contains(err.Error(), "out of bounds") { // a Pod with fewer containers lacks the value
			return cli.Usagef("--sort-by=%s: %w", s.by, err)
		}
		all[i].row = r
		if len(results) > 0 && len(results[0]) > 0 {
			all[i].value, isFound = results[0][0].Interface(), true
		}
	}
	if !isFound {
		return cli.Usagef("--sort-by=%s: no Pod in the answer has such a field: give a column (%s), or a field of a Testcr",
			s.by, strings.Join(columnNames(), ", "))
	}
	slices.SortStableFunc(all, func(a, b keyed) int {
		if s.isAge {
			a, b = b, a
		}
		return compareValues(a.value, b.value)
	})
	for i := range all {
		rows[i] = all[i].row
	}
	return nil
}

// compareValues orders values of JSON: numbers and IPs as such, others by their text.
func compareValues(a, b any) int {
	if a == nil || b == nil {
		return cmp.Compare(rankOfValue(a), rankOfValue(b))
	}
	if x, ok := numberOf(a); ok {
		if y, ok := numberOf(b); ok {
			return cmp.Compare(x, y)
		}
	}
	textA, textB := textOf(a), textOf(b)
	if x, err := netip.ParseAddr(textA); err == nil {
		if y, err := netip.ParseAddr(textB); err == nil {
			return x.Compare(y)
		}
	}
	return strings.Compare(textA, textB)
}

func rankOfValue(value any) int {
	if value == nil {
		return 0
	}
	return 1
}

func numberOf(value any) (float64, bool) {
	switch n := value.(type) {
	case int64:
		return float64(n), true
	case float64:
		return n, true
	}
	return 0, false
}

func textOf(value any) string {
	if text, ok := value.(string); ok {
		return text
	}
	text, err := json.Marshal(value)
	if err != nil {
		return fmt.Sprint(value)
	}
	return string(text)
}

// sorted is a printer that sorts the rows of the answer. Later changes go to the printer
// in it, as they come.
type sorted struct {
	printer
	by *sorter // nil keeps the order
}

func (s sorted) print(rows []row, of shape) error {
	if s.by != nil {
		if err := s.by.sort(rows); err != nil {
			return err
		}
	}
	return s.printer.print(rows, of)
}
