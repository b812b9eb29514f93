package desired

import (
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
)

// The labels by which controllers mark their Pods.
const (
	podTemplateHash     = "pod-template-hash"          // of a Deployment
	rolloutTemplateHash = "rollouts-pod-template-hash" // of an Argo Rollout
	deploymentConfig    = "deploymentconfig"           // of OpenShift, with the name of the DeploymentConfig
)

// A CronJob's Pod is created after the time of its schedule, by at most maxCronJobAge:
// the controller is late, or the Pod is one more try. Clocks may differ by maxClockSkew.
const (
	maxCronJobAge = 24 * time.Hour
	maxClockSkew  = time.Minute
)

// workloadOf returns the workload of a Pod, its owner or what is behind that, and what
// proves it. It needs no right to read the owner.
func workloadOf(owner *metav1.OwnerReference, pod *corev1.Pod) (kind, name, proof string) {
	group, _, _ := strings.Cut(owner.APIVersion, "/")
	switch {
	case owner.Kind == "ReplicaSet" && group == "apps":
		// Both name a ReplicaSet NAME-HASH and label its Pods with HASH.
		for _, parent := range []struct{ kind, label string }{{"Deployment", podTemplateHash}, {"Rollout", rolloutTemplateHash}} {
			if name, ok := withoutSuffix(owner.Name, pod.Labels[parent.label]); ok {
				return parent.kind, name, v1.ProofLabel
			}
		}
	case owner.Kind == "ReplicationController":
		// OpenShift names it NAME-NUMBER.
		name := pod.Labels[deploymentConfig]
		if number, ok := strings.CutPrefix(owner.Name, name+"-"); ok && name != "" && isNumber(number) {
			return "DeploymentConfig", name, v1.ProofLabel
		}
	case owner.Kind == "Job" && group == "batch":
		if name, ok := cronJobOf(owner.Name, pod.CreationTimestamp.Time); ok {
			return "CronJob", name, v1.ProofName
		}
	}
	return owner.Kind, owner.Name, v1.ProofOwner
}

// withoutSuffix returns NAME of NAME-SUFFIX.
func withoutSuffix(s, suffix string) (name string, ok bool) {
	name, ok = strings.CutSuffix(s, "-"+suffix)
	return name, ok && name != "" && suffix != ""
}

// cronJobOf returns NAME of NAME-MINUTES: the CronJob controller appends the time of
// the schedule in minutes since 1970. A number that is not near the creation of the Pod
// belongs to the name of a Job that a person has made, as in report-20260512.
func cronJobOf(job string, created time.Time) (name string, ok bool) {
	dash := strings.LastIndexByte(job, '-')
	if dash < 1 || !isNumber(job[dash+1:]) {
		return "", false
	}
	minutes, err := strconv.ParseInt(job[dash+1:], 10, 32)
	if err != nil {
		return "", false
	}
	age := created.Sub(time.Unix(minutes*60, 0))
	return job[:dash], age >= -maxClockSkew && age <= maxCronJobAge
}

func isNumber(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

// SetWorkload sets the workload that owner references prove.
func SetWorkload(spec *v1.TestcrSpec, kind, name string) {
	spec.WorkloadKind, spec.WorkloadName, spec.WorkloadProof = kind, name, v1.ProofOwner
	boundString(spec, &spec.WorkloadKind)
	boundString(spec, &spec.WorkloadName)
}

// ClipWorkload returns the part of a kind or name that SetWorkload reads: enough to
// detect that the rest is cut. It bounds the stored part of an owner reference, whose
// length the API server does not limit.
func ClipWorkload(s string) string {
	if len(s) <= maxStringBytes+1 {
		return s
	}
	return strings.Clone(s[:maxStringBytes+1])
}
