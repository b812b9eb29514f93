package lookup

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
)

// States of a Pod, in the order in which a person should look at them.
const (
	stateFailing     = "failing"     // its status is an error
	stateWaiting     = "waiting"     // not started yet, or not all containers are ready
	stateTerminating = "terminating" // its deletion has been asked for
	stateReady       = "ready"       // running, with all containers ready
	stateCompleted   = "completed"   // ended without an error
)

// stateUnwell selects the Pods that are failing or waiting.
const stateUnwell = "unwell"

var states = []string{stateFailing, stateWaiting, stateTerminating, stateReady, stateCompleted}

// waitingStatuses are those of Pods that a node is still starting. A status of progress
// such as Init:0/1 is another one.
var waitingStatuses = []string{"", "Pending", "Running", "Completed", "ContainerCreating", "PodInitializing", "NotReady", "SchedulingGated"}

func stateOf(s *v1.TestcrSpec) string {
	switch ready, all, _ := strings.Cut(s.ReadyContainers, "/"); {
	case s.Phase == "Succeeded":
		return stateCompleted
	case s.Phase == "Failed":
		return stateFailing
	case s.Terminating:
		return stateTerminating
	case s.Phase == "Running" && s.Status == "Running" && ready == all:
		return stateReady
	case slices.Contains(waitingStatuses, s.Status) || isInitProgress(s.Status):
		return stateWaiting
	}
	return stateFailing
}

// isInitProgress reports whether status counts init containers, as Init:0/2 does.
func isInitProgress(status string) bool {
	progress, ok := strings.CutPrefix(status, "Init:")
	return ok && strings.Trim(progress, "0123456789/") == ""
}

func isUnwell(state string) bool { return state == stateFailing || state == stateWaiting }

// filterState returns a filter for the parameter state.
func filterState(state string) (func(*v1.TestcrSpec) bool, error) {
	switch {
	case state == stateUnwell:
		return func(s *v1.TestcrSpec) bool { return isUnwell(stateOf(s)) }, nil
	case slices.Contains(states, state):
		return func(s *v1.TestcrSpec) bool { return stateOf(s) == state }, nil
	}
	return nil, fmt.Errorf("state: %q is not one of %s, %s", state, strings.Join(states, ", "), stateUnwell)
}

// byAttention puts failing Pods first, then those that wait, then the others, each with
// the newest first.
func byAttention(a, b *v1.TestcrSpec) int {
	return cmp.Or(attention(a)-attention(b), b.CreatedAt.Compare(a.CreatedAt.Time), byKey(a, b))
}

func attention(s *v1.TestcrSpec) int {
	switch stateOf(s) {
	case stateFailing:
		return 0
	case stateWaiting:
		return 1
	}
	return 2
}
