package app

import (
	"cmp"

	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"

	"github.com/weiyuanke/PodInfoLookup/internal/election"
	"github.com/weiyuanke/PodInfoLookup/internal/heartbeat"
	"github.com/weiyuanke/PodInfoLookup/internal/informer"
	"github.com/weiyuanke/PodInfoLookup/internal/kube"
	"github.com/weiyuanke/PodInfoLookup/internal/server"
	"github.com/weiyuanke/PodInfoLookup/internal/wire"
)

// clients are the clients of the API server, each with limits of its own.
type clients struct {
	cluster *kube.Cluster
	reviews kubernetes.Interface // of the tokens and rights of callers
	pods    kubernetes.Interface
	testcrs dynamic.Interface // with leader election it writes only while leading
	dryRuns dynamic.Interface // writes nothing, so it needs no lease
	reader  wire.TestcrReader
	owners  metadata.Interface // nil without --owners
	// election is nil without leader election.
	election *election.Election
	// lease is that of leader election, or would be.
	lease leaseKey
}

// leaseKey is the namespace and name of a lease.
type leaseKey struct{ namespace, name string }

// heartbeat returns the key of the heartbeat's Lease.
func (k leaseKey) heartbeat() leaseKey {
	return leaseKey{namespace: k.namespace, name: heartbeat.Name(k.name)}
}

func newClients(o *options) (*clients, error) {
	informer.DetectDeadConnections()
	cluster, err := kube.Connect(o.kube)
	if err != nil {
		return nil, err
	}
	c := &clients{cluster: cluster}
	config := cluster.LimitedConfig()
	if c.reviews, err = server.NewReviewClient(cluster.UnlimitedConfig()); err != nil {
		return nil, kube.ExplainConfig(err)
	}
	if c.pods, err = wire.NewPodClient(config); err != nil {
		return nil, kube.ExplainConfig(err)
	}
	if c.reader, err = wire.NewTestcrReader(config); err != nil {
		return nil, kube.ExplainConfig(err)
	}
	if o.owners {
		if c.owners, err = metadata.NewForConfig(config); err != nil {
			return nil, kube.ExplainConfig(err)
		}
	}
	if c.dryRuns, err = dynamic.NewForConfig(cluster.UnlimitedConfig()); err != nil {
		return nil, kube.ExplainConfig(err)
	}
	writes, lease := config, o.election
	lease.ResourceNamespace = cmp.Or(lease.ResourceNamespace, cluster.Namespace)
	c.lease = leaseKey{namespace: lease.ResourceNamespace, name: lease.ResourceName}
	if o.election.LeaderElect {
		if c.election, err = election.New(lease, cluster.UnlimitedConfig()); err != nil {
			return nil, err
		}
		writes = c.election.Fence(config)
	}
	if c.testcrs, err = dynamic.NewForConfig(wire.ShortAnswers(writes)); err != nil {
		return nil, kube.ExplainConfig(err)
	}
	return c, nil
}
