package oracle

import (
	"regexp"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// workload is what a Pod belongs to, and what proves it: see the README's fields
// workloadkind, workloadname and workloadproof.
type workload struct{ kind, name, proof string }

var (
	scheduledJob  = regexp.MustCompile(`^(.+)-(\d+)$`)
	deployedByDC  = regexp.MustCompile(`^(.+)-\d+$`)
	cronJobWindow = 24 * time.Hour
)

// Owners contains what controls the ReplicaSets and Jobs of a cluster.
type Owners map[reference]workload

// reference is how a Pod refers to its owner.
type reference struct {
	namespace, kind, name string
	uid                   types.UID
}

// Add adds a ReplicaSet or a Job. Without a controller it is a workload itself.
func (o Owners) Add(kind string, object metav1.Object) {
	top := workload{kind, object.GetName(), "owner"}
	for _, ref := range object.GetOwnerReferences() {
		if ref.Controller != nil && *ref.Controller {
			top = workload{beginning(ref.Kind), beginning(ref.Name), "owner"}
			break
		}
	}
	o[reference{object.GetNamespace(), kind, object.GetName(), object.GetUID()}] = top
}

// beginning bounds the memory of a string: of what is longer, String keeps less.
func beginning(s string) string { return strings.Clone(s[:min(len(s), maxString+1)]) }

// ReadableOwner returns the owner of a Pod if it is one that Owners contains, if it
// exists: a ReplicaSet of apps or a Job of batch.
func ReadableOwner(pod *corev1.Pod) (owner metav1.OwnerReference, ok bool) {
	owner = controllerOf(pod)
	group, _, _ := strings.Cut(owner.APIVersion, "/")
	return owner, owner.Kind == "ReplicaSet" && group == "apps" || owner.Kind == "Job" && group == "batch"
}

// Lack reports that a Pod has an owner which Owners would contain if it existed. It is
// false without Owners.
func (o Owners) Lack(pod *corev1.Pod) bool {
	_, isReadable := ReadableOwner(pod)
	_, exists := o.top(pod)
	return o != nil && isReadable && !exists
}

// top returns the workload that owner references prove. ok is false if the owner is
// not there.
func (o Owners) top(pod *corev1.Pod) (w workload, ok bool) {
	owner, ok := ReadableOwner(pod)
	if !ok {
		return workload{}, false
	}
	w, ok = o[reference{pod.Namespace, owner.Kind, owner.Name, owner.UID}]
	return w, ok
}

func workloadOf(pod *corev1.Pod) workload {
	owner := controllerOf(pod)
	if owner.Kind == "" && owner.Name == "" {
		return workload{}
	}
	group, _, _ := strings.Cut(owner.APIVersion, "/")
	if owner.Kind == "ReplicaSet" && group == "apps" {
		if hash := pod.Labels["pod-template-hash"]; hash != "" && strings.HasSuffix(owner.Name, "-"+hash) && len(owner.Name) > len(hash)+1 {
			return workload{"Deployment", owner.Name[:len(owner.Name)-len(hash)-1], "label"}
		}
		if hash := pod.Labels["rollouts-pod-template-hash"]; hash != "" && strings.HasSuffix(owner.Name, "-"+hash) && len(owner.Name) > len(hash)+1 {
			return workload{"Rollout", owner.Name[:len(owner.Name)-len(hash)-1], "label"}
		}
	}
	if owner.Kind == "ReplicationController" {
		if m := deployedByDC.FindStringSubmatch(owner.Name); m != nil && m[1] == pod.Labels["deploymentconfig"] {
			return workload{"DeploymentConfig", m[1], "label"}
		}
	}
	if m := scheduledJob.FindStringSubmatch(owner.Name); m != nil && owner.Kind == "Job" && group == "batch" {
		if minutes, err := strconv.Atoi(m[2]); err == nil && minutes < 1<<31 {
			scheduled := time.Unix(int64(minutes)*60, 0)
			earliest, latest := scheduled.Add(-time.Minute), scheduled.Add(cronJobWindow)
			if !pod.CreationTimestamp.Time.Before(earliest) && !pod.CreationTimestamp.After(latest) {
				return workload{"CronJob", m[1], "name"}
			}
		}
	}
	return workload{owner.Kind, owner.Name, "owner"}
}
