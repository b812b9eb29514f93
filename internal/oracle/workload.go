package oracle

import (
	"regexp"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// workload is what a Pod belongs to, and what proves it: see the README's fields
// workloadkind, workloadname and workloadproof.
type workload struct{ kind, name, proof string }

var (
	scheduledJob  = regexp.MustCompile(`^(.+)-(\d+)$`)
	deployedByDC  = regexp.MustCompile(`^(.+)-\d+$`)
	cronJobWindow = 24 * time.Hour
)

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
