package plugin

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"text/template"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	apilabels "k8s.io/apimachinery/pkg/labels"
	utilversion "k8s.io/apimachinery/pkg/util/version"
	"sigs.k8s.io/yaml"
)

// krewManifest has the fields of krew's v1alpha2, and no others: the manifest is
// read strictly.
type krewManifest struct {
	metav1.TypeMeta `json:",inline"`
	Metadata        struct {
		Name string `json:"name"`
	} `json:"metadata"`
	Spec struct {
		Version          string         `json:"version"`
		ShortDescription string         `json:"shortDescription"`
		Description      string         `json:"description"`
		Caveats          string         `json:"caveats"`
		Homepage         string         `json:"homepage"`
		Platforms        []krewPlatform `json:"platforms"`
	} `json:"spec"`
}

type krewPlatform struct {
	URI      string                `json:"uri"`
	Sha256   string                `json:"sha256"`
	Bin      string                `json:"bin"`
	Selector *metav1.LabelSelector `json:"selector"`
	Files    []struct {
		From string `json:"from"`
		To   string `json:"to"`
	} `json:"files"`
}

// render does to .krew.yaml what krew-release-bot does at a release.
func render(t *testing.T, tag string) []byte {
	t.Helper()
	data := map[string]string{"TagName": tag}
	var expand func(text string) (string, error)
	functions := template.FuncMap{"addURIAndSha": func(url, _ string) (string, error) {
		url, err := expand(url)
		return fmt.Sprintf("uri: %s\n    sha256: %s", url, strings.Repeat("0a", 32)), err
	}}
	expand = func(text string) (string, error) {
		parsed, err := template.New("krew").Funcs(functions).Parse(text)
		if err != nil {
			return "", err
		}
		var out strings.Builder
		err = parsed.Execute(&out, data)
		return out.String(), err
	}
	text, err := os.ReadFile(filepath.Join("..", "..", ".krew.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	rendered, err := expand(string(text))
	if err != nil {
		t.Fatal(err)
	}
	return []byte(rendered)
}

// TestKrewManifest holds .krew.yaml to what krew validates before it takes a
// plugin into its index.
func TestKrewManifest(t *testing.T) {
	var m krewManifest
	if err := yaml.UnmarshalStrict(render(t, "v1.2.3"), &m); err != nil {
		t.Fatal(err)
	}
	rules := []struct {
		name string
		ok   bool
	}{
		{"apiVersion", m.APIVersion == "krew.googlecontainertools.github.com/v1alpha2"},
		{"kind", m.Kind == "Plugin"},
		{"the name is that of the binary, in the letters that krew allows", m.Metadata.Name == "podinfo" && regexp.MustCompile(`^[\w-]+$`).MatchString(m.Metadata.Name)},
		{"the version is semantic and begins with v", strings.HasPrefix(m.Spec.Version, "v") && isSemantic(m.Spec.Version)},
		{"a short description of one line, at most 50 characters, without a full stop", regexp.MustCompile(`^\S.{3,48}[^.\s]$`).MatchString(m.Spec.ShortDescription)},
		{"a description", strings.TrimSpace(m.Spec.Description) != ""},
		{"a homepage", strings.HasPrefix(m.Spec.Homepage, "https://")},
		{"platforms", len(m.Spec.Platforms) > 0},
	}
	for _, rule := range rules {
		if !rule.ok {
			t.Errorf(".krew.yaml: %s: not so", rule.name)
		}
	}
	taken := map[string]bool{}
	for _, p := range m.Spec.Platforms {
		checkPlatform(t, p)
		name := fmt.Sprint(p.Selector.MatchLabels)
		if taken[name] {
			t.Errorf(".krew.yaml: %s is there twice", name)
		}
		taken[name] = true
	}
}

func isSemantic(v string) bool {
	_, err := utilversion.ParseSemantic(v)
	return err == nil
}

func checkPlatform(t *testing.T, p krewPlatform) {
	t.Helper()
	if p.Selector == nil || len(p.Selector.MatchLabels)+len(p.Selector.MatchExpressions) == 0 {
		t.Fatalf(".krew.yaml: %s: the selector is empty", p.URI)
	}
	selector, err := metav1.LabelSelectorAsSelector(p.Selector)
	if err != nil {
		t.Fatal(err)
	}
	requirements, _ := selector.Requirements()
	for _, r := range requirements {
		if r.Key() != "os" && r.Key() != "arch" {
			t.Errorf(".krew.yaml: %s: krew selects by os and arch, not by %s", p.URI, r.Key())
		}
	}
	windows := selector.Matches(apilabels.Set{"os": "windows", "arch": p.Selector.MatchLabels["arch"]})
	if want := map[bool]string{false: "kubectl-podinfo", true: "kubectl-podinfo.exe"}[windows]; p.Bin != want {
		t.Errorf(".krew.yaml: %s: bin is %q, want %q", p.URI, p.Bin, want)
	}
	if !regexp.MustCompile(`^https://\S+/v1\.2\.3/\S+\.tar\.gz$`).MatchString(p.URI) || !regexp.MustCompile(`^[a-f0-9]{64}$`).MatchString(p.Sha256) {
		t.Errorf(".krew.yaml: uri %q, sha256 %q", p.URI, p.Sha256)
	}
	for _, f := range p.Files {
		if f.From == "" || f.To == "" {
			t.Errorf(".krew.yaml: %s: a file without from or to", p.URI)
		}
	}
}
