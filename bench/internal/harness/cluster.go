package harness

import (
	"context"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/internal/testcrcache"
)

// UserAgent identifies the requests of the benchmarks themselves.
const UserAgent = "podinfolookup-bench"

// Cluster contains the clients of a benchmark.
type Cluster struct {
	Config  *rest.Config
	Kube    kubernetes.Interface // in protobuf
	Testcrs dynamic.ResourceInterface
}

// Connect returns clients without a rate limit. It fails if the cluster does not
// serve Testcrs.
func Connect(ctx context.Context, kubeconfig string) (*Cluster, error) {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("kubeconfig: %w", err)
	}
	config.QPS, config.UserAgent = -1, UserAgent
	typed := rest.CopyConfig(config)
	typed.ContentType = kruntime.ContentTypeProtobuf
	kube, err := kubernetes.NewForConfig(typed)
	if err != nil {
		return nil, err
	}
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	if err := testcrcache.CheckCRD(ctx, discovery.ToDiscoveryInterfaceWithContext(kube.Discovery())); err != nil {
		return nil, err
	}
	return &Cluster{Config: config, Kube: kube, Testcrs: client.Resource(v1.GroupVersionResource)}, nil
}

// CheckEmpty fails if the cluster has Pods or Testcrs, which would be measured
// too. It returns the resourceVersions of the two empty lists, to watch from.
func (c *Cluster) CheckEmpty(ctx context.Context) (podVersion, testcrVersion string, err error) {
	pods, err := c.Kube.CoreV1().Pods(metav1.NamespaceAll).List(ctx, metav1.ListOptions{Limit: 1})
	if err != nil {
		return "", "", err
	}
	if len(pods.Items) > 0 {
		return "", "", fmt.Errorf("the cluster has the Pod %s/%s: use one without Pods", pods.Items[0].Namespace, pods.Items[0].Name)
	}
	testcrs, err := c.Testcrs.List(ctx, metav1.ListOptions{Limit: 1})
	if err != nil {
		return "", "", err
	}
	if len(testcrs.Items) > 0 {
		return "", "", fmt.Errorf("the cluster has the Testcr %s: use one without Testcrs", testcrs.Items[0].GetName())
	}
	return pods.ResourceVersion, testcrs.GetResourceVersion(), nil
}
