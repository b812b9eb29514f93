package harness

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"

	"github.com/weiyuanke/PodInfoLookup/internal/desired"
	"github.com/weiyuanke/PodInfoLookup/internal/wire"
)

const (
	// PodsOfNode is the kubelet's default of --max-pods.
	PodsOfNode = 110

	podsOfDeployment = 50
	sidecarInterval  = 4 // every fourth Pod has a second container
)

// created is the creationTimestamp of the Pods of Fill, in whole seconds.
var created = metav1.NewTime(time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC))

// TestcrOf returns the desired Testcr of pod, as it is sent to the API server.
func TestcrOf(pod *corev1.Pod) *unstructured.Unstructured {
	u, err := wire.ToUnstructured(desired.FromPod(pod))
	utilruntime.Must(err) // each Testcr can be encoded
	return u
}

// Pod returns the i-th Pod as the controller of a Deployment creates it, not yet
// scheduled. It has about 5 KiB once it runs, like Pods in production.
func Pod(i int) *corev1.Pod {
	deployment := fmt.Sprintf("shop-%04d", i/podsOfDeployment)
	sum := digest(deployment)
	hash, yes := sum[:10], true
	app := container("app", "registry.example.com/shop/app:v1.24.3", "http", 8080)
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: Namespace(i / podsOfDeployment), Name: fmt.Sprintf("%s-%s-%s", deployment, hash, digest(fmt.Sprint(i))[:5]+fmt.Sprint(i)),
			Labels: map[string]string{
				"app.kubernetes.io/name": "shop", "app.kubernetes.io/instance": deployment, "app.kubernetes.io/version": "v1.24.3",
				"team": "checkout", "pod-template-hash": hash,
			},
			Annotations: map[string]string{"prometheus.io/scrape": "true", "prometheus.io/port": "8080", "checksum/config": sum},
			OwnerReferences: []metav1.OwnerReference{{
				APIVersion: "apps/v1", Kind: "ReplicaSet", Name: deployment + "-" + hash, UID: uid(deployment), Controller: &yes, BlockOwnerDeletion: &yes,
			}},
		},
		Spec: corev1.PodSpec{
			ServiceAccountName: "shop", AutomountServiceAccountToken: &yes,
			Containers: []corev1.Container{app},
			Volumes: []corev1.Volume{
				{Name: "config", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{
					LocalObjectReference: corev1.LocalObjectReference{Name: deployment + "-config"}}}},
				{Name: "tls", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: deployment + "-tls"}}},
				{Name: "cache", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}},
			},
			Tolerations: []corev1.Toleration{
				{Key: corev1.TaintNodeNotReady, Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoExecute, TolerationSeconds: new(int64(300))},
				{Key: corev1.TaintNodeUnreachable, Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoExecute, TolerationSeconds: new(int64(300))},
			},
			TerminationGracePeriodSeconds: new(int64(30)),
		},
	}
	if i%sidecarInterval == 0 {
		pod.Spec.Containers = append(pod.Spec.Containers, container("proxy", "registry.example.com/mesh/proxy:1.27.1", "proxy", 15001))
	}
	return pod
}

func container(name, image, port string, number int32) corev1.Container {
	probe := &corev1.Probe{ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/healthz", Port: intstr.FromInt32(number)}}}
	resources := corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("250m"), corev1.ResourceMemory: resource.MustParse("256Mi")}
	c := corev1.Container{
		Name: name, Image: image, Args: []string{"--listen=:8080", "--log-format=json", "--config=/etc/shop/config.yaml"},
		Ports:     []corev1.ContainerPort{{Name: port, ContainerPort: number}},
		Resources: corev1.ResourceRequirements{Requests: resources, Limits: resources},
		VolumeMounts: []corev1.VolumeMount{
			{Name: "config", MountPath: "/etc/shop"}, {Name: "tls", MountPath: "/etc/tls", ReadOnly: true}, {Name: "cache", MountPath: "/var/cache"},
		},
		LivenessProbe: probe, ReadinessProbe: probe,
	}
	for _, env := range []string{"DATABASE_HOST", "DATABASE_NAME", "CACHE_HOST", "QUEUE_HOST", "FEATURE_FLAGS", "LOG_LEVEL", "REGION", "TRACE_ENDPOINT"} {
		c.Env = append(c.Env, corev1.EnvVar{Name: env, Value: "value-of-" + env})
	}
	c.Env = append(c.Env, corev1.EnvVar{Name: "POD_IP", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "status.podIP"}}})
	return c
}

// NodeName returns the node of the i-th Pod.
func NodeName(i int) string { return fmt.Sprintf("node-%06d", i/PodsOfNode) }

// SetRunning sets the status that a kubelet reports for the i-th Pod: Running and
// ready, with an IP of each family and container IDs.
func SetRunning(pod *corev1.Pod, i int, since metav1.Time) {
	ip, ip6 := IP(i), fmt.Sprintf("fd00::1:%x", i)
	status := &pod.Status
	status.Phase, status.StartTime, status.QOSClass = corev1.PodRunning, &since, corev1.PodQOSGuaranteed
	status.PodIP, status.PodIPs = ip, []corev1.PodIP{{IP: ip}, {IP: ip6}}
	status.HostIP = fmt.Sprintf("172.16.%d.%d", i/PodsOfNode>>8, i/PodsOfNode&255)
	status.HostIPs = []corev1.HostIP{{IP: status.HostIP}}
	status.Conditions = nil
	for _, condition := range []corev1.PodConditionType{
		"PodReadyToStartContainers", corev1.PodInitialized, corev1.PodReady, corev1.ContainersReady, corev1.PodScheduled,
	} {
		status.Conditions = append(status.Conditions, corev1.PodCondition{Type: condition, Status: corev1.ConditionTrue, LastTransitionTime: since})
	}
	status.ContainerStatuses = nil
	for _, c := range pod.Spec.Containers {
		started := true
		status.ContainerStatuses = append(status.ContainerStatuses, corev1.ContainerStatus{
			Name: c.Name, Image: c.Image, ImageID: c.Image + "@sha256:" + digest(c.Image), Ready: true, Started: &started,
			ContainerID: "containerd://" + digest(fmt.Sprint(c.Name, i)),
			State:       corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: since}},
		})
	}
}

// IP returns the IPv4 address of the i-th Pod.
func IP(i int) string { return fmt.Sprintf("10.%d.%d.%d", 128+i>>16, i>>8&255, i&255) }

// RunningPod returns the i-th Pod as etcd stores it while it runs.
func RunningPod(i int) *corev1.Pod {
	pod := Pod(i)
	pod.UID, pod.CreationTimestamp, pod.Generation = uid(fmt.Sprint("pod", i)), created, 1
	pod.Spec.NodeName = NodeName(i)
	pod.Spec.RestartPolicy, pod.Spec.DNSPolicy, pod.Spec.SchedulerName = corev1.RestartPolicyAlways, corev1.DNSClusterFirst, corev1.DefaultSchedulerName
	pod.Spec.SecurityContext = &corev1.PodSecurityContext{}
	SetRunning(pod, i, created)
	pod.ManagedFields = []metav1.ManagedFieldsEntry{
		managed("kube-controller-manager", "", `{"f:metadata":{"f:annotations":{".":{},"f:checksum/config":{},"f:prometheus.io/port":{},"f:prometheus.io/scrape":{}},`+
			`"f:generateName":{},"f:labels":{".":{},"f:app.kubernetes.io/instance":{},"f:app.kubernetes.io/name":{},"f:pod-template-hash":{},"f:team":{}},`+
			`"f:ownerReferences":{".":{},"k:{\"uid\":\"`+string(pod.OwnerReferences[0].UID)+`\"}":{}}},"f:spec":{"f:containers":{"k:{\"name\":\"app\"}":{".":{},`+
			`"f:args":{},"f:env":{".":{},"k:{\"name\":\"CACHE_HOST\"}":{".":{},"f:name":{},"f:value":{}},"k:{\"name\":\"DATABASE_HOST\"}":{".":{},"f:name":{},"f:value":{}}},`+
			`"f:image":{},"f:imagePullPolicy":{},"f:livenessProbe":{},"f:name":{},"f:ports":{},"f:readinessProbe":{},"f:resources":{},"f:volumeMounts":{}}},`+
			`"f:dnsPolicy":{},"f:enableServiceLinks":{},"f:restartPolicy":{},"f:schedulerName":{},"f:serviceAccountName":{},"f:volumes":{}}}`),
		managed("kubelet", "status", `{"f:status":{"f:conditions":{"k:{\"type\":\"ContainersReady\"}":{".":{},"f:lastTransitionTime":{},"f:status":{},"f:type":{}},`+
			`"k:{\"type\":\"Initialized\"}":{".":{},"f:lastTransitionTime":{},"f:status":{},"f:type":{}},"k:{\"type\":\"Ready\"}":{".":{},"f:lastTransitionTime":{},"f:status":{},"f:type":{}}},`+
			`"f:containerStatuses":{},"f:hostIP":{},"f:hostIPs":{},"f:phase":{},"f:podIP":{},"f:podIPs":{".":{},"k:{\"ip\":\"`+pod.Status.PodIP+`\"}":{".":{},"f:ip":{}}},"f:startTime":{}}}`),
	}
	return pod
}

func managed(manager, subresource, fields string) metav1.ManagedFieldsEntry {
	return metav1.ManagedFieldsEntry{
		Manager: manager, Operation: metav1.ManagedFieldsOperationUpdate, APIVersion: "v1", Time: &created, FieldsType: "FieldsV1",
		FieldsV1: metav1.NewFieldsV1(fields), Subresource: subresource,
	}
}

func digest(of string) string {
	sum := sha256.Sum256([]byte(of))
	return hex.EncodeToString(sum[:])
}

func uid(of string) types.UID {
	d := digest(of)
	return types.UID(fmt.Sprintf("%s-%s-4%s-8%s-%s", d[:8], d[8:12], d[12:15], d[15:18], d[18:30]))
}
