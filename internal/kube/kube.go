// Package kube connects to the API server: it reads the kubeconfig, checks
// rights before the start, waits for a server that is away, and adds remedies to
// its errors.
package kube

import (
	"fmt"
	"strings"

	"k8s.io/client-go/discovery"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// Config names the API server, and limits the requests to it.
type Config struct {
	Kubeconfig string // a file; "" is $KUBECONFIG, ~/.kube/config, then the service account of the Pod
	Context    string // of the kubeconfig; "" is the current one
	QPS        float32
	Burst      int // 0 is twice QPS
	UserAgent  string
}

// Cluster is the API server that a kubeconfig names.
type Cluster struct {
	// Kube has no limit of its own. It is for the few requests of preflight and
	// discovery, which a small QPS would delay beyond their timeout.
	Kube kubernetes.Interface
	// Namespace is that of the kubeconfig's context, or of the service account.
	Namespace string

	config rest.Config // without limits
	qps    float32
	burst  int
}

// Connect reads the kubeconfig as kubectl does. It sends no request.
func Connect(c Config) (*Cluster, error) {
	config, namespace, err := load(c)
	if err != nil {
		return nil, err
	}
	config.UserAgent = c.UserAgent
	config.WarningHandlerWithContext = &warningLogger{logged: map[string]bool{}}
	config.QPS = -1
	kube, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, ExplainConfig(err)
	}
	return &Cluster{Kube: kube, Namespace: namespace, config: *config, qps: c.QPS, burst: c.Burst}, nil
}

// Host is the address of the API server.
func (c *Cluster) Host() string { return c.config.Host }

// Discovery returns the discovery client.
func (c *Cluster) Discovery() discovery.DiscoveryInterfaceWithContext {
	return discovery.ToDiscoveryInterfaceWithContext(c.Kube.Discovery())
}

// UnlimitedConfig returns a copy of the configuration without client-side limits.
func (c *Cluster) UnlimitedConfig() *rest.Config { return rest.CopyConfig(&c.config) }

// LimitedConfig returns a copy of the configuration with the limits of Config.
func (c *Cluster) LimitedConfig() *rest.Config {
	config := c.UnlimitedConfig()
	if c.qps == 0 {
		return config // 0 would be client-go's default of 5 a second
	}
	config.QPS, config.Burst = c.qps, c.burst
	if c.burst == 0 {
		config.Burst = max(1, int(2*c.qps))
	}
	return config
}

func load(c Config) (config *rest.Config, namespace string, err error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = c.Kubeconfig
	rules.WarnIfAllMissing = false
	overrides := &clientcmd.ConfigOverrides{CurrentContext: c.Context}
	found := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, overrides)
	config, err = found.ClientConfig()
	if clientcmd.IsEmptyConfig(err) {
		return nil, "", fmt.Errorf("no cluster is configured in %s: "+
			"pass --kubeconfig=FILE and --context, set KUBECONFIG, or run in a Pod",
			strings.Join(rules.GetLoadingPrecedence(), ", "))
	}
	if err == nil {
		namespace, _, err = found.Namespace()
	}
	return config, namespace, ExplainConfig(err)
}
