package cli_test

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/weiyuanke/PodInfoLookup/test/testenv"
)

// TestRefusedWritesEndTheStart runs the program as a user who has every right, but
// whose writes yaml/admission.yaml refuses. A candidate for the lease finds out, too.
func TestRefusedWritesEndTheStart(t *testing.T) {
	t.Parallel()
	kubeconfig := env.User(t, "refused-writer", "system:masters").Write(t)
	for _, args := range [][]string{nil, {"--namespace=default"}, {"--leader-elect"}} {
		p := command(t, append([]string{"--kubeconfig=" + kubeconfig}, args...)...).Start(t)
		(&failure{1, `a Testcr cannot be created \(tried with dryRun\): .*"refused-writer" may not write Testcrs`,
			"run this program as the user that it lets write"}).check(t, p)
	}
}

// TestTheHeartbeatIsRenewed waits for two renewals, of which the second comes after ten
// seconds.
func TestTheHeartbeatIsRenewed(t *testing.T) {
	t.Parallel()
	namespace := env.Namespace(t, "")
	heartbeat := func(ctx context.Context) (*coordinationv1.Lease, error) {
		return env.Clients.CoordinationV1().Leases("default").Get(ctx, "podinfolookup-"+namespace+".heartbeat", metav1.GetOptions{})
	}
	p := start(t, namespace, "--cluster-name=prod-eu")
	var first *coordinationv1.Lease
	testenv.Eventually(t, func(ctx context.Context) (err error) {
		first, err = heartbeat(ctx)
		return err
	})
	if first.Labels["app.kubernetes.io/managed-by"] != "podinfolookup" || first.Annotations["stable.example.com/namespaces"] != namespace ||
		first.Annotations["stable.example.com/cluster-name"] != "prod-eu" ||
		time.Since(first.Spec.RenewTime.Time) > time.Minute || *first.Spec.LeaseDurationSeconds != 30 {
		t.Errorf("the heartbeat is %+v", first)
	}
	testenv.Eventually(t, func(ctx context.Context) error {
		second, err := heartbeat(ctx)
		if err == nil && !second.Spec.RenewTime.After(first.Spec.RenewTime.Time) {
			err = errors.New("it was not renewed")
		}
		return err
	})
	p.Signal(t, syscall.SIGTERM)
	if code := p.Wait(t, testenv.StopWithin); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// TestAHeartbeatThatIsRefusedEndsNothing keeps the heartbeat where there is no right to.
func TestAHeartbeatThatIsRefusedEndsNothing(t *testing.T) {
	t.Parallel()
	namespace := env.Namespace(t, "")
	p := start(t, namespace, "--leader-elect-resource-namespace=kube-public")
	testenv.Eventually(t, func(context.Context) error {
		return p.Stderr.Has("Cannot renew the heartbeat, trying again")
	})
	createPod(t, namespace, "web")
	hasTestcr(t, namespace, "web", true)
	if err := p.Running(); err != nil {
		t.Error(fmt.Errorf("it has ended: %w", err))
	}
}
