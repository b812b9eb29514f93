package plugin

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/liggitt/tabwriter"
	"k8s.io/cli-runtime/pkg/printers"
	"k8s.io/client-go/util/jsonpath"

	"github.com/weiyuanke/PodInfoLookup/internal/cli"
	"github.com/weiyuanke/PodInfoLookup/internal/printable"
)

// kubectl's printer of custom columns is in a module that depends on all of kubectl.
// This one takes the same arguments.
const (
	columnsFormat     = "custom-columns"
	columnsFileFormat = "custom-columns-file"
)

// customColumns prints a column for each JSONPath.
type customColumns struct {
	out     *tabwriter.Writer // keeps the widths of columns for later rows
	headers []string          // nil after they are printed
	paths   []*jsonpath.JSONPath
}

func (o *options) newColumns() (*customColumns, error) {
	format, spec, _ := strings.Cut(o.output, "=")
	if spec == "" {
		return nil, cli.Usagef("-o %s: give %s=HEADER:PATH,... or %s=FILE", format, columnsFormat, columnsFileFormat)
	}
	var headers, paths []string
	if format == columnsFileFormat {
		data, err := os.ReadFile(spec) //nolint:gosec // G304: it is the user's own file
		if err != nil {
			return nil, cli.UsageError{Err: err}
		}
		head, body, _ := strings.Cut(string(data), "\n")
		body, _, _ = strings.Cut(body, "\n")
		headers, paths = strings.Fields(head), strings.Fields(body)
	} else {
		for column := range strings.SplitSeq(spec, ",") {
			header, path, _ := strings.Cut(column, ":")
			headers, paths = append(headers, header), append(paths, path)
		}
	}
	if len(headers) != len(paths) {
		return nil, cli.Usagef("-o %s: %d headers and %d paths", format, len(headers), len(paths))
	}
	c := &customColumns{out: printers.GetNewTabWriter(o.Out)}
	if !o.noHeaders {
		c.headers = headers
	}
	for i, path := range paths {
		parsed, err := parsePath(headers[i], path)
		if err != nil {
			return nil, cli.Usagef("-o %s: column %q: %w", format, headers[i], err)
		}
		c.paths = append(c.paths, parsed)
	}
	return c, nil
}

// parsePath takes a path as kubectl does, with or without braces and first dot.
func parsePath(name, path string) (*jsonpath.JSONPath, error) {
	if strings.HasPrefix(path, "{") && strings.HasSuffix(path, "}") {
		path = path[1 : len(path)-1]
	}
	path = strings.TrimPrefix(path, ".")
	if name == "" || path == "" {
		return nil, fmt.Errorf("HEADER:PATH is needed, such as POD:.spec.podkey")
	}
	parsed := jsonpath.New(name).AllowMissingKeys(true)
	return parsed, parsed.Parse("{." + path + "}")
}

func (c *customColumns) print(rows []row, _ shape) error {
	if c.headers != nil && len(rows) > 0 {
		if err := c.line(c.headers); err != nil {
			return err
		}
		c.headers = nil
	}
	for i := range rows {
		u, err := object(rows[i])
		if err != nil {
			return err
		}
		cells := make([]string, len(c.paths))
		for j, path := range c.paths {
			if cells[j], err = valuesAt(path, u.Object); err != nil {
				return err
			}
		}
		if err := c.line(cells); err != nil {
			return err
		}
	}
	return c.out.Flush()
}

func (c *customColumns) line(cells []string) error {
	_, err := io.WriteString(c.out, strings.Join(cells, "\t")+"\n")
	return err
}

func valuesAt(path *jsonpath.JSONPath, object any) (string, error) {
	results, err := path.FindResults(object)
	if err != nil {
		return "", err
	}
	var values []string
	for _, result := range results {
		for _, value := range result {
			values = append(values, printable.Text(fmt.Sprint(value.Interface())))
		}
	}
	if len(values) == 0 {
		return printable.None, nil
	}
	return strings.Join(values, ","), nil
}
