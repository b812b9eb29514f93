package plugin

import (
	"bytes"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/internal/cli"
	"github.com/weiyuanke/PodInfoLookup/internal/query"
	"github.com/weiyuanke/PodInfoLookup/internal/testcrcache"
)

func rowsOf(testcrs ...*v1.Testcr) (rows []row) {
	for _, c := range testcrs {
		rows = append(rows, row{query: "q", testcr: c, event: eventAdded})
	}
	return rows
}

// printed returns what o prints of rows, printed one after another.
func printed(t *testing.T, o options, s shape, batches ...[]row) string {
	t.Helper()
	var out bytes.Buffer
	o.IOStreams = genericiooptions.IOStreams{Out: &out, ErrOut: &out}
	p, err := o.newPrinter()
	if err != nil {
		t.Fatal(err)
	}
	if c, ok := p.(*table); ok {
		c.color = o.by == "color" // a buffer is no terminal
	}
	for _, rows := range batches {
		if err := p.print(rows, s); err != nil {
			t.Fatal(err)
		}
	}
	return out.String()
}

func workload(pod *corev1.Pod) {
	pod.OwnerReferences = []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "StatefulSet", Name: "db", Controller: new(true)}}
	pod.Spec.ServiceAccountName, pod.Status.HostIP = "sa", "192.0.2.1"
	pod.Spec.Containers = []corev1.Container{{Name: "x"}, {Name: "y"}}
}

func TestPrint(t *testing.T) {
	a, b := testcr("a", []string{"10.0.0.7", "fd00::7"}, workload), testcr("long-name", nil)
	gone := testcr("c", []string{"10.0.0.7"}, completed)
	byIPv6 := rowsOf(a)
	byIPv6[0].term, _ = query.ParseAs(query.IP, "FD00:0::7")
	deleted := rowsOf(a)
	deleted[0].event = eventDeleted
	columns := filepath.Join(t.TempDir(), "columns")
	if err := os.WriteFile(columns, []byte("POD IP\n.spec.podname {.spec.podip}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name    string
		o       options
		shape   shape
		batches [][]row
		want    string
	}{
		{"a table", options{}, shape{}, [][]row{rowsOf(a, b)}, `
NAMESPACE   NAME        STATUS    READY    RESTARTS   IP         NODE       WORKLOAD         AGE
shop        a           Running   0/2      0          10.0.0.7   worker-1   statefulset/db   <unknown>
shop        long-name   Running   <none>   0          <none>     worker-1   <none>           <unknown>
`},
		{"without headers", options{noHeaders: true}, shape{}, [][]row{rowsOf(a)}, `
shop   a     Running   0/2   0     10.0.0.7   worker-1   statefulset/db   <unknown>
`},
		{"several queries", options{}, shape{several: true}, [][]row{rowsOf(b)}, `
QUERY   NAMESPACE   NAME        STATUS    READY    RESTARTS   IP       NODE       WORKLOAD   AGE
q       shop        long-name   Running   <none>   0          <none>   worker-1   <none>     <unknown>
`},
		{"the IP that was asked for", options{noHeaders: true}, shape{}, [][]row{byIPv6}, `
shop   a     Running   0/2   0     fd00::7   worker-1   statefulset/db   <unknown>
`},
		{"a reason for doubt", options{noHeaders: true}, shape{}, [][]row{rowsOf(gone)}, `
shop   c     Succeeded   <none>   0     10.0.0.7   worker-1   <none>   <unknown>   completed (Succeeded): its IP may be another Pod's by now
`},
		{"wide", options{output: "wide", noHeaders: true}, shape{}, [][]row{rowsOf(a)}, `
shop   a     Running   0/2   0     10.0.0.7,fd00::7   worker-1   statefulset/db   <unknown>   192.0.2.1   sa    uid-a   x,y
`},
		{"a watch that goes on aligned", options{watch: true}, shape{watch: true}, [][]row{rowsOf(b), rowsOf(a), deleted}, `
NAMESPACE   NAME        STATUS    READY    RESTARTS   IP       NODE       WORKLOAD   AGE         NOTE
shop        long-name   Running   <none>   0          <none>   worker-1   <none>     <unknown>   
shop        a           Running   0/2      0          10.0.0.7   worker-1   statefulset/db   <unknown>   
shop        a           Running   0/2      0          10.0.0.7   worker-1   statefulset/db   <unknown>   no longer found
`},
		{"a watch with events", options{watch: true, events: true, noHeaders: true}, shape{watch: true}, [][]row{rowsOf(b), deleted}, `
ADDED   shop   long-name   Running   <none>   0     <none>   worker-1   <none>   <unknown>   
DELETED   shop   a           Running   0/2      0     10.0.0.7   worker-1   statefulset/db   <unknown>   no longer found
`},
		{"color", options{by: "color"}, shape{}, [][]row{rowsOf(b, gone, testcr("d", nil, terminating))}, "\n" +
			"\x1b[1mNAMESPACE   NAME        STATUS        READY    RESTARTS   IP         NODE       WORKLOAD   AGE         NOTE\x1b[0m\n" +
			"shop        long-name   \x1b[31mRunning\x1b[0m       <none>   0          <none>     worker-1   <none>     <unknown>   \n" +
			"\x1b[2mshop        c           \x1b[2mSucceeded\x1b[0m\x1b[2m     <none>   0          10.0.0.7   worker-1   <none>     <unknown>   completed (Succeeded): its IP may be another Pod's by now\x1b[0m\n" +
			"shop        d           \x1b[35mTerminating\x1b[0m   <none>   0          <none>     worker-1   <none>     <unknown>   terminating\n"},
		{"a name", options{output: "name"}, shape{single: true}, [][]row{rowsOf(a)}, "\npod/a\n"},
		{"names of a list", options{output: "name"}, shape{}, [][]row{rowsOf(a, b)}, "\npod/a\npod/long-name\n"},
		{"Pods", options{output: "pod"}, shape{}, [][]row{rowsOf(a, b)}, "\n-n shop pod/a\n-n shop pod/long-name\n"},
		{"a table that is asked for", options{output: "table", noHeaders: true}, shape{single: true}, [][]row{rowsOf(b)}, `
shop   long-name   Running   <none>   0     <none>   worker-1   <none>   <unknown>
`},
		{"JSONPath of one", options{output: "jsonpath={.spec.podkey}"}, shape{single: true}, [][]row{rowsOf(a)}, "\nshop/a"},
		{"JSONPath of a list", options{output: "jsonpath={.items[*].spec.podname}"}, shape{}, [][]row{rowsOf(a, b)}, "\na long-name"},
		{"an empty list", options{output: "jsonpath={.kind}{.items}"}, shape{}, [][]row{nil}, "\nList[]"},
		{"custom columns", options{output: "custom-columns=POD:.spec.podkey,IPS:{.spec.podips[*]},N:spec.nothing"}, shape{}, [][]row{rowsOf(a, b)}, `
POD              IPS                N
shop/a           10.0.0.7,fd00::7   <none>
shop/long-name   <none>             <none>
`},
		{"custom columns of nothing", options{output: "custom-columns=POD:.spec.podkey"}, shape{}, [][]row{nil}, "\n"},
		{"custom columns from a file", options{output: "custom-columns-file=" + columns, noHeaders: true}, shape{}, [][]row{rowsOf(a)}, "\na     10.0.0.7\n"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, "\n"+printed(t, test.o, test.shape, test.batches...)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestPrintsObjectsOfTheAPI(t *testing.T) {
	c := testcr("a", []string{"10.0.0.7"})
	c.UID, c.ResourceVersion, c.CreationTimestamp = "u", "7", metav1.Unix(0, 0)
	out := printed(t, options{output: "yaml"}, shape{single: true}, rowsOf(c))
	for _, want := range []string{"apiVersion: stable.example.com/v1\nkind: Testcr\n", "  creationTimestamp: \"1970-01-01T00:00:00Z\"\n", "  resourceVersion: \"7\"\n", "  podkey: shop/a\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	if out := printed(t, options{output: "json", events: true}, shape{watch: true}, rowsOf(c)); !strings.HasPrefix(out, `{"type":"ADDED","object":{`) {
		t.Errorf("an event is %s", out)
	}
}

func TestNoPrinter(t *testing.T) {
	tests := []struct{ output, want string }{
		{"xml", `-o "xml" is none of card, table, wide, pod, json, yaml,`},
		{"custom-columns", "-o custom-columns: give custom-columns=HEADER:PATH,..."},
		{"custom-columns=A", `-o custom-columns: column "A": HEADER:PATH is needed`},
		{"custom-columns=A:{", `-o custom-columns: column "A": `},
		{"custom-columns-file=/nowhere", "open /nowhere: "},
		{"jsonpath", "template format specified but no template given"},
		{"jsonpath={", "error parsing jsonpath {, unclosed action"},
	}
	for _, test := range tests {
		o := options{output: test.output}
		_, err := o.newPrinter()
		if usage := (cli.UsageError{}); !errors.As(err, &usage) || !strings.HasPrefix(err.Error(), test.want) {
			t.Errorf("-o %s: error %v, want the usage error %q", test.output, err, test.want)
		}
	}
}

func TestColorNeedsATerminal(t *testing.T) {
	// A test has no terminal: that one gets color is left to cli-runtime, whose
	// AllowsColorOutput also minds NO_COLOR and TERM=dumb.
	o := options{IOStreams: genericiooptions.IOStreams{Out: output{&bytes.Buffer{}}}}
	if newTable(&o).color {
		t.Error("a buffer gets color")
	}
}

func TestMessage(t *testing.T) {
	resource := schema.GroupResource{Group: "stable.example.com", Resource: "testcrs"}
	refused := &url.Error{Op: "Get", URL: "https://10.0.0.1:6443/x", Err: syscall.ECONNREFUSED}
	tests := []struct {
		name string
		err  error
		want string
	}{
		{"no right", apierrors.NewForbidden(resource, "", errors.New("no")), "Error from server (Forbidden): testcrs.stable.example.com is forbidden: no"},
		{"wrapped", fmt.Errorf("x: %w", apierrors.NewForbidden(resource, "", errors.New("no"))), "Error from server (Forbidden): x: testcrs.stable.example.com is forbidden: no"},
		{"no login", apierrors.NewUnauthorized("Unauthorized"), "error: You must be logged in to the server (Unauthorized)"},
		{"no reason", &apierrors.StatusError{ErrStatus: metav1.Status{Message: "odd"}}, "Error from server: odd"},
		{"nobody there", refused, "The connection to the server 10.0.0.1:6443 was refused - did you specify the right host or port?"},
		{"no way there", &url.Error{Op: "Get", URL: "https://x", Err: errors.New("no such host")}, "Unable to connect to the server: no such host"},
		{"anything else", testcrcache.ErrCRDMissing, "error: the CRD testcrs.stable.example.com is missing: kubectl apply -f yaml/testcrd.yaml"},
	}
	for _, test := range tests {
		if diff := cmp.Diff(test.want, message(test.err)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.name, diff)
		}
	}
}

func TestEveryRareFlagIsHidden(t *testing.T) {
	cmd := NewCommand(genericiooptions.NewTestIOStreamsDiscard())
	for _, name := range rareFlags {
		if f := cmd.PersistentFlags().Lookup(name); f == nil || !f.Hidden {
			t.Errorf("--%s is not hidden, or not there", name)
		}
	}
}

// TestObject_OfAPod prints a Testcr that is made from a Pod: nothing in its metadata
// looks as if it were stored.
func TestObject_OfAPod(t *testing.T) {
	c := testcr("a", []string{"10.0.0.7"})
	c.ResourceVersion = "7" // of the Pod
	out := printed(t, options{output: "yaml"}, shape{single: true}, rowsOf(c))
	for _, unwanted := range []string{"resourceVersion", "  uid:", "creationTimestamp"} {
		if strings.Contains(out, unwanted) {
			t.Errorf("%s in\n%s", unwanted, out)
		}
	}
	if !strings.Contains(out, "kind: Testcr\n") {
		t.Error(out)
	}
}
