package lookup

import (
	"testing"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
)

func TestStateOf(t *testing.T) {
	tests := []struct {
		name string
		spec v1.TestcrSpec
		want string
	}{
		{name: "ready", spec: v1.TestcrSpec{Phase: "Running", Status: "Running", ReadyContainers: "2/2"}, want: stateReady},
		{name: "not all containers are ready", spec: v1.TestcrSpec{Phase: "Running", Status: "Running", ReadyContainers: "1/2"}, want: stateWaiting},
		{name: "not scheduled", spec: v1.TestcrSpec{Phase: "Pending", Status: "Pending", ReadyContainers: "0/1"}, want: stateWaiting},
		{name: "init containers", spec: v1.TestcrSpec{Phase: "Pending", Status: "Init:1/2", ReadyContainers: "0/1"}, want: stateWaiting},
		{name: "a failed init container", spec: v1.TestcrSpec{Phase: "Pending", Status: "Init:Error", ReadyContainers: "0/1"}, want: stateFailing},
		{name: "a crash", spec: v1.TestcrSpec{Phase: "Running", Status: "CrashLoopBackOff", ReadyContainers: "0/1"}, want: stateFailing},
		{name: "an image that is not there", spec: v1.TestcrSpec{Phase: "Pending", Status: "ImagePullBackOff", ReadyContainers: "0/1"}, want: stateFailing},
		{name: "failed", spec: v1.TestcrSpec{Phase: "Failed", Status: "Evicted", ReadyContainers: "0/1"}, want: stateFailing},
		{name: "completed", spec: v1.TestcrSpec{Phase: "Succeeded", Status: "Completed", ReadyContainers: "0/1"}, want: stateCompleted},
		{name: "terminating", spec: v1.TestcrSpec{Phase: "Running", Status: "Terminating", Terminating: true, ReadyContainers: "1/1"}, want: stateTerminating},
		{name: "a node that is lost", spec: v1.TestcrSpec{Phase: "Unknown", Status: "Unknown"}, want: stateFailing},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := stateOf(&test.spec); got != test.want {
				t.Errorf("%s, want %s", got, test.want)
			}
		})
	}
}
