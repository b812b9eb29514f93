package plugin

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
)

// longNames gives the Pod names as clouds and Deployments have them.
func longNames(pod *corev1.Pod) {
	pod.Namespace, pod.UID = "production-checkout", uid
	pod.Spec.NodeName, pod.Status.HostIP, pod.Spec.ServiceAccountName = "ip-10-0-12-34.eu-central-1.compute.internal", "10.0.12.34", "checkout-service"
	pod.Spec.Containers = []corev1.Container{{Name: "checkout-service"}, {Name: "istio-proxy"}}
}

// onTerminal returns what a terminal of this width shows of rows, and standard error.
func onTerminal(t *testing.T, o options, width int, s shape, batches ...[]row) (stdout, stderr string) {
	t.Helper()
	var out, errOut bytes.Buffer
	o.IOStreams = genericiooptions.IOStreams{Out: &out, ErrOut: &errOut}
	p := newTable(&o)
	p.width = func() int { return width }
	for _, rows := range batches {
		if err := p.print(rows, s); err != nil {
			t.Fatal(err)
		}
	}
	return out.String(), errOut.String()
}

func TestTable_FitsTheTerminal(t *testing.T) {
	checkout := testcr("checkout-service-7dfb7b87b-5vxwk", []string{"10.0.12.77"}, longNames)
	host := testcr("agent", []string{"10.0.12.34"}, longNames, onHost)
	hostile := testcr("a", nil, func(pod *corev1.Pod) { pod.Status.Reason = strings.Repeat("日", 100) })
	tests := []struct {
		name   string
		o      options
		width  int
		shape  shape
		rows   []row
		want   string
		stderr string
	}{
		{
			name: "all fit", width: 180, rows: rowsOf(checkout), want: `
NAMESPACE             NAME                               STATUS    READY   RESTARTS   IP           NODE                                          WORKLOAD   AGE
production-checkout   checkout-service-7dfb7b87b-5vxwk   Running   0/2     0          10.0.12.77   ip-10-0-12-34.eu-central-1.compute.internal   <none>     <unknown>
`,
		},
		{
			name: "the domain of the node goes first", width: 140, rows: rowsOf(checkout), want: `
NAMESPACE            NAME                              STATUS   READY  RESTARTS  IP          NODE            WORKLOAD  AGE
production-checkout  checkout-service-7dfb7b87b-5vxwk  Running  0/2    0         10.0.12.77  ip-10-0-12-34…  <none>    <unknown>
`,
		},
		{
			name: "80 columns", width: 80, rows: rowsOf(checkout, host), want: `
NAMESPACE            NAME                              STATUS   READY  RESTARTS
production-checkout  checkout-service-7dfb7b87b-5vxwk  Running  0/2    0
production-checkout  agent                             Running  0/2    0
  NOTE: host network: shares the IP of its node
`,
			stderr: "note: too narrow for IP, NODE, WORKLOAD, AGE: -o json has all\n",
		},
		{
			name: "names are cut last", width: 40, shape: shape{several: true}, rows: rowsOf(host), want: `
QUERY  NAMESPACE          NAME   STATUS
q      production-check…  agent  Running
  NOTE: host network: shares the IP of
    its node
`,
			stderr: "note: too narrow for READY, RESTARTS, IP, NODE, WORKLOAD, AGE: -o json has all\n",
		},
		{
			name: "wide", o: options{output: "wide"}, width: 160, rows: rowsOf(checkout), want: `
NAMESPACE            NAME                              STATUS   READY  RESTARTS  IP          NODE            AGE        HOST-IP     SERVICE-ACCOUNT   UID
production-checkout  checkout-service-7dfb7b87b-5vxwk  Running  0/2    0         10.0.12.77  ip-10-0-12-34…  <unknown>  10.0.12.34  checkout-service  8b5c43ef…
`,
			stderr: "note: too narrow for WORKLOAD, CONTAINERS: -o json has all\n",
		},
		{
			name: "a stranger's status", width: 60, rows: rowsOf(hostile), want: `
NAMESPACE  NAME  STATUS
shop       a     日日日日日日日日日日日日日日日日日日日…
`,
			stderr: "note: too narrow for READY, RESTARTS, IP, NODE, WORKLOAD, AGE: -o json has all\n",
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			stdout, stderr := onTerminal(t, test.o, test.width, test.shape, test.rows)
			if diff := cmp.Diff(test.want, "\n"+stdout); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if stderr != test.stderr {
				t.Errorf("standard error %q, want %q", stderr, test.stderr)
			}
			for line := range strings.Lines(stdout) {
				if n := widthOf(strings.TrimSuffix(line, "\n")); n > test.width {
					t.Errorf("%d columns: %q", n, line)
				}
			}
		})
	}
}

// TestTable_Watch shows a row later that is too wide for the columns before it.
func TestTable_Watch(t *testing.T) {
	short, long := testcr("a", []string{"10.0.0.7"}), testcr("checkout-service-7dfb7b87b-5vxwk", []string{"10.0.12.77"}, longNames)
	gone := rowsOf(short)
	gone[0].event = eventDeleted
	stdout, stderr := onTerminal(t, options{}, 100, shape{watch: true}, rowsOf(short), rowsOf(long), gone)
	want := `NAMESPACE   NAME   STATUS    READY    RESTARTS   IP         NODE       WORKLOAD   AGE         NOTE
shop        a      Running   <none>   0          10.0.0.7   worker-1   <none>     <unknown>   
NAMESPACE            NAME                              STATUS   READY   IP          NODE
production-checkout  checkout-service-7dfb7b87b-5vxwk  Running  0/2     10.0.12.77  ip-10-0-12-34…
shop                 a                                 Running  <none>  10.0.0.7    worker-1
  NOTE: no longer found
`
	if diff := cmp.Diff(want, stdout); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if stderr != "note: too narrow for RESTARTS, WORKLOAD, AGE: -o json has all\n" {
		t.Errorf("standard error %q", stderr)
	}
}

// TestTable_Watch_Shortened has room for the columns of a later row, but not for its node.
func TestTable_Watch_Shortened(t *testing.T) {
	short, long := testcr("a", []string{"10.0.0.7"}), testcr("checkout-service-7dfb7b87b-5vxwk", []string{"10.0.12.77"}, longNames)
	stdout, stderr := onTerminal(t, options{}, 140, shape{watch: true}, rowsOf(short), rowsOf(long))
	want := `NAMESPACE   NAME   STATUS    READY    RESTARTS   IP         NODE       WORKLOAD   AGE         NOTE
shop        a      Running   <none>   0          10.0.0.7   worker-1   <none>     <unknown>   
NAMESPACE            NAME                              STATUS   READY   RESTARTS  IP          NODE            WORKLOAD  AGE
production-checkout  checkout-service-7dfb7b87b-5vxwk  Running  0/2     0         10.0.12.77  ip-10-0-12-34…  <none>    <unknown>
`
	if diff := cmp.Diff(want, stdout); diff != "" || stderr != "" {
		t.Errorf("standard error %q (-want +got):\n%s", stderr, diff)
	}
}

func TestStatusStyle(t *testing.T) {
	tests := []struct {
		spec v1.TestcrSpec
		want string
	}{
		{v1.TestcrSpec{Phase: "Running", Status: "Running", Ready: true}, cyan},
		{v1.TestcrSpec{Phase: "Running", Status: "Running"}, red},
		{v1.TestcrSpec{Phase: "Running", Ready: true}, cyan},
		{v1.TestcrSpec{Phase: "Running", Status: "Terminating", Ready: true, Terminating: true}, magenta},
		{v1.TestcrSpec{Phase: "Succeeded", Status: "Completed"}, dim},
		{v1.TestcrSpec{Phase: "Running", Status: "Completed"}, dim},
		{v1.TestcrSpec{Phase: "Failed", Status: "Evicted"}, red},
		{v1.TestcrSpec{Phase: "Pending", Status: "ContainerCreating"}, yellow},
		{v1.TestcrSpec{Phase: "Pending", Status: "Init:0/2"}, yellow},
		{v1.TestcrSpec{Phase: "Pending", Status: "Init:CrashLoopBackOff"}, red},
		{v1.TestcrSpec{Phase: "Pending", Status: "Init:"}, red},
		{v1.TestcrSpec{Phase: "Pending", Status: "ImagePullBackOff"}, red},
		{v1.TestcrSpec{Phase: "Running", Status: "CrashLoopBackOff", Ready: true}, red},
		{v1.TestcrSpec{Phase: "Unknown"}, red},
	}
	for _, test := range tests {
		if got := statusStyle(&test.spec); got != test.want {
			t.Errorf("%+v: got %q, want %q", test.spec, got, test.want)
		}
	}
}

func TestCut(t *testing.T) {
	tests := []struct {
		text  string
		width int
		want  string
	}{
		{"abc", 3, "abc"}, {"abcd", 3, "ab…"}, {"日本", 4, "日本"}, {"日本", 3, "日…"}, {"日本", 2, "…"}, {"", 0, ""}, {"é", 1, "é"},
	}
	for _, test := range tests {
		if got := cut(test.text, test.width); got != test.want {
			t.Errorf("%q to %d: got %q, want %q", test.text, test.width, got, test.want)
		}
	}
}

func TestFirstLabel(t *testing.T) {
	for name, want := range map[string]string{
		"ip-10-0-12-34.eu-central-1.compute.internal": "ip-10-0-12-34…", "worker-1": "worker-1", "10.0.12.34": "10.0.12.34", "": "", "<none>": "<none>",
	} {
		if got := firstLabel(name); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
}
