package plugin

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"sigs.k8s.io/yaml"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/internal/desired"
)

// FuzzObjects holds that JSON and YAML print and decode to what they were made of.
func FuzzObjects(f *testing.F) {
	f.Add("x\x1b[2J\x7f\u0085\u202e\U000e0041\u2028\ufeff\n y: z\t# \"\\\r")
	f.Add(" \x9b")
	f.Fuzz(func(t *testing.T, s string) {
		s = strings.ToValidUTF8(s, "\ufffd")
		testcr := desired.FromPod(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "a"}})
		testcr.Spec.Phase, testcr.Spec.Labels = s, map[string]string{s: s}
		for format, decode := range map[string]func([]byte, any) error{
			"json":  json.Unmarshal,
			"yaml":  func(text []byte, into any) error { return yaml.Unmarshal(text, into) },
			"kyaml": func(text []byte, into any) error { return yaml.Unmarshal(text, into) },
		} {
			var out bytes.Buffer
			o := &options{IOStreams: genericiooptions.IOStreams{Out: &out}, output: format}
			p, err := o.newPrinter()
			if err != nil {
				t.Fatal(err)
			}
			for range 2 { // the second one has a separator
				out.Reset()
				if err := p.print([]row{{testcr: testcr}}, shape{single: true}); err != nil {
					t.Fatalf("%s of %q: %v", format, s, err)
				}
				if strings.ContainsFunc(out.String(), func(r rune) bool { return !unicode.IsPrint(r) && r != '\n' && r != '\t' }) {
					t.Errorf("%s does not print: %q", format, out.String())
				}
				var got v1.Testcr
				if err := decode(out.Bytes(), &got); err != nil || got.Spec.Phase != s || got.Spec.Labels[s] != s {
					t.Errorf("%s of %q decodes to %q, %v:\n%s", format, s, got.Spec.Phase, err, out.String())
				}
			}
		}
	})
}
