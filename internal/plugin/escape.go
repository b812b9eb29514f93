package plugin

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"

	"go.yaml.in/yaml/v3"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/weiyuanke/PodInfoLookup/internal/printable"
)

// object returns the object that is printed for r. JSON and YAML have escape sequences.
// In every other format the values are escaped, because line feeds and colors of the
// user's template must stay.
func (p *objects) object(r row) (*unstructured.Unstructured, error) {
	u, err := object(r)
	if err != nil {
		return nil, err
	}
	switch p.format {
	case "json", "jsonpath-as-json", "yaml", "kyaml":
		return u, nil
	}
	u.Object, _ = escaped(u.Object).(map[string]any)
	return u, nil
}

// escaped returns a copy of a JSON value whose strings are printable.
func escaped(value any) any {
	switch v := value.(type) {
	case string:
		return printable.Text(v)
	case []any:
		list := make([]any, len(v))
		for i := range v {
			list[i] = escaped(v[i])
		}
		return list
	case map[string]any:
		fields := make(map[string]any, len(v))
		for key := range v {
			fields[printable.Text(key)] = escaped(v[key])
		}
		return fields
	default:
		return value
	}
}

// write prints obj. It escapes the characters that its encoding does not.
func (p *objects) write(obj runtime.Object) error {
	if p.format == "yaml" || p.format == "kyaml" {
		var err error
		if obj, err = readable(obj); err != nil {
			return err
		}
	}
	var buffer bytes.Buffer
	if err := p.PrintObj(obj, &buffer); err != nil {
		return err
	}
	text := buffer.Bytes()
	switch p.format {
	case "json", "jsonpath-as-json":
		text = printable.JSON(text)
	case "yaml":
		var err error
		if text, err = escapeYAML(text); err != nil {
			return err
		}
	case "kyaml": // all values in it are quoted
		text = printable.Quoted(text, appendYAMLEscape)
	}
	_, err := p.out.Write(text)
	return err
}

// readable returns obj in a form that the YAML printers accept: they refuse JSON with
// control characters that are not escaped.
func readable(obj runtime.Object) (runtime.Object, error) {
	text, err := json.Marshal(obj)
	if err != nil || !printable.HasHidden(text) {
		return obj, err
	}
	return &runtime.Unknown{Raw: printable.Quoted(text, appendYAMLEscape)}, nil
}

// escapeYAML quotes each scalar that needs an escape, because only quoted scalars can
// contain one.
func escapeYAML(text []byte) ([]byte, error) {
	if !printable.HasHidden(text) {
		return text, nil
	}
	const separator = "---\n"
	body, more := bytes.CutPrefix(text, []byte(separator))
	var document yaml.Node
	if err := yaml.Unmarshal(body, &document); err != nil {
		return nil, err
	}
	quote(&document)
	var out bytes.Buffer
	if more {
		out.WriteString(separator)
	}
	encoder := yaml.NewEncoder(&out)
	encoder.SetIndent(2)
	encoder.CompactSeqIndent()
	if err := errors.Join(encoder.Encode(&document), encoder.Close()); err != nil {
		return nil, err
	}
	return printable.Quoted(out.Bytes(), appendYAMLEscape), nil
}

func quote(node *yaml.Node) {
	if node.Kind == yaml.ScalarNode && printable.HasHidden([]byte(node.Value)) {
		node.Style = yaml.DoubleQuotedStyle
	}
	for _, child := range node.Content {
		quote(child)
	}
}

func appendYAMLEscape(out []byte, r rune) []byte {
	if r <= math.MaxUint16 {
		return fmt.Appendf(out, `\u%04x`, r)
	}
	return fmt.Appendf(out, `\U%08x`, r)
}
