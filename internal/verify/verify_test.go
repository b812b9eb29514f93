package verify

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/weiyuanke/PodInfoLookup/internal/oracle"
)

const (
	settle = 10 * time.Second
	few    = 2
)

// fake is a cluster of Pods p0, p1, ... of namespace a and their Testcrs, as
// change leaves them. It is asked at each read, and gets the time since the start.
type fake struct {
	t      *testing.T
	pods   int
	change func(i int, after time.Duration, pod *corev1.Pod, u *unstructured.Unstructured) (*corev1.Pod, *unstructured.Unstructured)
	began  time.Time
	fails  error // of reads by name
	// owner returns the owner of all Pods; nil if owners are not read.
	owner func(after time.Duration) *metav1.PartialObjectMetadata

	lists, reads atomic.Int32
	made         sync.Map // Testcrs by the number of the Pod
}

func (f *fake) at(i int) (*corev1.Pod, *unstructured.Unstructured) {
	pod := fullPod()
	pod.Namespace, pod.Name = "a", fmt.Sprintf("p%d", i)
	u, ok := f.made.Load(i)
	if !ok {
		u = testcrOf(f.t, pod)
		f.made.Store(i, u)
	}
	return f.change(i, time.Since(f.began), pod, u.(*unstructured.Unstructured).DeepCopy())
}

func (f *fake) eachPod(_ context.Context, _ []string, visit func(*corev1.Pod)) error {
	f.lists.Add(1)
	for i := range f.pods {
		if pod, _ := f.at(i); pod != nil {
			visit(pod)
		}
	}
	return nil
}

func (f *fake) eachTestcr(_ context.Context, visit func(*unstructured.Unstructured)) error {
	f.lists.Add(1)
	for i := range f.pods {
		if _, u := f.at(i); u != nil {
			visit(u)
		}
	}
	return nil
}

func (f *fake) owners(context.Context, []string) (oracle.Owners, error) { return f.ownersAt(), nil }

func (f *fake) ownerOf(context.Context, *corev1.Pod) (oracle.Owners, error) { return f.ownersAt(), nil }

func (f *fake) ownersAt() oracle.Owners {
	if f.owner == nil {
		return nil
	}
	owners := oracle.Owners{}
	if owner := f.owner(time.Since(f.began)); owner != nil {
		owners.Add("ReplicaSet", owner)
	}
	return owners
}

func (f *fake) pod(_ context.Context, podkey string) (*corev1.Pod, error) {
	f.reads.Add(1)
	for i := range f.pods {
		if pod, _ := f.at(i); pod != nil && pod.Namespace+"/"+pod.Name == podkey {
			return pod, f.fails
		}
	}
	return nil, f.fails
}

func (f *fake) testcr(_ context.Context, name string) (*unstructured.Unstructured, error) {
	f.reads.Add(1)
	for i := range f.pods {
		if _, u := f.at(i); u != nil && u.GetName() == name {
			return u, nil
		}
	}
	return nil, nil
}

func run(ctx context.Context, source cluster, config *Config) (*Result, error) {
	c := newComparison(source, config)
	c.few = few
	return c.run(ctx)
}

type change = func(int, time.Duration, *corev1.Pod, *unstructured.Unstructured) (*corev1.Pod, *unstructured.Unstructured)

func TestRun_Settle(t *testing.T) {
	right := func(_ int, _ time.Duration, pod *corev1.Pod, u *unstructured.Unstructured) (*corev1.Pod, *unstructured.Unstructured) {
		return pod, u
	}
	// missing lacks the Testcrs between two times.
	missing := func(from, to time.Duration) change {
		return func(_ int, after time.Duration, pod *corev1.Pod, u *unstructured.Unstructured) (*corev1.Pod, *unstructured.Unstructured) {
			if after >= from && after < to {
				u = nil
			}
			return pod, u
		}
	}
	const ever = time.Hour
	tests := []struct {
		name    string
		change  change
		settle  time.Duration
		kinds   []Kind // of the differences
		unclear int
		// took is how long it takes, to the precision of a pause.
		took time.Duration
	}{
		{"all is right", right, settle, nil, 0, 0},
		{"it is gone at the second look", missing(0, time.Nanosecond), settle, nil, 0, time.Second},
		{"it is gone just in time", missing(0, settle-time.Millisecond), settle, nil, 0, settle},
		{"it lasts", missing(0, ever), settle, []Kind{Missing}, 0, settle},
		{"it lasts, and nothing is waited for", missing(0, ever), 0, []Kind{Missing}, 0, shortestPause},
		{"it begins after the first lists", missing(time.Nanosecond, ever), settle, nil, 0, 0},
		{"only what no Testcr tells changes, as a leader's heartbeat does", func(_ int, after time.Duration, pod *corev1.Pod, _ *unstructured.Unstructured) (*corev1.Pod, *unstructured.Unstructured) {
			pod.ResourceVersion = fmt.Sprint(after)
			pod.Annotations = map[string]string{"heartbeat": fmt.Sprint(after)}
			return pod, nil
		}, settle, []Kind{Missing}, 0, settle},
		{"the Pod changes all the time and its Testcr is behind", func(_ int, after time.Duration, pod *corev1.Pod, u *unstructured.Unstructured) (*corev1.Pod, *unstructured.Unstructured) {
			pod.Status.HostIP = fmt.Sprint(after)
			return pod, u
		}, settle, nil, 1, patience * settle},
		{"the Pod changes for a while, and its Testcr stays behind", func(_ int, after time.Duration, pod *corev1.Pod, u *unstructured.Unstructured) (*corev1.Pod, *unstructured.Unstructured) {
			pod.Status.HostIP = fmt.Sprint(min(after, 30*time.Second))
			return pod, u
		}, settle, []Kind{Differs}, 0, 30*time.Second + settle},
		{"a Testcr without a Pod", func(_ int, _ time.Duration, _ *corev1.Pod, u *unstructured.Unstructured) (*corev1.Pod, *unstructured.Unstructured) {
			return nil, u
		}, settle, []Kind{Orphan}, 0, settle},
		{"another Testcr without a Pod each time", func(_ int, after time.Duration, _ *corev1.Pod, u *unstructured.Unstructured) (*corev1.Pod, *unstructured.Unstructured) {
			u.SetUID(types.UID(fmt.Sprint(after)))
			return nil, u
		}, settle, nil, 1, patience * settle},
		{"a Pod that comes back under the same name, with the Testcr of its predecessor", func(_ int, after time.Duration, pod *corev1.Pod, u *unstructured.Unstructured) (*corev1.Pod, *unstructured.Unstructured) {
			if pod.UID = "u2"; after < 5*time.Second {
				return nil, u
			}
			return pod, u
		}, settle, []Kind{Differs}, 0, 5*time.Second + settle},
		{"a Testcr that is changed by hand again and again", func(_ int, after time.Duration, pod *corev1.Pod, u *unstructured.Unstructured) (*corev1.Pod, *unstructured.Unstructured) {
			setSpec(u, "podip", fmt.Sprint(after))
			return pod, u
		}, settle, []Kind{Differs}, 0, settle},
	}
	for _, test := range tests {
		// Few are read one by one, many through lists: both must judge the same.
		for _, pods := range []int{few, few + 1} {
			t.Run(fmt.Sprintf("%s, %d Pods", test.name, pods), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					f := &fake{t: t, pods: pods, change: test.change, began: time.Now()}
					result, err := run(t.Context(), f, &Config{Settle: test.settle})
					if err != nil {
						t.Fatal(err)
					}
					var kinds []Kind
					for _, d := range result.Differences {
						kinds = append(kinds, d.Kind)
					}
					if diff := cmp.Diff(slices.Repeat(test.kinds, pods), kinds, cmp.Transformer("empty", func(k []Kind) string { return fmt.Sprint(k) })); diff != "" {
						t.Errorf("differences (-want +got):\n%s", diff)
					}
					if got := len(result.Unclear); got != test.unclear*pods {
						t.Errorf("%d are unclear, want %d", got, test.unclear*pods)
					}
					if took := time.Since(f.began); took < test.took-time.Second || took > test.took+2*time.Second {
						t.Errorf("it took %s, want %s", took, test.took)
					}
					if byOne := f.reads.Load() > 0; test.took > 0 && byOne != (pods <= few) {
						t.Errorf("%d Pods: %d lists, %d reads", pods, f.lists.Load(), f.reads.Load())
					}
				})
			})
		}
	}
}

func TestRun_CountsAndScope(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{t: t, pods: 6, began: time.Now()}
		f.change = func(i int, _ time.Duration, pod *corev1.Pod, u *unstructured.Unstructured) (*corev1.Pod, *unstructured.Unstructured) {
			switch i {
			case 1: // an orphan of another namespace
				return nil, inNamespace(t, pod, "b")
			case 2: // somebody else's, in nobody's way
				setLabel(u, oracle.LabelManagedBy, nil)
				return nil, u
			case 3: // somebody else's, in the way
				setLabel(u, oracle.LabelManagedBy, nil)
				setSpec(u, "podkey", "x/y")
			case 4: // misnamed, and of namespace a
				u.SetName("copy")
				return nil, u
			case 5: // misnamed by a podkey that is none, and of namespace a by its label
				u.SetName("nothing")
				setSpec(u, "podkey", "nothing")
				return nil, u
			}
			return pod, u
		}
		tests := []struct {
			namespaces           []string
			testcrs, differences int
		}{
			{nil, 5, 4},
			{[]string{"a"}, 4, 3},
			{[]string{"a", "b"}, 5, 4},
		}
		for _, test := range tests {
			result, err := run(t.Context(), f, &Config{Namespaces: test.namespaces, Settle: settle})
			if err != nil {
				t.Fatal(err)
			}
			want := Result{Pods: 2, Testcrs: test.testcrs, Foreign: 1}
			got := Result{Pods: result.Pods, Testcrs: result.Testcrs, Foreign: result.Foreign}
			if diff := cmp.Diff(want, got); diff != "" || len(result.Differences) != test.differences {
				t.Errorf("namespaces %q: %d differences, want %d: %v\n%s", test.namespaces, len(result.Differences), test.differences, result.Differences, diff)
			}
		}
	})
}

// TestRun_Owners compares Testcrs whose workload a Rollout is, by the owner reference of
// their ReplicaSet.
func TestRun_Owners(t *testing.T) {
	const after = 3 * time.Second
	owner := func(uid types.UID) *metav1.PartialObjectMetadata {
		m := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "cart-5d9f", UID: uid}}
		m.OwnerReferences = []metav1.OwnerReference{{Kind: "Rollout", Name: "shop", Controller: new(true)}}
		return m
	}
	tests := []struct {
		name  string
		owner func(time.Duration) *metav1.PartialObjectMetadata
		proof string // of the Testcr
		kinds []Kind
	}{
		{name: "the owner proves it", owner: func(time.Duration) *metav1.PartialObjectMetadata { return owner("") }, proof: "owner"},
		{name: "the owner proves another", owner: func(time.Duration) *metav1.PartialObjectMetadata { return owner("") }, proof: "label", kinds: []Kind{Differs}},
		{name: "the owner is gone, and was seen", owner: func(time.Duration) *metav1.PartialObjectMetadata { return nil }, proof: "owner"},
		{name: "the owner is gone, and another has its name", owner: func(time.Duration) *metav1.PartialObjectMetadata { return owner("other") }, proof: "owner"},
		{name: "the owner appears", owner: func(at time.Duration) *metav1.PartialObjectMetadata {
			if at < after {
				return nil
			}
			return owner("")
		}, proof: "owner"},
		{name: "owners are not read", proof: "owner", kinds: []Kind{Differs}},
	}
	for _, test := range tests {
		for _, pods := range []int{few, few + 1} { // read one by one, and through lists
			t.Run(fmt.Sprintf("%s, %d Pods", test.name, pods), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					f := &fake{t: t, pods: pods, owner: test.owner, began: time.Now()}
					f.change = func(_ int, _ time.Duration, pod *corev1.Pod, u *unstructured.Unstructured) (*corev1.Pod, *unstructured.Unstructured) {
						if test.proof == "owner" {
							setSpec(u, "workloadkind", "Rollout")
							setSpec(u, "workloadname", "shop")
							setSpec(u, "workloadproof", "owner")
							setLabel(u, oracle.LabelWorkload, new("shop"))
						}
						return pod, u
					}
					result, err := run(t.Context(), f, &Config{Settle: settle})
					if err != nil {
						t.Fatal(err)
					}
					kinds := map[Kind]bool{}
					for _, d := range result.Differences {
						kinds[d.Kind] = true
					}
					if len(result.Unclear) > 0 || len(test.kinds) == 0 && len(kinds) > 0 || len(test.kinds) > 0 && !kinds[test.kinds[0]] {
						t.Errorf("differences %v, want %v; unclear %v", result.Differences, test.kinds, result.Unclear)
					}
				})
			})
		}
	}
}

func inNamespace(t *testing.T, pod *corev1.Pod, namespace string) *unstructured.Unstructured {
	t.Helper()
	pod.Namespace = namespace
	return testcrOf(t, pod)
}

func TestRun_Errors(t *testing.T) {
	lost := func(_ int, _ time.Duration, pod *corev1.Pod, _ *unstructured.Unstructured) (*corev1.Pod, *unstructured.Unstructured) {
		return pod, nil
	}
	t.Run("a failed read", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			want := errors.New("refused")
			_, err := run(t.Context(), &fake{t: t, pods: few, change: lost, began: time.Now(), fails: want}, &Config{Settle: settle})
			if !errors.Is(err, want) {
				t.Errorf("error %v, want %v", err, want)
			}
		})
	})
	t.Run("an end while it waits", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), settle/2)
			defer cancel()
			_, err := run(ctx, &fake{t: t, pods: few, change: lost, began: time.Now()}, &Config{Settle: settle})
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("error %v, want that of the context", err)
			}
		})
	})
}

// What lookAtAll keeps of a Pod comes back the same, or all would differ.
func TestRun_FactsSurviveJSON(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{t: t, pods: few + 1, began: time.Now()}
		f.change = func(_ int, after time.Duration, pod *corev1.Pod, u *unstructured.Unstructured) (*corev1.Pod, *unstructured.Unstructured) {
			pod.DeletionTimestamp = &metav1.Time{Time: f.began}
			setSpec(u, "terminating", after > 0) // the first look is at time 0, too
			setSpec(u, "status", "Terminating")
			return pod, u
		}
		result, err := run(t.Context(), f, &Config{Settle: settle})
		if err != nil || len(result.Differences)+len(result.Unclear) > 0 || f.reads.Load() > 0 {
			t.Errorf("%v, error %v, %d reads", result, err, f.reads.Load())
		}
	})
}
