package app

import (
	"errors"
	"fmt"
	"os"

	"k8s.io/client-go/kubernetes"

	"github.com/weiyuanke/PodInfoLookup/internal/heartbeat"
	"github.com/weiyuanke/PodInfoLookup/internal/kube"
	"github.com/weiyuanke/PodInfoLookup/internal/version"
)

// newHeartbeat returns the heartbeat. Its client has no limit, so that other requests
// do not delay a renewal.
func (p *parts) newHeartbeat(o *options, c *clients) (*heartbeat.Heartbeat, error) {
	client, err := kubernetes.NewForConfig(c.cluster.UnlimitedConfig())
	if err != nil {
		return nil, kube.ExplainConfig(err)
	}
	host, err := os.Hostname()
	if err != nil {
		return nil, fmt.Errorf("a name for the holder of the heartbeat: %w", err)
	}
	key := c.lease.heartbeat()
	return heartbeat.New(heartbeat.Config{
		Leases: client.CoordinationV1().Leases(key.namespace), Name: key.name, Holder: host, Namespaces: o.namespaces,
		ClusterName: o.clusterName, Version: version.String(), Check: p.keepsTestcrs,
	}), nil
}

// keepsTestcrs returns why this process does not keep Testcrs at present, or nil.
func (p *parts) keepsTestcrs() error {
	return errors.Join(p.controller.Ready(), p.controller.Healthy(), p.writes.check())
}
