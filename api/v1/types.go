package v1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// Values of workloadproof.
const (
	ProofOwner = "owner"
	ProofLabel = "label"
	ProofName  = "name"
)

// Kinds of containers in a Testcr. The kind of a regular container is empty.
const (
	ContainerInit      = "init"
	ContainerEphemeral = "ephemeral"
)

// Testcr holds the details of one Pod, kept true by PodInfoLookup.
// Its name is the lowercase hexadecimal md5 of "namespace/name" of the Pod.
// A change made by hand is undone.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:path=testcrs,singular=testcr,shortName=tc,scope=Cluster
// +kubebuilder:selectablefield:JSONPath=`.spec.podkey`
// +kubebuilder:selectablefield:JSONPath=`.spec.podname`
// +kubebuilder:selectablefield:JSONPath=`.spec.poduid`
// +kubebuilder:selectablefield:JSONPath=`.spec.podip`
// +kubebuilder:selectablefield:JSONPath=`.spec.namespace`
// +kubebuilder:selectablefield:JSONPath=`.spec.nodename`
// +kubebuilder:selectablefield:JSONPath=`.spec.hostip`
// +kubebuilder:selectablefield:JSONPath=`.spec.phase`
// +kubebuilder:printcolumn:name=Pod,type=string,JSONPath=`.spec.podkey`,description="The Pod, as namespace/name."
// +kubebuilder:printcolumn:name=IP,type=string,JSONPath=`.spec.podip`,description="The Pod's first IP address."
// +kubebuilder:printcolumn:name=Node,type=string,JSONPath=`.spec.nodename`,description="The node that the Pod is bound to."
// +kubebuilder:printcolumn:name=Phase,type=string,JSONPath=`.spec.phase`,description="The Pod's phase."
// +kubebuilder:printcolumn:name=Status,type=string,JSONPath=`.spec.status`,description="The STATUS that kubectl get pods shows."
// +kubebuilder:printcolumn:name=Age,type=date,JSONPath=`.spec.createdat`,description="The age of the Pod."
// +kubebuilder:printcolumn:name=Ready,type=string,priority=1,JSONPath=`.spec.readycontainers`,description="How many containers are ready, and of how many."
// +kubebuilder:printcolumn:name=Restarts,type=integer,priority=1,JSONPath=`.spec.restarts`,description="How often containers were restarted."
// +kubebuilder:printcolumn:name=Host-IP,type=string,priority=1,JSONPath=`.spec.hostip`,description="The node's IP address."
// +kubebuilder:printcolumn:name=Workload,type=string,priority=1,JSONPath=`.spec.workloadname`,description="The workload that the Pod belongs to."
// +kubebuilder:printcolumn:name=UID,type=string,priority=1,JSONPath=`.spec.poduid`,description="The Pod's UID."
type Testcr struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// The details of the Pod. Fields that the Pod does not have are absent.
	Spec TestcrSpec `json:"spec"`
}

// TestcrList is a list of Testcrs.
//
// +kubebuilder:object:root=true
type TestcrList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []Testcr `json:"items"`
}

// TestcrSpec contains the details of a Pod. Each field is copied from the Pod as the
// API server last sent it. It has one writer, so it is tracked as one field, which
// keeps some 600 bytes of managed fields out of each new object.
//
// +structType=atomic
type TestcrSpec struct {
	// The Pod, as "namespace/name". Selectable.
	// +kubebuilder:validation:MaxLength=317
	PodKey string `json:"podkey"`
	// metadata.name of the Pod. Selectable.
	// +kubebuilder:validation:MaxLength=253
	PodName string `json:"podname"`
	// metadata.uid of the Pod; it changes when a Pod of the same name is created again. Selectable.
	PodUID string `json:"poduid"`
	// The UID that a static Pod has on its node, in cgroups and paths: the annotation
	// kubernetes.io/config.hash. Pods of two nodes may have the same, and a user who may change
	// a Pod can write the annotation.
	NodeUID string `json:"nodeuid,omitempty"`
	// metadata.namespace of the Pod. Selectable.
	// +kubebuilder:validation:MaxLength=63
	Namespace string `json:"namespace"`
	// status.podIP of the Pod: the first of podips; absent until the Pod has one. Selectable.
	PodIP string `json:"podip,omitempty"`
	// status.podIPs of the Pod: every IP address, of both families in a dual-stack cluster.
	// +listType=atomic
	PodIPs []string `json:"podips,omitempty"`
	// IP addresses of the Pod in further networks, which its annotations name: those of a CNI
	// plugin (k8s.v1.cni.cncf.io/network-status) and of OVN (k8s.ovn.org/pod-networks). A user who
	// may change the Pod can write these annotations, while podips is what its node reports.
	// +listType=atomic
	NetworkIPs []NetworkIP `json:"networkips,omitempty"`
	// status.hostIP of the Pod: the IP address of its node. Selectable.
	HostIP string `json:"hostip,omitempty"`
	// status.hostIPs of the Pod if its node has several.
	// +listType=atomic
	HostIPs []string `json:"hostips,omitempty"`
	// spec.nodeName of the Pod: the node that it is bound to; absent until it is scheduled. Selectable.
	NodeName string `json:"nodename,omitempty"`
	// status.phase of the Pod: Pending, Running, Succeeded, Failed or Unknown. Selectable.
	Phase string `json:"phase,omitempty"`
	// The STATUS that kubectl get pods shows, for example CrashLoopBackOff.
	Status string `json:"status,omitempty"`
	// How many containers of the Pod are ready and how many it has, for example 1/2: the READY that
	// kubectl get pods shows.
	ReadyContainers string `json:"readycontainers,omitempty"`
	// How often containers of the Pod were restarted: the RESTARTS that kubectl get pods shows.
	Restarts int64 `json:"restarts,omitempty"`
	// Whether the Pod uses its node's network, so that it shares podip with the node and others.
	HostNetwork bool `json:"hostnetwork"`
	// Whether the Pod's condition Ready is True.
	Ready bool `json:"ready"`
	// Whether the deletion of the Pod has been asked for.
	Terminating bool `json:"terminating"`
	// The kind of the Pod's controller owner reference, for example ReplicaSet.
	OwnerKind string `json:"ownerkind,omitempty"`
	// The name of the Pod's controller owner reference.
	OwnerName string `json:"ownername,omitempty"`
	// The kind of workload that the Pod belongs to: its owner, or what is behind it: the Deployment
	// or Rollout of a ReplicaSet, the DeploymentConfig of a ReplicationController, the CronJob of a Job.
	WorkloadKind string `json:"workloadkind,omitempty"`
	// The name of the workload that the Pod belongs to.
	WorkloadName string `json:"workloadname,omitempty"`
	// What the workload follows from: "owner", the Pod's owner reference; "label", the name of the
	// owner and a label of the Pod; "name", the name of the owner alone, as that of a CronJob's Job.
	// +kubebuilder:validation:Enum=owner;label;name
	WorkloadProof string `json:"workloadproof,omitempty"`
	// spec.serviceAccountName of the Pod.
	ServiceAccount string `json:"serviceaccount,omitempty"`
	// spec.hostname of the Pod. With subdomain it makes the name HOSTNAME.SUBDOMAIN.NAMESPACE.svc in
	// the cluster's DNS.
	Hostname string `json:"hostname,omitempty"`
	// spec.subdomain of the Pod.
	Subdomain string `json:"subdomain,omitempty"`
	// metadata.creationTimestamp of the Pod.
	CreatedAt metav1.Time `json:"createdat,omitzero"`
	// status.startTime of the Pod: when its node accepted it.
	StartedAt metav1.Time `json:"startedat,omitzero"`
	// The labels of the Pod, in the order of their keys up to 64 KiB of JSON.
	// +mapType=atomic
	Labels map[string]string `json:"labels,omitempty"`
	// The containers of the Pod: regular ones first, then init, then ephemeral ones, up to 128 KiB of
	// JSON with labels.
	// +listType=atomic
	Containers []Container `json:"containers,omitempty"`
	// Whether labels or containers of the Pod are left out here, or a string of more than 2,048 bytes is
	// cut and ends in "...(cut)". Absent otherwise.
	Truncated bool `json:"truncated,omitempty"`
}

// Container is one container of a Pod.
type Container struct {
	// The name of the container, unique in its Pod.
	Name string `json:"name"`
	// The image that the Pod asks for.
	Image string `json:"image,omitempty"`
	// The container's ID with its runtime, for example containerd://4f5c...; absent until it has been
	// created, and another one after each restart.
	ID string `json:"id,omitempty"`
	// The ID of the image that runs, with its digest, as the node reports it.
	ImageID string `json:"imageid,omitempty"`
	// The ID that the container had before its last restart.
	PreviousID string `json:"previousid,omitempty"`
	// Why the container ended before its last restart, for example OOMKilled.
	PreviousReason string `json:"previousreason,omitempty"`
	// The exit code with which the container ended before its last restart; absent for 0.
	PreviousExitCode int32 `json:"previousexitcode,omitempty"`
	// Absent for a regular container.
	// +kubebuilder:validation:Enum=init;ephemeral
	Kind string `json:"kind,omitempty"`
}

// NetworkIP is an IP address of a Pod in a further network.
type NetworkIP struct {
	// The IP address.
	IP string `json:"ip"`
	// The name of the network.
	Network string `json:"network,omitempty"`
}
