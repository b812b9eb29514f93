package lookup_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"unicode"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// trimmed takes the padding of the last column away.
func trimmed(text string) string {
	lines := strings.Split(text, "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ")
	}
	return strings.Join(lines, "\n")
}

func TestText(t *testing.T) {
	token := ""
	tests := []struct {
		name, path string
		wantCode   int
		want       string
	}{
		{"all Pods", "/v1/pods", http.StatusOK, `
POD                 IP                 NODE     STATUS        READY    RESTARTS   AGE    WORKLOAD          UID                                    NOTE
kube-system/proxy   192.168.0.1        node-1   Running       0/1      0          4h     daemonset/proxy   0f1e2d3c-4b5a-6978-8796-000000000004   host network: shares the IP of its node
shop/web-1          10.0.0.1,fd00::1   node-1   Running       0/1      0          60m    deployment/web    0f1e2d3c-4b5a-6978-8796-000000000001
team/pending        <none>             <none>   Pending       <none>   0          6h     <none>            0f1e2d3c-4b5a-6978-8796-000000000006
team/web-1          10.0.0.10          node-2   Running       0/1      0          5h     statefulset/web   0f1e2d3c-4b5a-6978-8796-000000000005
shop/web-2          10.0.0.2           node-2   Terminating   0/1      0          120m   deployment/web    0f1e2d3c-4b5a-6978-8796-000000000002   terminating
shop/old            10.0.0.1           node-1   Succeeded     0/1      0          3h     job/once          0f1e2d3c-4b5a-6978-8796-000000000003   completed (Succeeded): its IP may be another Pod's by now
`},
		{"an ambiguous IP, page by page", "/v1/pods?ip=10.0.0.1&limit=1", http.StatusOK, `
POD          IP                 NODE     STATUS    READY   RESTARTS   AGE   WORKLOAD         UID                                    NOTE
shop/web-1   10.0.0.1,fd00::1   node-1   Running   0/1     0          60m   deployment/web   0f1e2d3c-4b5a-6978-8796-000000000001

ambiguous: 2 Pods match

1 of 2; the next page is &continue=TOKEN
`},
		{"none", "/v1/pods?ip=10.0.0.9", http.StatusNotFound, "\nno Pod with ip 10.0.0.9\n"},
		{"none without a term", "/v1/pods?phase=Failed", http.StatusOK, "\nPOD   IP   NODE   STATUS   READY   RESTARTS   AGE   WORKLOAD   UID   NOTE\n"},
		{"a mistake", "/v1/pods?ip=x", http.StatusBadRequest, "\nip: \"x\" is not an IPv4 or IPv6 address\n"},
		{"one Pod", "/v1/pods/shop/web-1", http.StatusOK, `
pod:               shop/web-1
uid:               0f1e2d3c-4b5a-6978-8796-000000000001
ips:               10.0.0.1, fd00::1
node:              node-1
host ip:           192.168.0.1
status:            Running
phase:             Running
ready:             false 0/1
restarts:          0
workload:          deployment/web
service account:   web
age:               60m
container:         main nginx:1.29 containerd://` + webID + `
init container:    setup busybox
testcr:            TESTCR
`},
		{"a Pod that has nothing yet", "/v1/pods/team/pending", http.StatusOK, `
pod:        team/pending
uid:        0f1e2d3c-4b5a-6978-8796-000000000006
status:     Pending
phase:      Pending
ready:      false
restarts:   0
age:        6h
testcr:     TESTCR
`},
		{"a search with another reading", "/v1/search?q=192.168.0.1", http.StatusOK, `
192.168.0.1 is also the hostip of 3 Pods: &by=hostip
POD                 IP            NODE     STATUS    READY   RESTARTS   AGE   WORKLOAD          UID                                    NOTE
kube-system/proxy   192.168.0.1   node-1   Running   0/1     0          4h    daemonset/proxy   0f1e2d3c-4b5a-6978-8796-000000000004   host network: shares the IP of its node
`},
		{"the same at the front", "/?q=192.168.0.1&by=hostip&sort=age&limit=1", http.StatusOK, `
POD          IP                 NODE     STATUS    READY   RESTARTS   AGE   WORKLOAD         UID                                    NOTE
shop/web-1   10.0.0.1,fd00::1   node-1   Running   0/1     0          60m   deployment/web   0f1e2d3c-4b5a-6978-8796-000000000001

1 of 3; the next page is &continue=TOKEN
`},
		{"a Pod that is open in the page", "/?q=team&pod=team/pending", http.StatusOK, `
pod:        team/pending
uid:        0f1e2d3c-4b5a-6978-8796-000000000006
status:     Pending
phase:      Pending
ready:      false
restarts:   0
age:        6h
testcr:     TESTCR
`},
		{"a search in vain", "/?q=xyz", http.StatusOK, "\nno Pod matches\n"},
		{"the summary", "/v1/summary", http.StatusOK, `
PHASE       PODS
Running     4
Pending     1
Succeeded   1
`},
		{"the front", "/", http.StatusOK, `
PodInfoLookup v1.2.3 knows 6 Pods, as of 0.0 s ago.

  curl 'http://example.com/?q=ANYTHING'          an IP, a UID, a container ID, a name ... or a part of one
  curl 'http://example.com/v1/pods?ip=10.0.0.7'  or uid, container, key, name, namespace, node, hostip, workload, image, label
  curl 'http://example.com/v1/pods/NAMESPACE/NAME'

JSON from /v1, or text with -H 'Accept: text/plain'. In a browser this is a page.

PHASE       PODS
Running     4
Pending     1
Succeeded   1
`},
	}
	synctest.Test(t, func(t *testing.T) { // else Pods would age
		_, h := serve(t, shop()...)
		for _, test := range tests {
			w := get(t, h, test.path, "text/plain")
			got := trimmed(w.Body.String())
			if _, after, ok := strings.Cut(got, "&continue="); ok {
				token = strings.TrimSpace(after)
				got = strings.ReplaceAll(got, token, "TOKEN")
			}
			if before, after, ok := strings.Cut(got, "testcr:"); ok {
				name := strings.TrimSpace(after)
				got = before + strings.Replace("testcr:"+after, name, "TESTCR", 1)
			}
			if diff := cmp.Diff(strings.TrimPrefix(test.want, "\n"), got); diff != "" || w.Code != test.wantCode {
				t.Errorf("%s: status %d, want %d (-want +got):\n%s", test.name, w.Code, test.wantCode, diff)
			}
		}
	})
}

// TestTextMovesNoCursor puts what a terminal acts on wherever the API server
// lets anybody put it, and wherever a question can have it.
func TestTextMovesNoCursor(t *testing.T) {
	const evil = "a\x1b[2J\x1b]0;b\x07\tc\r\nfake pod\u202e\u0085\x9b\u200b\xff"
	_, h := serve(t, pod("shop", "web", 1, "10.0.0.1", "node-1", func(p *corev1.Pod) {
		p.Labels = map[string]string{"a": evil}
		p.OwnerReferences = ownedBy(evil, evil)
		p.Spec.NodeName, p.Spec.ServiceAccountName = evil, evil
		p.Spec.Containers[0].Name, p.Spec.Containers[0].Image = evil, evil
		p.Spec.EphemeralContainers = []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: evil, Image: evil}}}
		p.Status.ContainerStatuses[0] = corev1.ContainerStatus{Name: evil, ContainerID: evil}
		p.Status.PodIPs, p.Status.HostIP = []corev1.PodIP{{IP: evil}, {IP: evil}}, evil
		p.Status.Phase, p.UID = evil, evil
		p.CreationTimestamp = metav1.Time{}
	}))
	q := url.QueryEscape(evil)
	kept := url.QueryEscape(string([]rune(evil))) // as a Testcr has it, in UTF-8
	tests := []struct {
		path      string
		wantLines int
	}{
		{"/v1/pods", 2},
		{"/v1/pods/shop/web", 14},
		{"/v1/pods/shop/" + url.PathEscape(evil), 1},
		{"/v1/pods?name=" + q, 1},
		{"/v1/pods?workload=" + kept, 2},
		{"/v1/pods?node=" + kept + "&phase=" + kept, 2},
		{"/v1/pods?namespace=" + q + "&phase=" + q, 1},
		{"/v1/pods?ip=" + q, 1},
		{"/v1/pods?" + q + "=1", 1},
		{"/v1/pods?limit=" + q, 1},
		{"/v1/search?sort=" + q, 1},
		{"/v1/search?by=" + q, 1},
		{"/v1/search?desc=" + q, 1},
		{"/v1/search?by=text&q=" + q, 2},
		{"/v1/search?by=node&q=" + kept, 2},
		{"/v1/summary", 2},
		{"/" + url.PathEscape(evil), 1},
	}
	for i, test := range tests {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			got := strings.TrimSuffix(get(t, h, test.path, "text/plain").Body.String(), "\n")
			for line := range strings.SplitSeq(got, "\n") {
				if strings.ContainsFunc(line, func(r rune) bool { return !unicode.IsPrint(r) }) {
					t.Errorf("%s: %q", test.path, line)
				}
			}
			if lines := strings.Count(got, "\n") + 1; lines != test.wantLines {
				t.Errorf("%s: %d lines, want %d:\n%s", test.path, lines, test.wantLines, got)
			}
		})
	}
}
