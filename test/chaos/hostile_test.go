package chaos_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
)

const (
	// hostileEvery is how often a hostile Pod is created. Each is written about five
	// times with up to 700 kB. One every 2 s takes all of two cores, and no other load
	// is left.
	hostileEvery = 8 * time.Second
	// hostileLiving is how many hostile Pods live at a time.
	hostileLiving = 3
	// hostileApp is their label app. The backlog of the load ignores them.
	hostileApp = "hostile"
)

// hostilePods creates, patches and deletes Pods that only an attacker or a broken
// generator would make. Any owner of a namespace may create each of them.
type hostilePods struct {
	clients   kubernetes.Interface
	metadata  metadata.Interface // a list of whole Pods would be megabytes
	namespace string
	number    int

	made    [len(shapes)]int   // Pods created, by shape
	refused [len(shapes)]error // the last failure to create one
	patched int
}

// shape is one way in which a Pod is hostile. A Pod is created with it, or gets
// it by a patch while it runs, where a patch is allowed.
type shape struct {
	name  string
	make  func(*corev1.Pod)
	patch func() string // strategic merge patch, nil if the API server takes none
}

// image is a shape whose only container has this image.
func image(name, image string) shape {
	return shape{
		name: name,
		make: func(p *corev1.Pod) { p.Spec.Containers[0].Image = image },
		patch: func() string {
			return fmt.Sprintf(`{"spec":{"containers":[{"name":"main","image":%q}]}}`, image)
		},
	}
}

// control has characters that JSON, terminals or HTML treat specially. %q of them
// is not JSON, so it is never in a patch.
const control = "\x00\x01\x07\n\r\t\x1b[31m\x7f\u0085\u2028\u202e\U0001d11e\"'`\\<>&"

// shapes grow in ways that each needs a limit of its own: the bytes of a string,
// the bytes of its JSON (`<` takes six), the runes that a cut may split, the
// number of items, and all items together.
var shapes = [...]shape{
	image("an image of 270,000 <", "i"+strings.Repeat("<", 270_000)),
	image("an image of 700 kB", "i"+strings.Repeat("!", 700_000)), // of "m" the API server would parse it for seconds
	image("an image of two-byte runes", strings.Repeat("é", 20_000)),
	{
		name: "1,000 containers",
		make: func(p *corev1.Pod) { addHostileContainers(p, 1000, "nginx:1.29") },
	},
	{
		name: "60 containers with an image of 2,000 \"",
		make: func(p *corev1.Pod) { addHostileContainers(p, 60, strings.Repeat(`"`, 2000)) },
	},
	{
		name: "5,000 labels",
		make: func(p *corev1.Pod) {
			for i := range 5000 {
				p.Labels[fmt.Sprint("hostile-", i)] = "value"
			}
		},
		patch: func() string {
			var b strings.Builder
			for i := range 5000 {
				fmt.Fprintf(&b, `,"hostile-%d":"value"`, i)
			}
			return `{"metadata":{"labels":{` + b.String()[1:] + `}}}`
		},
	},
	{
		name: "500 labels of 63 characters",
		make: func(p *corev1.Pod) {
			for i := range 500 {
				p.Labels[fmt.Sprintf("%050d/%063d", i, i)] = strings.Repeat("v", 63)
			}
		},
	},
	{
		name: "control characters in the image and the owner",
		make: func(p *corev1.Pod) {
			p.Spec.Containers[0].Image = "i" + strings.Repeat(control, 100) + "i"
			// The garbage collector cannot resolve the kind, so it keeps the Pod.
			p.OwnerReferences = []metav1.OwnerReference{{
				APIVersion: "hostile.example.com/v1", Kind: control, Name: strings.Repeat(control, 1000), UID: "none", Controller: new(true),
			}}
		},
	},
}

func addHostileContainers(p *corev1.Pod, n int, image string) {
	for i := range n - 1 {
		p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: fmt.Sprint("c-", i), Image: image})
	}
}

func newHostilePods(config *rest.Config, clients kubernetes.Interface, namespace string) (*hostilePods, error) {
	names, err := metadata.NewForConfig(config)
	return &hostilePods{clients: clients, metadata: names, namespace: namespace}, err
}

// run creates and deletes until ctx ends. In an outage all of it fails.
func (h *hostilePods) run(ctx context.Context, asked func(error)) {
	tick := time.NewTicker(hostileEvery)
	defer tick.Stop()
	for ctx.Err() == nil {
		limited, cancel := context.WithTimeout(ctx, 5*time.Second)
		asked(h.step(limited))
		cancel()
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
}

// step creates a Pod, patches the one before where that is its turn, and deletes
// the oldest. Every shape is created in one round and patched in the next.
func (h *hostilePods) step(ctx context.Context) error {
	n := h.number
	h.number++
	return errors.Join(h.create(ctx, n), h.patch(ctx, n-1), h.prune(ctx))
}

func hostileName(number int) string { return fmt.Sprintf("hostile-%06d", number) }

// patchOf returns the patch that the Pod of this number gets after its creation,
// or nil if it is created hostile.
func patchOf(number int) func() string {
	if number < 0 || number/len(shapes)%2 == 0 {
		return nil
	}
	return shapes[number%len(shapes)].patch
}

func (h *hostilePods) create(ctx context.Context, number int) error {
	t := template(hostileApp)
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: hostileName(number), Labels: t.Labels}, Spec: t.Spec}
	which := number % len(shapes)
	hostile := patchOf(number) == nil
	if hostile {
		shapes[which].make(pod)
	}
	_, err := h.clients.CoreV1().Pods(h.namespace).Create(ctx, pod, metav1.CreateOptions{})
	switch {
	case err != nil:
		h.refused[which] = err
	case hostile:
		h.made[which]++
	}
	return err
}

func (h *hostilePods) patch(ctx context.Context, number int) error {
	patch := patchOf(number)
	if patch == nil {
		return nil
	}
	_, err := h.clients.CoreV1().Pods(h.namespace).Patch(ctx, hostileName(number), types.StrategicMergePatchType, []byte(patch()), metav1.PatchOptions{})
	if err == nil {
		h.patched++
	}
	return err
}

// prune deletes all but the newest. It goes by a list, since a restore of etcd
// brings old ones back.
func (h *hostilePods) prune(ctx context.Context) error {
	list, err := h.metadata.Resource(corev1.SchemeGroupVersion.WithResource("pods")).Namespace(h.namespace).
		List(ctx, metav1.ListOptions{LabelSelector: "app=" + hostileApp, ResourceVersion: "0"})
	if err != nil {
		return err
	}
	var errs []error
	for i := range list.Items {
		p := &list.Items[i]
		if p.DeletionTimestamp != nil || p.Name > hostileName(h.number-1-hostileLiving) {
			continue
		}
		var grace *int64 // the default
		if i%2 == 0 {
			grace = new(int64)
		}
		err := h.clients.CoreV1().Pods(h.namespace).Delete(ctx, p.Name, metav1.DeleteOptions{GracePeriodSeconds: grace})
		if err != nil && !apierrors.IsNotFound(err) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// missing returns the shapes that never came to be, as problems of the run. Too
// few Pods to have met each are none.
func (h *hostilePods) missing() (problems []string) {
	if h.number < 2*len(shapes) {
		return nil
	}
	for i, n := range h.made {
		if n == 0 {
			problems = append(problems, fmt.Sprintf("no Pod was created with %s: %.200v", shapes[i].name, h.refused[i]))
		}
	}
	if h.patched == 0 {
		problems = append(problems, "no running Pod was made hostile by a patch")
	}
	return problems
}

// TestShapes_Patches has each patch be JSON that makes a Pod what its shape makes
// of it, within what the API server takes in one request (3 MiB) and etcd in one
// object (1.5 MiB).
func TestShapes_Patches(t *testing.T) {
	for i := range shapes {
		t.Run(shapes[i].name, func(t *testing.T) {
			spec := template(hostileApp)
			ordinary := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Labels: spec.Labels}, Spec: spec.Spec}
			want := ordinary.DeepCopy()
			shapes[i].make(want)
			stored, err := want.Marshal()
			must(t, err)
			if len(stored) > 1<<20 {
				t.Errorf("it has %d bytes in etcd, before its status", len(stored))
			}
			before, err := json.Marshal(ordinary)
			must(t, err)
			after, err := json.Marshal(want)
			must(t, err)
			if len(after) > 3<<20 {
				t.Errorf("its request has %d bytes", len(after))
			}
			if shapes[i].patch == nil {
				return
			}
			patched, err := strategicpatch.StrategicMergePatch(before, []byte(shapes[i].patch()), corev1.Pod{})
			must(t, err)
			got := &corev1.Pod{}
			must(t, json.Unmarshal(patched, got))
			if !cmp.Equal(want, got) {
				t.Error("the patch makes another Pod of it")
			}
		})
	}
}

func TestHostilePods_EachShapeComesInEachWay(t *testing.T) {
	created, patched := map[int]bool{}, map[int]bool{}
	for number := range 2 * len(shapes) {
		if patchOf(number) == nil {
			created[number%len(shapes)] = true
		} else {
			patched[number%len(shapes)] = true
		}
	}
	for i := range shapes {
		if !created[i] || patched[i] != (shapes[i].patch != nil) {
			t.Errorf("%s: created %t, patched %t", shapes[i].name, created[i], patched[i])
		}
	}
}
