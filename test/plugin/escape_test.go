package plugin_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/weiyuanke/PodInfoLookup/test/testenv"
)

// hostile is what a terminal acts on, and what forges a line or a column.
const hostile = "x\x1b[2J\x1b]0;t\x07\x7f\u0085\u009b31m\u202e\u2066\u2028\u200b\U000e0041\tc\r\nforged"

// controlsNothing fails if text has what a terminal acts on, or a forged line.
func controlsNothing(t *testing.T, text string) {
	t.Helper()
	for line := range strings.SplitSeq(text, "\n") {
		if strings.ContainsFunc(line, func(r rune) bool { return !unicode.IsPrint(r) && r != '\t' }) || strings.HasPrefix(line, "forged") {
			t.Errorf("the line %q of\n%q", line, text)
		}
	}
}

func TestOutput_ControlsNoTerminal(t *testing.T) {
	p := pod("escape/web", "10.9.9.1")
	p.Labels = map[string]string{hostile: hostile}
	p.Spec.NodeName, p.Spec.ServiceAccountName, p.Spec.HostNetwork = hostile, hostile, true
	p.Spec.Containers[0].Image = hostile
	p.Status.Phase, p.Status.HostIP = corev1.PodPhase(hostile), hostile
	create(t, p)
	spec := func(t *testing.T, text string) map[string]any {
		t.Helper()
		var object struct {
			Spec  map[string]any `json:"spec"`
			Items []struct {
				Spec map[string]any `json:"spec"`
			} `json:"items"`
		}
		decode := yaml.Unmarshal
		if json.Valid([]byte(text)) {
			decode = func(text []byte, into any, _ ...yaml.JSONOpt) error { return json.Unmarshal(text, into) }
		}
		if err := decode([]byte(text), &object); err != nil {
			t.Fatalf("%v: %s", err, text)
		}
		if object.Items != nil {
			return object.Items[0].Spec
		}
		return object.Spec
	}
	template := filepath.Join(t.TempDir(), "template")
	if err := os.WriteFile(template, []byte("{{.spec.phase}}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name    string
		args    []string
		want    string // in standard output
		decoded bool   // it is an object with the values as they are
	}{
		{name: "a table", args: []string{"escape/web"}, want: `x\u001b[2J`},
		{name: "a wide table", args: []string{"escape/web", "-o", "wide"}, want: `\u007f\u0085\u009b31m\u202e`},
		{name: "JSON", args: []string{"escape/web", "-o", "json"}, want: `\u007f\u0085\u009b31m\u202e`, decoded: true},
		{name: "a list in JSON", args: []string{"escape/web", "nobody", "-o", "json"}, want: `\udb40\udc41`, decoded: true},
		{name: "YAML", args: []string{"escape/web", "-o", "yaml"}, want: `\u202e`, decoded: true},
		{name: "a list in YAML", args: []string{"escape/web", "nobody", "-o", "yaml"}, want: `\u2066`, decoded: true},
		{name: "KYAML", args: []string{"escape/web", "-o", "kyaml"}, want: `\u202e`, decoded: true},
		{name: "a card", args: []string{"escape/web", "-o", "card"}, want: `x\u001b[2J`},
		{name: "a name", args: []string{"escape/web", "-o", "name"}, want: "pod/web\n"},
		{name: "a Pod", args: []string{"escape/web", "-o", "pod"}, want: "-n escape pod/web\n"},
		{name: "JSONPath", args: []string{"escape/web", "-o", `jsonpath={.spec.phase}{"\n"}`}, want: `x\u001b[2J`},
		{name: "a map by JSONPath", args: []string{"escape/web", "-o", "jsonpath={.spec.labels}"}, want: `u001b[2J`},
		{name: "JSONPath as JSON", args: []string{"escape/web", "-o", "jsonpath-as-json={.spec}"}, want: `\u009b31m`},
		{name: "a template", args: []string{"escape/web", "-o", "go-template={{.spec}}"}, want: `x\u001b[2J`},
		{name: "a template in a file", args: []string{"escape/web", "-o", "go-template-file=" + template}, want: `x\u001b[2J`},
		{name: "columns", args: []string{"escape/web", "-o", "custom-columns=PHASE:.spec.phase,LABELS:.spec.labels"}, want: `x\u001b[2J`},
		{name: "a query", args: []string{"--by", "workload", hostile}},
		{name: "a mistake", args: []string{hostile, "--" + hostile}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			p := program(t, "kubectl-podinfo", test.args...).Start(t)
			p.Wait(t, testenv.Patience)
			controlsNothing(t, p.Stdout.String())
			controlsNothing(t, p.Stderr.String())
			if err := p.Stdout.Has(test.want); err != nil {
				t.Error(err)
			}
			if test.decoded {
				s := spec(t, p.Stdout.String())
				labels, _ := s["labels"].(map[string]any)
				if s["phase"] != hostile || labels[hostile] != hostile {
					t.Errorf("decoded: %q, %q", s["phase"], labels)
				}
			}
		})
	}
	t.Run("watch events", func(t *testing.T) {
		r := start(t, env.AdminKubeconfig, "escape/web", "-w", "--output-watch-events", "-o", "json")
		r.has(t, `\u009b31m`)
		r.end()
		controlsNothing(t, r.Stdout.String())
	})
	t.Run("annotate", func(t *testing.T) {
		p := program(t, "kubectl-podinfo", "annotate")
		p.Cmd().Stdin = strings.NewReader("\x1b[1m 10.9.9.1\x1b[0m\n")
		p.Start(t)
		p.Wait(t, testenv.Patience)
		if got := p.Stdout.String(); !strings.HasPrefix(got, "\x1b[1m 10.9.9.1[node/x??2J") || !strings.HasSuffix(got, "escape/web]\x1b[0m\n") {
			t.Errorf("got %q, want the stream as it was", got)
		}
	})
}
