package plugin

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weiyuanke/PodInfoLookup/internal/query"
)

// A selector finds values only. What has none is looked for in all Testcrs.
func TestSelections_NotExact(t *testing.T) {
	for _, text := range []string{"web*", "shop/web*", "0f1e2d-*", "10.0.0.0/24"} {
		terms, err := query.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		for _, term := range terms {
			for namespace, want := range map[string]string{"": "", "shop": "stable.example.com/namespace=shop"} {
				got := selections(term, namespace)
				if diff := cmp.Diff([]selection{{labels: want}}, got, cmp.AllowUnexported(selection{})); diff != "" || term.IsExact() {
					t.Errorf("%s in namespace %q (-want +got):\n%s", term, namespace, diff)
				}
			}
		}
	}
}

func TestShorten(t *testing.T) {
	tests := []struct{ of, want string }{
		{of: "10.0.0.7", want: "10.0.0.7"},
		{of: string(make([]byte, 80)), want: string(make([]byte, 80))},
		{of: string(make([]byte, 81)), want: string(make([]byte, 80)) + "..."},
		{of: string(make([]byte, 79)) + "\u00e4", want: string(make([]byte, 79)) + "..."},
	}
	for _, test := range tests {
		if got := shorten(test.of); got != test.want {
			t.Errorf("%q is cut to %q, want %q", test.of, got, test.want)
		}
	}
}
