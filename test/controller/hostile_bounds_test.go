package controller_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/util/retry"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/test/testenv"
)

// TestBounds_OwnerCannotFreezeTheTestcr is about a Pod whose owner lets an image
// grow until no Testcr could hold it, and whose IP another Pod gets later.
func TestBounds_OwnerCannotFreezeTheTestcr(t *testing.T) {
	namespace := env.Namespace(t, "")
	p := start(t, namespace)
	old, err := createWith(t.Context(), env.Clients, namespace, ordinary("old"), runningAt("10.3.0.7"))
	if err != nil {
		t.Fatal(err)
	}
	follows(t, old)
	changePod(t, old, func(pod *corev1.Pod) { pod.Spec.Containers[0].Image = "i" + strings.Repeat("<", 270_000) }, nil)
	changePod(t, old, nil, func(status *corev1.PodStatus) { status.Phase = corev1.PodSucceeded })
	heir, err := createWith(t.Context(), env.Clients, namespace, ordinary("heir"), runningAt("10.3.0.7"))
	if err != nil {
		t.Fatal(err)
	}
	follows(t, heir)
	testenv.Eventually(t, hasSpec(namespace, "old", "phase", "Succeeded"))
	testenv.Eventually(t, func(ctx context.Context) error {
		code, body, err := p.Get(ctx, t, "/v1/pods?ip=10.3.0.7")
		if err != nil || code != http.StatusOK {
			return fmt.Errorf("%d %.300s: %w", code, body, err)
		}
		var answer struct {
			Items []struct {
				PodName string `json:"podname"`
				Live    bool   `json:"live"`
			} `json:"items"`
		}
		if err := json.Unmarshal([]byte(body), &answer); err != nil {
			return err
		}
		if len(answer.Items) != 2 || answer.Items[0].PodName != "heir" || !answer.Items[0].Live || answer.Items[1].Live {
			return fmt.Errorf("the answer is %+v", answer.Items)
		}
		return nil
	})
	testenv.Eventually(t, isTruncated(namespace, "old"))
	verified(t, namespace)
	stop(t, p, nil)
}

// changePod updates a Pod, its status, or both.
func changePod(t *testing.T, pod *corev1.Pod, edit func(*corev1.Pod), status func(*corev1.PodStatus)) {
	t.Helper()
	pods := env.Clients.CoreV1().Pods(pod.Namespace)
	err := retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		live, err := pods.Get(t.Context(), pod.Name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if edit != nil {
			edit(live)
			if live, err = pods.Update(t.Context(), live, metav1.UpdateOptions{}); err != nil {
				return err
			}
		}
		if status != nil {
			status(&live.Status)
			_, err = pods.UpdateStatus(t.Context(), live, metav1.UpdateOptions{})
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// isTruncated is a condition: spec.truncated of a Pod's Testcr is set.
func isTruncated(namespace, pod string) func(context.Context) error {
	return func(ctx context.Context) error {
		u, err := testcrs().Get(ctx, nameFor(namespace, pod), metav1.GetOptions{})
		if err != nil {
			return err
		}
		truncated, _, _ := unstructured.NestedBool(u.Object, "spec", "truncated")
		if more := u.GetLabels()["stable.example.com/more"]; !truncated || more != "true" {
			return fmt.Errorf("truncated is %t, the label more is %q", truncated, more)
		}
		return nil
	}
}

func largePods() []hostilePod {
	quotes := strings.Repeat(`"`, 1<<20)
	ids := func(n int, s *corev1.PodStatus) {
		for i := range n {
			s.ContainerStatuses = append(s.ContainerStatuses, corev1.ContainerStatus{Name: fmt.Sprintf("c%d", i), ContainerID: fmt.Sprintf("containerd://%064x", i+1)})
		}
	}
	containers := func(n int, image string) func(*corev1.Pod) {
		return func(p *corev1.Pod) {
			p.Spec.Containers = nil
			for i := range n {
				p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: fmt.Sprintf("c%d", i), Image: image})
			}
		}
	}
	return []hostilePod{
		{name: "an image of quotation marks", edit: containers(1, quotes), status: runningAt("10.3.1.1")},
		{name: "an image of control characters", edit: containers(1, "x"+strings.Repeat("\x01", 700_000)+"x"), status: runningAt("10.3.1.2")},
		{name: "an image that is not UTF-8", edit: containers(1, strings.Repeat("\xff", 700_000)), status: runningAt("10.3.1.3")},
		{name: "40 images of 20 kB", edit: containers(40, strings.Repeat("<", 20_000)), status: runningAt("10.3.1.4")},
		{name: "1,000 containers", edit: containers(1000, "registry.example.com/team/image:1"), status: func(s *corev1.PodStatus) {
			runningAt("10.3.1.5")(s)
			ids(1000, s)
		}},
		{name: "5,000 labels", edit: func(p *corev1.Pod) {
			for i := range 5000 {
				p.Labels[fmt.Sprintf("%s.example.com/%04d", strings.Repeat("p", 60), i)] = strings.Repeat("v", 63)
			}
		}, status: runningAt("10.3.1.6")},
		{name: "a phase of quotation marks", status: func(s *corev1.PodStatus) { s.Phase = corev1.PodPhase(quotes) }},
		{name: "a host IP of quotation marks", status: func(s *corev1.PodStatus) { s.HostIP = quotes }},
		{name: "a container ID of quotation marks", status: func(s *corev1.PodStatus) {
			s.ContainerStatuses = []corev1.ContainerStatus{{Name: "main", ContainerID: quotes}}
		}},
		{name: "an owner of quotation marks", edit: func(p *corev1.Pod) {
			p.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "Odd", Name: quotes, UID: "u", Controller: new(true)}}
		}},
		{name: "a kind of owner of quotation marks", edit: func(p *corev1.Pod) {
			p.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: quotes, Name: "odd", UID: "u", Controller: new(true)}}
		}},
	}
}

func TestBounds_LargePodHasItsTestcr(t *testing.T) {
	namespace := env.Namespace(t, "")
	p := start(t, namespace)
	for i, large := range largePods() {
		t.Run(large.name, func(t *testing.T) {
			pod := ordinary(fmt.Sprintf("large-%02d", i))
			if large.edit != nil {
				large.edit(pod)
			}
			pod, err := createWith(t.Context(), protobuf, namespace, pod, large.status)
			if err != nil {
				t.Fatal(err)
			}
			testenv.Eventually(t, hasSpec(namespace, pod.Name, "poduid", string(pod.UID)))
			testenv.Eventually(t, isTruncated(namespace, pod.Name))
			if pod.Status.PodIP != "" {
				testenv.Eventually(t, hasSpec(namespace, pod.Name, "podip", pod.Status.PodIP))
			}
		})
	}
	verified(t, namespace)
	stop(t, p, nil)
}

// refuse has an admission policy refuse the Testcrs of a namespace unless rule is
// true, in the way that reason names.
func refuse(t *testing.T, namespace, rule string, reason metav1.StatusReason) {
	t.Helper()
	ctx := t.Context()
	name := "refuse-" + namespace
	policy := &admissionregistrationv1.ValidatingAdmissionPolicy{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: admissionregistrationv1.ValidatingAdmissionPolicySpec{
		MatchConstraints: &admissionregistrationv1.MatchResources{ResourceRules: []admissionregistrationv1.NamedRuleWithOperations{{
			RuleWithOperations: admissionregistrationv1.RuleWithOperations{
				Operations: []admissionregistrationv1.OperationType{admissionregistrationv1.Create, admissionregistrationv1.Update},
				Rule:       admissionregistrationv1.Rule{APIGroups: []string{"stable.example.com"}, APIVersions: []string{"*"}, Resources: []string{"testcrs"}},
			},
		}}},
		MatchConditions: []admissionregistrationv1.MatchCondition{{Name: "namespace", Expression: fmt.Sprintf("object.spec.namespace == %q", namespace)}},
		Validations:     []admissionregistrationv1.Validation{{Expression: rule, Reason: &reason, Message: "refused by a test"}},
	}}
	binding := &admissionregistrationv1.ValidatingAdmissionPolicyBinding{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: admissionregistrationv1.ValidatingAdmissionPolicyBindingSpec{
		PolicyName: name, ValidationActions: []admissionregistrationv1.ValidationAction{admissionregistrationv1.Deny},
	}}
	admission := env.Clients.AdmissionregistrationV1()
	if _, err := admission.ValidatingAdmissionPolicies().Create(ctx, policy, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := admission.ValidatingAdmissionPolicyBindings().Create(ctx, binding, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx := context.WithoutCancel(ctx)
		if err := errors.Join(admission.ValidatingAdmissionPolicyBindings().Delete(ctx, name, metav1.DeleteOptions{}),
			admission.ValidatingAdmissionPolicies().Delete(ctx, name, metav1.DeleteOptions{})); err != nil {
			t.Error(err)
		}
	})
	probe := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "stable.example.com/v1", "kind": "Testcr", "spec": testenv.Whole(map[string]any{
		"namespace": namespace, "podname": "hopeless", "containers": []any{map[string]any{"name": "c"}},
	})}}
	probe.SetName("probe")
	testenv.Eventually(t, func(ctx context.Context) error {
		_, err := testcrs().Create(ctx, probe, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		if apierrors.ReasonForError(err) != reason {
			return fmt.Errorf("the policy is not in force: %w", err)
		}
		return nil
	})
}

// TestBounds_RefusedTestcrIsReduced is about an API server that refuses what the
// program holds for right: the facts are written without the rest.
func TestBounds_RefusedTestcrIsReduced(t *testing.T) {
	for _, reason := range []metav1.StatusReason{metav1.StatusReasonInvalid, metav1.StatusReasonRequestEntityTooLarge} {
		t.Run(string(reason), func(t *testing.T) {
			namespace := env.Namespace(t, "")
			refuse(t, namespace, "!has(object.spec.containers) && !has(object.spec.labels)", reason)
			p := start(t, namespace)
			pod, err := createWith(t.Context(), env.Clients, namespace, ordinary("refused"), runningAt("10.3.2.1"))
			if err != nil {
				t.Fatal(err)
			}
			follows(t, pod)
			testenv.Eventually(t, isTruncated(namespace, "refused"))
			changePod(t, pod, nil, runningAt("10.3.2.2"))
			testenv.Eventually(t, hasSpec(namespace, "refused", "podip", "10.3.2.2"))
			testenv.Eventually(t, func(ctx context.Context) error {
				events, err := env.Clients.CoreV1().Events("default").List(ctx, metav1.ListOptions{FieldSelector: "reason=TestcrReduced"})
				if err != nil {
					return err
				}
				for i := range events.Items {
					if strings.Contains(events.Items[i].Message, namespace+"/refused") {
						return nil
					}
				}
				return fmt.Errorf("no Event among %d names the Pod", len(events.Items))
			})
			stop(t, p, map[string]int{"refuses a Testcr as too large or invalid": 1})
		})
	}
}

// TestBounds_HopelessWritesWaitTheirOwnBackoff has Testcrs that are refused in any
// form beside others whose writes succeed.
func TestBounds_HopelessWritesWaitTheirOwnBackoff(t *testing.T) {
	const hopeless, neighbours = 8, 40
	namespace := env.Namespace(t, "")
	refuse(t, namespace, "!object.spec.podname.startsWith('hopeless')", metav1.StatusReasonInvalid)
	p := start(t, namespace)
	begun := time.Now()
	for i := range hopeless {
		if _, err := createWith(t.Context(), env.Clients, namespace, ordinary(fmt.Sprint("hopeless-", i)), nil); err != nil {
			t.Fatal(err)
		}
	}
	testenv.Eventually(t, func(context.Context) error { return p.Stderr.Has("Sync failed, will try again") })
	for i := range neighbours {
		pod, err := createWith(t.Context(), env.Clients, namespace, ordinary(fmt.Sprint("neighbour-", i)), runningAt("10.3.3.1"))
		if err != nil {
			t.Fatal(err)
		}
		follows(t, pod)
	}
	// In full, reduced, and then after 1 s, 2 s, 4 s ...; the creation of a Pod may
	// be more than one event.
	tries := 4 + math.Ceil(math.Log2(time.Since(begun).Seconds()+1))
	refused := 0
	for _, w := range env.Writes(t, programAgent(t)) {
		if w.ResponseStatus != nil && w.ResponseStatus.Code == http.StatusUnprocessableEntity && w.ResponseStatus.Reason == metav1.StatusReasonInvalid && !w.RequestReceivedTimestamp.Time.Before(begun) {
			refused++
		}
	}
	if refused < 2*hopeless || float64(refused) > hopeless*tries {
		t.Errorf("%d refused writes within %s, want %d to %g", refused, time.Since(begun).Round(time.Second), 2*hopeless, hopeless*tries)
	}
}

// programAgent is what the program calls itself to the API server.
func programAgent(t *testing.T) string {
	t.Helper()
	p := testenv.Command(t, binary, "--version").Start(t)
	if code := p.Wait(t, testenv.StopWithin); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	return v1.ManagedBy + "/" + strings.Fields(p.Stdout.String())[1]
}

// TestBounds_GonePodsLeaveNoMemory creates and deletes Pods with long strings, one
// after another.
func TestBounds_GonePodsLeaveNoMemory(t *testing.T) {
	t.Parallel()
	const pods, most = 60, 10 << 20
	namespace := env.Namespace(t, "")
	p := start(t, namespace)
	round := func(i int) {
		pod := ordinary(fmt.Sprint("large-", i%50))
		pod.Spec.Containers[0].Image = fmt.Sprint(i, strings.Repeat("i", 700_000))
		pod.Labels = map[string]string{"n": strconv.Itoa(i), "long": strings.Repeat("v", 63)}
		pod, err := createWith(t.Context(), protobuf, namespace, pod, func(s *corev1.PodStatus) {
			s.Phase, s.HostIP = corev1.PodPhase(fmt.Sprint(i, strings.Repeat("p", 100_000))), fmt.Sprint(i, strings.Repeat("h", 100_000))
		})
		if err != nil {
			t.Fatal(err)
		}
		testenv.Eventually(t, hasSpec(namespace, pod.Name, "poduid", string(pod.UID)))
		removePod(t, namespace, pod.Name)
	}
	round(0)
	before := liveHeap(t, p)
	for i := range pods {
		round(i)
	}
	testenv.Eventually(t, func(context.Context) error {
		if grown := liveHeap(t, p) - before; grown > most {
			return fmt.Errorf("%d Pods have left %.0f bytes", pods, grown)
		}
		return nil
	})
	stop(t, p, nil)
}

// liveHeap returns how many bytes the last collection of garbage left.
func liveHeap(t *testing.T, p *testenv.Program) float64 {
	t.Helper()
	code, body, err := p.Get(t.Context(), t, "/metrics")
	if err != nil || code != http.StatusOK {
		t.Fatalf("/metrics: %d %v", code, err)
	}
	for line := range strings.Lines(body) {
		if value, ok := strings.CutPrefix(line, "go_memstats_heap_alloc_bytes "); ok {
			n, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatal("no metric of the heap")
	return 0
}
