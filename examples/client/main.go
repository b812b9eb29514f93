// The example finds the Pods with an IP address through the Go types of api/v1.
// It reads the kubeconfig as kubectl does: go run ./examples/client 10.0.0.7
package main

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: client IP")
		os.Exit(2)
	}
	if err := run(context.Background(), os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "client:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, ip string) error {
	addr, err := netip.ParseAddr(ip)
	if err != nil {
		return err
	}
	config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(clientcmd.NewDefaultClientConfigLoadingRules(), nil).ClientConfig()
	if err != nil {
		return err
	}
	pods, err := findPods(ctx, config, addr)
	for _, t := range pods {
		fmt.Println(t.Spec.PodKey, t.Spec.PodUID, t.Spec.NodeName, t.Spec.Phase)
	}
	return err
}

// findPods returns the Testcrs of the Pods with an IP. A Pod with very many IPs has a
// label for the first ones only, so the Testcrs with LabelMore are read as well.
func findPods(ctx context.Context, config *rest.Config, addr netip.Addr) (found []v1.Testcr, err error) {
	scheme := runtime.NewScheme()
	if err := v1.AddToScheme(scheme); err != nil {
		return nil, err
	}
	config.GroupVersion, config.APIPath = &v1.GroupVersion, "/apis"
	config.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
	client, err := rest.RESTClientFor(config)
	if err != nil {
		return nil, err
	}
	for _, selector := range []string{v1.LabelIP(addr), v1.LabelMore + "=true,!" + v1.LabelIP(addr)} {
		list := &v1.TestcrList{}
		options := &metav1.ListOptions{LabelSelector: selector}
		err := client.Get().Resource("testcrs").VersionedParams(options, runtime.NewParameterCodec(scheme)).Do(ctx).Into(list)
		if err != nil {
			return nil, err
		}
		for i := range list.Items {
			if t := &list.Items[i]; t.DescribesPod() && slices.Contains(t.Spec.PodIPs, addr.String()) {
				found = append(found, *t)
			}
		}
	}
	return found, nil
}
