package e2e_test

import (
	"regexp"
	"testing"
)

// wantSession is what `make demo` shows, in this order. Between add and the list
// there are mostly updates, but a busy machine may merge all of them into the add.
var wantSession = []string{
	`\$ kubectl apply -f yaml/testcrd\.yaml`,
	`\$ kubectl apply -f yaml/pod\.yaml`,
	`pod/nginx created`,
	`(?m)^add: default/nginx$`,
	`(?m)^current list:$`,
	`(?m)^NAME +POD +IP +NODE +PHASE +AGE$`,
	`(?m)^29b36e2c6835dded8a115aee874d1ddc +default/nginx +[0-9.]+ +node-\d+ +Running +`,
	`\$ kubectl get testcrs --field-selector spec\.podname=nginx`,
	`(?m)^NAME +POD +IP +NODE +PHASE +STATUS +AGE$`,
	`(?m)^29b36e2c6835dded8a115aee874d1ddc +default/nginx +[0-9.]+ +node-\d+ +Running +`,
	`kind: Testcr`,
	`(?m)^  podip: [0-9.]+$`,
	`\$ kubectl delete -f yaml/pod\.yaml`,
	`(?m)^delete: default/nginx$`,
	`(?m)^current list:$\n\n`,
	`It works\.`,
}

func TestDemo(t *testing.T) {
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
	usePage(t)
	run(t, "hack/cluster/cluster.sh", "status")
}
