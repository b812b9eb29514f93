package desired

import (
	"strconv"

	corev1 "k8s.io/api/core/v1"
)

// state is what kubectl get pods shows of a Pod. The API server makes it for a table;
// the rules here are those of Kubernetes 1.28 and later, in which a sidecar counts as a
// container. A test compares both.
type state struct {
	status          string
	ready, expected int
	restarts        int64
}

// readyOf returns READY, for example 1/2.
func (s *state) readyOf() string {
	if s.expected == 0 {
		return "" // no Pod
	}
	return strconv.Itoa(s.ready) + "/" + strconv.Itoa(s.expected)
}

func stateOf(pod *corev1.Pod) state {
	s := state{status: string(pod.Status.Phase), expected: len(pod.Spec.Containers)}
	if pod.Status.Reason != "" {
		s.status = pod.Status.Reason
	}
	if isGated(pod) {
		s.status = corev1.PodReasonSchedulingGated
	}
	if sidecarRestarts, isInitialized := s.addInitContainers(pod); isInitialized {
		s.restarts = sidecarRestarts
		s.addContainers(pod)
	}
	isTerminal := pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
	switch {
	case pod.DeletionTimestamp == nil:
	case pod.Status.Reason == "NodeLost":
		s.status = "Unknown"
	case !isTerminal:
		s.status = "Terminating"
	}
	return s
}

func isGated(pod *corev1.Pod) bool {
	for i := range pod.Status.Conditions {
		c := &pod.Status.Conditions[i]
		if c.Type == corev1.PodScheduled && c.Reason == corev1.PodReasonSchedulingGated {
			return true
		}
	}
	return false
}

// addInitContainers sets the status to that of the first init container that has not
// done its part. isInitialized reports that there is none, or that the kubelet says so.
func (s *state) addInitContainers(pod *corev1.Pod) (sidecarRestarts int64, isInitialized bool) {
	sidecars := map[string]bool{}
	for i := range pod.Spec.InitContainers {
		c := &pod.Spec.InitContainers[i]
		// Of two containers of one name, which the API server refuses, the last counts.
		sidecars[c.Name] = c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways
		if sidecars[c.Name] {
			s.expected++
		}
	}
	for i := range pod.Status.InitContainerStatuses {
		c := &pod.Status.InitContainerStatuses[i]
		s.restarts += int64(c.RestartCount)
		if sidecars[c.Name] {
			sidecarRestarts += int64(c.RestartCount)
		}
		terminated, waiting := c.State.Terminated, c.State.Waiting
		switch {
		case terminated != nil && terminated.ExitCode == 0:
			continue
		case sidecars[c.Name] && c.Started != nil && *c.Started:
			if c.Ready {
				s.ready++
			}
			continue
		case terminated != nil:
			s.status = "Init:" + endOf(terminated)
		case waiting != nil && waiting.Reason != "" && waiting.Reason != "PodInitializing":
			s.status = "Init:" + waiting.Reason
		default:
			s.status = "Init:" + strconv.Itoa(i) + "/" + strconv.Itoa(len(pod.Spec.InitContainers))
		}
		return sidecarRestarts, hasCondition(pod, corev1.PodInitialized)
	}
	return sidecarRestarts, true
}

// addContainers sets the status to that of the first container that is not running.
func (s *state) addContainers(pod *corev1.Pod) {
	isRunning := false
	for i := len(pod.Status.ContainerStatuses) - 1; i >= 0; i-- {
		c := &pod.Status.ContainerStatuses[i]
		s.restarts += int64(c.RestartCount)
		switch {
		case c.State.Waiting != nil && c.State.Waiting.Reason != "":
			s.status = c.State.Waiting.Reason
		case c.State.Terminated != nil:
			s.status = endOf(c.State.Terminated)
		case c.Ready && c.State.Running != nil:
			isRunning = true
			s.ready++
		}
	}
	if s.status == "Completed" && isRunning { // others have completed
		if s.status = "NotReady"; hasCondition(pod, corev1.PodReady) {
			s.status = string(corev1.PodRunning)
		}
	}
}

func endOf(t *corev1.ContainerStateTerminated) string {
	switch {
	case t.Reason != "":
		return t.Reason
	case t.Signal != 0:
		return "Signal:" + strconv.Itoa(int(t.Signal))
	default:
		return "ExitCode:" + strconv.Itoa(int(t.ExitCode))
	}
}

// hasCondition reports whether the first condition of a type is True.
func hasCondition(pod *corev1.Pod, of corev1.PodConditionType) bool {
	for i := range pod.Status.Conditions {
		if pod.Status.Conditions[i].Type == of {
			return pod.Status.Conditions[i].Status == corev1.ConditionTrue
		}
	}
	return false
}
