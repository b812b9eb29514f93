package lookup

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
)

func TestParseLink(t *testing.T) {
	tests := []struct{ name, text, wantError string }{
		{name: "a link", text: "Logs=https://logs.example.com/{{.Namespace}}?pod={{.Name}}&app={{.Labels.app}}"},
		{name: "a label by its name", text: `App=https://x.example.com/{{index .Labels "app.kubernetes.io/name"}}`},
		{name: "no name", text: "=https://x", wantError: "NAME=URL is needed"},
		{name: "no URL", text: "Logs", wantError: "NAME=URL is needed"},
		{name: "a long name", text: strings.Repeat("x", 41) + "=https://x", wantError: "at most 40 bytes"},
		{name: "a name with a line feed", text: "a\nb=https://x", wantError: "must be printable"},
		{name: "a long URL", text: "Logs=https://x/" + strings.Repeat("x", 2048), wantError: "at most 2048 bytes"},
		{name: "not https", text: "Logs=http://x/{{.Name}}", wantError: "must begin with https://"},
		{name: "a script", text: "Logs=javascript:alert(1)", wantError: "must begin with https://"},
		{name: "no host", text: "Logs=https:///{{.Name}}", wantError: "https://HOST"},
		{name: "no template", text: "Logs=https://x/{{.Name", wantError: "unclosed action"},
		{name: "an unknown field", text: "Logs=https://x/{{.Password}}", wantError: "can't evaluate field Password"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := ParseLink(test.text)
			if (err == nil) != (test.wantError == "") || err != nil && !strings.Contains(err.Error(), test.wantError) {
				t.Errorf("error %v, want %q", err, test.wantError)
			}
		})
	}
}

func TestLink_EscapesValues(t *testing.T) {
	l, err := ParseLink("Logs=https://x.example.com/{{.Node}}?l={{.Labels.app}}&c={{.ContainerID}}&i={{.IP}}")
	if err != nil {
		t.Fatal(err)
	}
	got, err := l.url(&v1.TestcrSpec{
		NodeName: "../a b", PodIP: "fd00::1", Labels: map[string]string{"app": `"><script>&c=`}, Containers: []v1.Container{{ID: "x://a&b"}},
	}, "")
	if want := "https://x.example.com/..%2Fa%20b?l=%22%3E%3Cscript%3E%26c%3D&c=a%26b&i=fd00%3A%3A1"; got != want || err != nil {
		t.Errorf("%s %v, want %s", got, err, want)
	}
	if links := linksOf([]Link{l}, &v1.TestcrSpec{Labels: map[string]string{"app": strings.Repeat("x", 9000)}}, ""); links != nil {
		t.Errorf("a URL that is too long: %v", links)
	}
}

func TestLookup_Links(t *testing.T) {
	h := servePage(t, &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "cart-0"}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "cart"}}},
	})
	const address = "https://logs.example.com/shop/cart-0?c=cart"
	for _, path := range []string{"/v1/pods/shop/cart-0", "/v1/search?q=shop/cart-0&by=key", "/?pod=shop/cart-0"} {
		if body := getPage(t, h, path, nil).Body.String(); !strings.Contains(body, address) {
			t.Errorf("%s has no link:\n%s", path, body)
		}
	}
	for _, path := range []string{"/v1/pods", "/v1/search", "/v1/search?by=key", "/v1/search?by=key&q=%20", "/v1/search?q=shop/cart-0"} {
		if body := getPage(t, h, path, nil).Body.String(); strings.Contains(body, address) {
			t.Errorf("the list %s has links:\n%s", path, body)
		}
	}
}
