// Package desiredtest contains Pods and Testcrs in which every field is set, for tests
// that no field is forgotten.
package desiredtest

import (
	"fmt"
	"reflect"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
)

// FullPod returns a Pod in which every field of the API is set. Its references to
// itself are right: its statuses are of its containers, and its owner is that of a
// Deployment.
func FullPod() *corev1.Pod {
	pod := &corev1.Pod{}
	Fill(pod)
	pod.APIVersion, pod.Kind = "v1", "Pod"
	pod.Status.Conditions[0].Type, pod.Status.Conditions[0].Status = corev1.PodReady, corev1.ConditionTrue
	pod.Status.ContainerStatuses[0].Name = pod.Spec.Containers[0].Name
	pod.Status.InitContainerStatuses[0].Name = pod.Spec.InitContainers[0].Name
	pod.Status.EphemeralContainerStatuses[0].Name = pod.Spec.EphemeralContainers[0].Name
	pod.OwnerReferences[0] = metav1.OwnerReference{
		APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "web-5d9f", UID: "u", Controller: new(true), BlockOwnerDeletion: new(true),
	}
	pod.Labels = map[string]string{"pod-template-hash": "5d9f"}
	pod.Annotations = map[string]string{
		"kubernetes.io/config.hash":         "0123456789abcdef0123456789abcdef",
		"k8s.v1.cni.cncf.io/network-status": `[{"name":"shop/storage","ips":["192.0.2.7"]}]`,
		"k8s.ovn.org/pod-networks":          `{"default":{"ip_addresses":["198.51.100.7/24"]}}`,
	}
	pod.Status.HostIPs = append(pod.Status.HostIPs, corev1.HostIP{IP: "2001:db8::1"})
	return pod
}

// FullSpec returns a spec in which every field is set.
func FullSpec() *v1.TestcrSpec {
	spec := &v1.TestcrSpec{}
	Fill(spec)
	return spec
}

// Fill sets every exported field of the struct that p points to, each to a value of
// its own. Lists and maps get one element.
func Fill(p any) {
	n := 0
	fill(reflect.ValueOf(p).Elem(), &n)
}

func fill(v reflect.Value, n *int) {
	*n++
	switch v.Kind() {
	case reflect.String:
		v.SetString(fmt.Sprintf("s%d", *n))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(int64(*n%100 + 1))
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(uint64(*n%100 + 1)) //nolint:gosec // G115: below 101
	case reflect.Float32, reflect.Float64:
		v.SetFloat(float64(*n))
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), n)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0), n)
	case reflect.Map:
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		fill(key, n)
		fill(value, n)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(key, value)
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[metav1.Time]() {
			v.Set(reflect.ValueOf(metav1.Unix(1_700_000_000+int64(*n), 0)))
			return
		}
		for _, field := range v.Fields() {
			if field.CanSet() {
				fill(field, n)
			}
		}
	default:
		panic("no value for a " + v.Type().String())
	}
}

// Change is one change of a spec.
type Change struct {
	Name  string // the path of the field and what changes, for example Containers[0].ID is cleared
	Apply func(*v1.TestcrSpec)
}

// Changes returns the changes of each single value of a spec from FullSpec: set to
// another value, cleared, and for lists and maps one element more.
func Changes() []Change {
	var changes []Change
	v := reflect.ValueOf(FullSpec()).Elem()
	for i := range v.NumField() {
		at := func(s *v1.TestcrSpec) reflect.Value { return reflect.ValueOf(s).Elem().Field(i) }
		changes = appendChanges(changes, v.Type().Field(i).Name, v.Field(i), at)
	}
	return changes
}

// appendChanges appends the changes of full, which at finds in another spec.
func appendChanges(changes []Change, path string, full reflect.Value, at func(*v1.TestcrSpec) reflect.Value) []Change {
	add := func(what string, apply func(reflect.Value)) {
		changes = append(changes, Change{Name: path + " " + what, Apply: func(s *v1.TestcrSpec) { apply(at(s)) }})
	}
	add("is cleared", func(v reflect.Value) { v.SetZero() })
	switch kind := full.Kind(); {
	case kind == reflect.Slice:
		add("has an element more", func(v reflect.Value) { v.Set(reflect.Append(v, reflect.Zero(v.Type().Elem()))) })
		return appendChanges(changes, path+"[0]", full.Index(0), func(s *v1.TestcrSpec) reflect.Value { return at(s).Index(0) })
	case kind == reflect.Map:
		key := full.MapKeys()[0]
		add("has an element more", func(v reflect.Value) {
			v.SetMapIndex(reflect.ValueOf("another").Convert(key.Type()), v.MapIndex(key))
		})
		add("has another value", func(v reflect.Value) { v.SetMapIndex(key, another(v.MapIndex(key))) })
		add("has another key", func(v reflect.Value) {
			v.SetMapIndex(another(key), v.MapIndex(key))
			v.SetMapIndex(key, reflect.Value{})
		})
	case kind == reflect.Struct && full.Type() != reflect.TypeFor[metav1.Time]():
		for i := range full.NumField() {
			field := func(s *v1.TestcrSpec) reflect.Value { return at(s).Field(i) }
			changes = appendChanges(changes, path+"."+full.Type().Field(i).Name, full.Field(i), field)
		}
	case kind != reflect.Bool: // whose other value is the cleared one
		add("has another value", func(v reflect.Value) { v.Set(another(v)) })
	}
	return changes
}

// another returns another value than v, of the same type and not zero.
func another(v reflect.Value) reflect.Value {
	out := reflect.New(v.Type()).Elem()
	n := 10
	for fill(out, &n); out.Equal(v); {
		fill(out, &n)
	}
	return out
}
