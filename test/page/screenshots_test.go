package page_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"image"
	"image/draw"
	"image/png"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/weiyuanke/PodInfoLookup/test/browser"
)

// screenshots is set by hack/screenshots.sh.
var screenshots = flag.String("screenshots", "", "Folder to keep the screenshots in. Without it they are only made.")

const maxScreenshot = 150 << 10 // bytes

// taken is when the screenshots say that they were.
var taken = time.Date(2026, time.November, 23, 15, 30, 0, 0, time.UTC)

// TestPage_Screenshots makes the pictures of the README, of Pods of a real API server.
// What differs from run to run (times, UIDs, versions) is replaced on its way to
// the page, so that a picture changes only if the page does.
func TestPage_Screenshots(t *testing.T) {
	prefix := ""
	if *screenshots == "" { // a server that is used again has namespaces of these names
		prefix = env.Namespace(t, "") + "-"
	}
	var namespaces []string
	pods := 0
	for _, of := range pictured {
		namespace := env.Namespace(t, prefix+of.namespace)
		create(t, namespace, of.pods...)
		namespaces = append(namespaces, namespace)
		pods += len(of.pods)
	}
	program := serve(t, namespaces...)
	address := between(t, program, func(w http.ResponseWriter, r *http.Request) bool { return freeze(t, w, r, program, pods) })
	p := chromium.Open(t, address+"/")
	web := prefix + "shop/web-7d9c6b5f4-x2k8p"
	for _, shot := range []struct {
		name, path, scheme, ready string
		width, height             int64
	}{
		{name: "light", path: "/", scheme: browser.Light, ready: `document.querySelectorAll("#rows tr").length >= 15`, width: 1280, height: 800},
		{name: "dark", path: "/?q=10.0.2.14", scheme: browser.Dark, ready: text("reading") + `.includes("Ambiguous")`, width: 1280, height: 800},
		{name: "detail", path: "/?q=web&pod=" + web, scheme: browser.Light, ready: text("facts") + `.includes("containerd")`, width: 1280, height: 800},
		{name: "phone", path: "/?q=10.0.2.14", scheme: browser.Light, ready: text("reading") + `.includes("Ambiguous")`, width: 360, height: 800},
	} {
		p.Resize(t, shot.width, shot.height, shot.width < 700)
		p.Prefer(t, shot.scheme)
		p.Go(t, address+shot.path)
		p.UntilIs(t, text("live"), "Live")
		p.Until(t, shot.ready)
		p.Until(t, `document.querySelector("#nodes option[value$=node-1]")`)
		p.Eval(t, `document.activeElement.blur()`) // a caret blinks
		picture := p.Screenshot(t)
		if size := sizeOf(t, picture); size != [2]int64{shot.width, shot.height} {
			t.Errorf("%s: %d pixels, want %dx%d", shot.name, size, shot.width, shot.height)
		}
		if *screenshots != "" {
			if picture = smaller(t, picture); len(picture) > maxScreenshot {
				t.Errorf("%s: %d bytes, at most %d belong into a README", shot.name, len(picture), maxScreenshot)
			}
			if err := os.WriteFile(filepath.Join(*screenshots, shot.name+".png"), picture, 0o644); err != nil { //nolint:gosec // G306: for all who read the docs
				t.Fatal(err)
			}
		}
	}
	p.Clean(t)
}

// smaller returns a PNG of a few hundred colours, which nobody tells from the
// thousand of smoothed text, packed as well as it can be.
func smaller(t *testing.T, picture []byte) []byte {
	t.Helper()
	decoded, err := png.Decode(bytes.NewReader(picture))
	if err != nil {
		t.Fatal(err)
	}
	rounded := image.NewNRGBA(decoded.Bounds())
	draw.Draw(rounded, rounded.Bounds(), decoded, image.Point{}, draw.Src)
	for i, value := range rounded.Pix {
		rounded.Pix[i] = value&^7 | value>>5 // 0 and 255 stay
	}
	var out bytes.Buffer
	if err := (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&out, rounded); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func sizeOf(t *testing.T, picture []byte) [2]int64 {
	t.Helper()
	config, err := png.DecodeConfig(bytes.NewReader(picture))
	if err != nil {
		t.Fatal(err)
	}
	return [2]int64{int64(config.Width), int64(config.Height)}
}

// freeze answers for the program at address, at the time taken.
func freeze(t *testing.T, w http.ResponseWriter, r *http.Request, address string, pods int) bool {
	t.Helper()
	switch r.URL.Path {
	case "/v1/events":
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprintf(w, "event: view\ndata: {\"resourceVersion\":\"48213\",\"ageSeconds\":0,\"pods\":%d,\"time\":%q,\"changes\":0}\n\n",
			pods, taken.Format(time.RFC3339))
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	case "/v1/search":
		request, err := http.NewRequestWithContext(r.Context(), http.MethodGet, address+r.URL.RequestURI(), http.NoBody) //nolint:gosec // G704: the test's own program
		if err != nil {
			t.Error(err)
			return false
		}
		response, err := http.DefaultClient.Do(request) //nolint:gosec // G704: the same
		if err != nil {
			return false // the page asks no more
		}
		defer func() { _ = response.Body.Close() }()
		var answer map[string]any
		if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
			return false
		}
		items, _ := answer["items"].([]any)
		for _, item := range items {
			freezePod(item.(map[string]any))
		}
		if err := json.NewEncoder(w).Encode(answer); err != nil {
			return true // the page asks no more
		}
	default:
		return false
	}
	return true
}

// freezePod makes of a Pod's name what the API server has made of chance and time.
func freezePod(item map[string]any) {
	name, _ := item["testcr"].(string) // 32 hexadecimal digits
	digits, _ := hex.DecodeString(name)
	item["poduid"] = strings.Join([]string{name[:8], name[8:12], "4" + name[13:16], "a" + name[17:20], name[20:]}, "-")
	created := taken.Add(-time.Duration(digits[0])*97*time.Minute - time.Duration(digits[1])*time.Second - 3*time.Hour)
	item["createdat"] = created.Format(time.RFC3339)
	item["startedat"] = created.Add(2 * time.Second).Format(time.RFC3339)
}

// pictured are the Pods of the screenshots.
var pictured = []struct {
	namespace string
	pods      []pod
}{
	{namespace: "logging", pods: []pod{
		agent("fluent-bit-4kx9p", 1), agent("fluent-bit-8wz2m", 2), agent("fluent-bit-q7hvd", 3),
	}},
	{namespace: "monitoring", pods: []pod{
		member("prometheus-0", 1, 21, "StatefulSet/prometheus", "prometheus:v3.5.0"),
		member("grafana-6f8d7c5b9-rm2wt", 2, 22, "ReplicaSet/grafana-6f8d7c5b9", "grafana:12.1.0"),
	}},
	{namespace: "payments", pods: []pod{
		member("ledger-0", 2, 31, "StatefulSet/ledger", "ledger:4.2.0"),
		member("ledger-1", 3, 32, "StatefulSet/ledger", "ledger:4.2.0"),
		ended(member("settle-29271840-7nq4c", 2, 14, "Job/settle-29271840", "settle:1.8.3"), corev1.PodSucceeded),
		ended(member("settle-29271900-vb6xd", 3, 33, "Job/settle-29271900", "settle:1.8.3"), corev1.PodFailed),
	}},
	{namespace: "shop", pods: []pod{
		member("cart-5c6f7d8b9-h4zsw", 1, 12, "ReplicaSet/cart-5c6f7d8b9", "cart:2.11.1"),
		member("cart-5c6f7d8b9-p9ktl", 3, 13, "ReplicaSet/cart-5c6f7d8b9", "cart:2.11.1"),
		member("search-84d5f6c7b-nx3vq", 1, 15, "ReplicaSet/search-84d5f6c7b", "search:0.9.4"),
		member("web-7d9c6b5f4-x2k8p", 2, 14, "ReplicaSet/web-7d9c6b5f4", "web:3.4.0"),
		member("web-7d9c6b5f4-z6m5r", 1, 16, "ReplicaSet/web-7d9c6b5f4", "web:3.4.0"),
		ended(member("web-7d9c6b5f4-lq7dn", 3, 17, "ReplicaSet/web-7d9c6b5f4", "web:3.4.0"), corev1.PodPending),
	}},
}

// member is a Pod of a workload, on a node and with an IP there.
func member(name string, node, host int, owner, image string) pod {
	kind, ownerName, _ := strings.Cut(owner, "/")
	apiVersion := "apps/v1"
	if kind == "Job" {
		apiVersion = "batch/v1"
	}
	labels := map[string]string{"app.kubernetes.io/name": strings.Split(name, "-")[0]}
	if kind == "ReplicaSet" {
		labels["pod-template-hash"] = ownerName[strings.LastIndex(ownerName, "-")+1:]
	}
	sum := sha256.Sum256([]byte(name))
	return pod{
		name: name, node: fmt.Sprintf("node-%d", node), hostIP: fmt.Sprintf("192.0.2.%d", node),
		ips: []string{fmt.Sprintf("10.0.%d.%d", node, host), fmt.Sprintf("fd00:%d::%x", node, host)},
		id:  "containerd://" + hex.EncodeToString(sum[:]), image: "registry.example/" + image, labels: labels,
		owner: &metav1.OwnerReference{APIVersion: apiVersion, Kind: kind, Name: ownerName, UID: types.UID(ownerName), Controller: new(true)},
	}
}

// agent is a Pod on the network of its node.
func agent(name string, node int) pod {
	p := member(name, node, 0, "DaemonSet/fluent-bit", "fluent-bit:4.0.5")
	p.shared, p.ips = true, []string{p.hostIP}
	return p
}

func ended(p pod, phase corev1.PodPhase) pod {
	p.phase = phase
	if phase == corev1.PodPending {
		p.ips, p.id = nil, ""
	}
	return p
}
