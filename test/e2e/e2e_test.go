package e2e_test

import (
	"context"
	"regexp"
	"strings"
	"testing"

	"github.com/weiyuanke/PodInfoLookup/test/testenv"
)

// wantSession is what `make demo` shows, in this order. Between add and the list
// there are mostly updates, but a busy machine may merge all of them into the add.
var wantSession = []string{
	`\$ kubectl apply -f yaml/testcrd\.yaml`,
	`go run main\.go --kubeconfig=`,
	`\$ kubectl apply -f yaml/pod\.yaml`,
	`pod/nginx created`,
	`(?m)^add: default/nginx$`,
	`(?m)^current list:$`,
	`(?m)^NAME +POD +IP +NODE +PHASE +AGE$`,
	nginx + ` +default/nginx +[0-9.]+ +node-\d+ +Running +`,
	`(?m)^\$ kubectl get testcrs$`,
	`(?m)^NAME +POD +IP +NODE +PHASE +STATUS +AGE$`,
	nginx + ` +default/nginx +[0-9.]+ +node-\d+ +Running +`,
	`kind: Testcr`,
	`(?m)^  podip: [0-9.]+$`,
	`\$ kubectl delete -f yaml/pod\.yaml`,
	`(?m)^delete: default/nginx$`,
	`(?m)^current list:$\n\n`,
	`\$ kubectl apply -f hack/demo\.yaml`,
	`(?m)^\d\d Testcrs$`,
	`You have [0-9.]+ from a log`,
	`\$ kubectl get tc --field-selector spec\.podip=[0-9.]+`,
	` shop/checkout-\S+ +[0-9.]+ `,
	`\$ kubectl podinfo [0-9.]+\n`,
	`checkout-\S+`,
	`\$ kubectl podinfo 'dial tcp`,
	`checkout-\S+`,
	`\bcurl .*http://127\.0\.0\.1:\d+/\?q=[0-9.]+`,
	`(?m)^http://127\.0\.0\.1:\d+/\?q=[0-9.]+$`,
	`\$ kubectl podinfo annotate <`,
	`GET /cart from [0-9.]+\[shop/cart-\S+\] took`,
	`dial tcp [0-9.]+\[shop/checkout-\S+\]:8080:`,
	`/pod[0-9a-f-]{36}\[shop/front-\S+\]`,
	`It works,`,
	`make demo-down`,
}

func TestDemo(t *testing.T) {
	t.Cleanup(func() {
		if out, err := command(context.WithoutCancel(t.Context()), "hack/demo.sh", "down").CombinedOutput(); err != nil {
			t.Errorf("demo.sh down: %v\n%s", err, out)
		}
	})
	// A second time nothing of the first is in its way.
	for range 2 {
		session := run(t, "hack/demo.sh")
		rest := session
		for _, want := range wantSession {
			at := regexp.MustCompile(want).FindStringIndex(rest)
			if at == nil {
				t.Fatalf("the session lacks %q, or has it too early:\n%s", want, session)
			}
			rest = rest[at[1]:]
		}
	}
	demoGoesOn(t)
	usePage(t)
	run(t, "hack/cluster/cluster.sh", "status")
}

// demoGoesOn checks that the controller of the demo is at work until it is stopped.
func demoGoesOn(t *testing.T) {
	t.Helper()
	kubectl(t, "apply", "-f", "yaml/pod.yaml")
	testenv.Eventually(t, func(ctx context.Context) error {
		return command(ctx, ".cluster/bin/kubectl", "get", "testcr", nginx).Run()
	})
	kubectl(t, "delete", "-f", "yaml/pod.yaml")
	if out := run(t, "hack/demo.sh", "down"); !strings.Contains(out, "stopped the controller") {
		t.Errorf("demo.sh down: %q", out)
	}
	if out := run(t, "hack/demo.sh", "down"); out != "" {
		t.Errorf("demo.sh down again: %q", out)
	}
}
