package controller_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/weiyuanke/PodInfoLookup/test/testenv"
)

// owned is a program with --owners for one namespace.
type owned struct {
	*testenv.Program
	namespace string
}

func startWithOwners(t *testing.T) *owned {
	t.Helper()
	env.AllowOwners(t)
	namespace := env.Namespace(t, "")
	p := testenv.Command(t, binary, "--kubeconfig="+env.Kubeconfig, "--bind-address=127.0.0.1:0", "--owners", "--namespace="+namespace)
	return &owned{p.Start(t).Ready(t), namespace}
}

var template = corev1.PodTemplateSpec{
	ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": "web"}},
	Spec:       corev1.PodSpec{RestartPolicy: corev1.RestartPolicyNever, Containers: []corev1.Container{{Name: "main", Image: "main:1"}}},
}

// owner creates a ReplicaSet or a Job, and returns the reference of its Pods.
func (o *owned) owner(t *testing.T, kind, name string, controllers ...metav1.OwnerReference) metav1.OwnerReference {
	t.Helper()
	objectMeta := metav1.ObjectMeta{Name: name, OwnerReferences: controllers}
	var uid types.UID
	var err error
	apiVersion := "apps/v1"
	if kind == "Job" {
		apiVersion = "batch/v1"
		var job *batchv1.Job
		job, err = env.Clients.BatchV1().Jobs(o.namespace).Create(t.Context(), &batchv1.Job{ObjectMeta: objectMeta, Spec: batchv1.JobSpec{Template: template}}, metav1.CreateOptions{})
		uid = job.UID
	} else {
		always := template
		always.Spec.RestartPolicy = corev1.RestartPolicyAlways
		var rs *appsv1.ReplicaSet
		rs, err = env.Clients.AppsV1().ReplicaSets(o.namespace).Create(t.Context(), &appsv1.ReplicaSet{ObjectMeta: objectMeta, Spec: appsv1.ReplicaSetSpec{
			Selector: &metav1.LabelSelector{MatchLabels: template.Labels}, Template: always,
		}}, metav1.CreateOptions{})
		uid = rs.UID
	}
	if err != nil {
		t.Fatal(err)
	}
	return metav1.OwnerReference{APIVersion: apiVersion, Kind: kind, Name: name, UID: uid, Controller: new(true)}
}

// pod creates a Pod with an owner, as running on a node.
func (o *owned) pod(t *testing.T, name string, owner metav1.OwnerReference, labels map[string]string) *corev1.Pod {
	t.Helper()
	pod := ordinary(name)
	pod.OwnerReferences, pod.Labels = []metav1.OwnerReference{owner}, labels
	return create(t, o.namespace, pod)
}

// expect waits until the Testcr and the lookup have the workload of a Pod, "KIND/NAME proof".
func (o *owned) expect(t *testing.T, pod *corev1.Pod, want string) {
	t.Helper()
	testenv.Eventually(t, func(ctx context.Context) error {
		u, err := read(ctx, nameOf(pod))
		if err != nil || u == nil {
			return fmt.Errorf("no Testcr: %w", err)
		}
		spec := u.Object["spec"].(map[string]any)
		if got := fmt.Sprintf("%v/%v %v", spec["workloadkind"], spec["workloadname"], spec["workloadproof"]); got != want {
			return fmt.Errorf("the Testcr has %s, want %s", got, want)
		}
		return nil
	})
	var found struct {
		Items []struct{ Podname, Workloadkind, Workloadname, Workloadproof string }
	}
	workload, proof, _ := strings.Cut(want, " ")
	kind, name, _ := strings.Cut(workload, "/")
	testenv.Eventually(t, func(ctx context.Context) error {
		code, body, err := o.Get(ctx, t, "/v1/pods?workload="+url.QueryEscape(kind+"/"+name))
		if err != nil || code != http.StatusOK {
			return fmt.Errorf("%d, %s, %w", code, body, err)
		}
		if err := json.Unmarshal([]byte(body), &found); err != nil {
			return err
		}
		for _, item := range found.Items {
			if item.Podname == pod.Name && item.Workloadkind == kind && item.Workloadname == name && item.Workloadproof == proof {
				return nil
			}
		}
		return fmt.Errorf("the Pods of %s/%s are %+v", kind, name, found.Items)
	})
}

func controller(apiVersion, kind, name string) metav1.OwnerReference {
	return metav1.OwnerReference{APIVersion: apiVersion, Kind: kind, Name: name, UID: types.UID("of-" + name), Controller: new(true)}
}

// Owner references prove the workload of a Pod, whatever its labels and the names say.
func TestOwnersProveTheWorkload(t *testing.T) {
	o := startWithOwners(t)
	hash := map[string]string{"pod-template-hash": "5d9f"}
	minutes := time.Now().Unix() / 60
	tests := []struct {
		name        string
		kind, owner string
		controllers []metav1.OwnerReference
		labels      map[string]string
		apiVersion  string // of the reference, if it is not the owner's
		uid         types.UID
		want        string
	}{
		{name: "a Deployment's", kind: "ReplicaSet", owner: "web-5d9f", controllers: []metav1.OwnerReference{controller("apps/v1", "Deployment", "web")}, labels: hash, want: "Deployment/web owner"},
		{name: "a Deployment's with a name that shows nothing", kind: "ReplicaSet", owner: "x1", controllers: []metav1.OwnerReference{controller("apps/v1", "Deployment", "renamed")}, want: "Deployment/renamed owner"},
		{name: "a Rollout's with the labels of a Deployment", kind: "ReplicaSet", owner: "roll-5d9f", controllers: []metav1.OwnerReference{controller("argoproj.io/v1alpha1", "Rollout", "other")}, labels: hash, want: "Rollout/other owner"},
		{name: "a ReplicaSet of its own with the labels of a Deployment", kind: "ReplicaSet", owner: "bare-5d9f", labels: hash, want: "ReplicaSet/bare-5d9f owner"},
		{name: "a ReplicaSet with an owner that is no controller", kind: "ReplicaSet", owner: "held-5d9f", controllers: []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "Deployment", Name: "held", UID: "u"}}, labels: hash, want: "ReplicaSet/held-5d9f owner"},
		{name: "a ReplicaSet of anything else", kind: "ReplicaSet", owner: "any-5d9f", controllers: []metav1.OwnerReference{controller("example.com/v1", "CloneSet", "any")}, labels: hash, want: "CloneSet/any owner"},
		{name: "a CronJob's Job", kind: "Job", owner: fmt.Sprint("nightly-", minutes), controllers: []metav1.OwnerReference{controller("batch/v1", "CronJob", "nightly")}, want: "CronJob/nightly owner"},
		{name: "a CronJob's Job of long ago", kind: "Job", owner: "late-29000000", controllers: []metav1.OwnerReference{controller("batch/v1", "CronJob", "late")}, want: "CronJob/late owner"},
		{name: "a Job made by hand that looks like a CronJob's", kind: "Job", owner: fmt.Sprint("report-", minutes), want: fmt.Sprintf("Job/report-%d owner", minutes)},
		{name: "a Job of anything else", kind: "Job", owner: "part-0", controllers: []metav1.OwnerReference{controller("jobset.x-k8s.io/v1alpha2", "JobSet", "part")}, want: "JobSet/part owner"},
		{name: "another UID than that of the owner with this name", kind: "ReplicaSet", owner: "again-5d9f", controllers: []metav1.OwnerReference{controller("apps/v1", "Deployment", "wrong")}, labels: hash, uid: "other", want: "Deployment/again label"},
		{name: "another group than that of the owner with this name", kind: "ReplicaSet", owner: "group-5d9f", controllers: []metav1.OwnerReference{controller("apps/v1", "Deployment", "wrong")}, labels: hash, apiVersion: "example.com/v1", want: "ReplicaSet/group-5d9f owner"},
	}
	for i, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			owner := o.owner(t, test.kind, test.owner, test.controllers...)
			if test.uid != "" {
				owner.UID = test.uid
			}
			if test.apiVersion != "" {
				owner.APIVersion = test.apiVersion
			}
			o.expect(t, o.pod(t, fmt.Sprint("pod-", i), owner, test.labels), test.want)
		})
	}
	verified(t, o.namespace, "--owners")
}

// A ReplicaSet is orphaned, adopted and deleted while its Pod lives.
func TestOwnersThatChange(t *testing.T) {
	o := startWithOwners(t)
	owner := o.owner(t, "ReplicaSet", "web-5d9f", controller("apps/v1", "Deployment", "first"))
	pod := o.pod(t, "web-5d9f-x", owner, map[string]string{"pod-template-hash": "5d9f"})
	o.expect(t, pod, "Deployment/first owner")
	replicaSets := env.Clients.AppsV1().ReplicaSets(o.namespace)
	patch := func(references string) {
		t.Helper()
		merge := []byte(`{"metadata":{"ownerReferences":` + references + `}}`)
		if _, err := replicaSets.Patch(t.Context(), owner.Name, types.MergePatchType, merge, metav1.PatchOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	patch("null")
	o.expect(t, pod, "ReplicaSet/web-5d9f owner")
	patch(`[{"apiVersion":"apps/v1","kind":"Deployment","name":"second","uid":"s","controller":true}]`)
	o.expect(t, pod, "Deployment/second owner")
	version := mustRead(t, nameOf(pod)).GetResourceVersion()

	// The garbage collector would delete the Pod now.
	if err := replicaSets.Delete(t.Context(), owner.Name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	another := o.owner(t, "ReplicaSet", "web-5d9f", controller("apps/v1", "Deployment", "third"))
	o.expect(t, o.pod(t, "web-5d9f-y", another, nil), "Deployment/third owner") // the deletion has been seen before
	if now := mustRead(t, nameOf(pod)).GetResourceVersion(); now != version {
		t.Error("a Pod whose owner is gone was written again")
	}
	if _, err := env.Clients.CoreV1().Pods(o.namespace).Patch(t.Context(), pod.Name, types.MergePatchType,
		[]byte(`{"metadata":{"labels":{"a":"b"}}}`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	testenv.Eventually(t, func(ctx context.Context) error {
		u, err := read(ctx, nameOf(pod))
		if err != nil || u.GetResourceVersion() == version {
			return fmt.Errorf("the Testcr was not written: %w", err)
		}
		return nil
	})
	o.expect(t, pod, "Deployment/second owner")
	verified(t, o.namespace, "--owners")
}

// A new ReplicaSet is followed by its Pod at once: nearly always one write is enough.
func TestOwnersTakeNoWriteOfTheirOwn(t *testing.T) {
	o := startWithOwners(t)
	const each = 100
	pods := make([]*corev1.Pod, each)
	for i := range pods {
		name := fmt.Sprintf("web%d-5d9f", i)
		owner := o.owner(t, "ReplicaSet", name, controller("apps/v1", "Deployment", fmt.Sprint("web", i)))
		pods[i] = o.pod(t, name+"-x", owner, map[string]string{"pod-template-hash": "5d9f"})
	}
	twice := 0
	for i, pod := range pods {
		o.expect(t, pod, fmt.Sprintf("Deployment/web%d owner", i))
		if u := mustRead(t, nameOf(pod)); u.GetGeneration() != 1 {
			twice++
		}
	}
	if twice > each/20 {
		t.Errorf("%d of %d Testcrs were written twice", twice, each)
	}
}

// The lookup confirms its age by one request. The watches of owners share its
// connection, so they count as current, too.
func TestOwnersAreConfirmed(t *testing.T) {
	o := startWithOwners(t)
	begin := time.Now()
	const idle = 8 * time.Second // longer than an answer may be unconfirmed
	var age float64
	testenv.Eventually(t, func(ctx context.Context) error {
		_, body, err := o.Get(ctx, t, "/v1/summary")
		if err != nil {
			return err
		}
		var view struct{ AgeSeconds float64 }
		if err := json.Unmarshal([]byte(body), &view); err != nil {
			return err
		}
		if age = view.AgeSeconds; time.Since(begin) < idle {
			return fmt.Errorf("idle for %s only", time.Since(begin))
		}
		return nil
	})
	if age > 5 {
		t.Errorf("the view of an idle namespace is %.1f s old", age)
	}
}
