package kube

import (
	"testing"

	"k8s.io/client-go/rest"
)

func TestCluster_LimitedConfig(t *testing.T) {
	tests := []struct {
		name      string
		qps       float32
		burst     int
		wantQPS   float32
		wantBurst int
	}{
		{name: "no limit", wantQPS: -1},
		{name: "a burst without a limit", burst: 7, wantQPS: -1},
		{name: "both", qps: 5, burst: 7, wantQPS: 5, wantBurst: 7},
		{name: "the burst is twice the limit", qps: 5, wantQPS: 5, wantBurst: 10},
		{name: "and at least 1", qps: 0.1, wantQPS: 0.1, wantBurst: 1},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := &Cluster{config: rest.Config{QPS: -1}, qps: test.qps, burst: test.burst}
			got := c.LimitedConfig()
			if got.QPS != test.wantQPS || got.Burst != test.wantBurst {
				t.Errorf("QPS %g, burst %d; want %g, %d", got.QPS, got.Burst, test.wantQPS, test.wantBurst)
			}
			if unlimited := c.UnlimitedConfig(); unlimited.QPS != -1 || unlimited.Burst != 0 {
				t.Errorf("without limits: QPS %g, burst %d", unlimited.QPS, unlimited.Burst)
			}
		})
	}
}
