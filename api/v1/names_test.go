package v1

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

func TestNameFor(t *testing.T) {
	t.Run("the Pod of the README has the name that the README shows", func(t *testing.T) {
		got := NameFor(types.NamespacedName{Namespace: "default", Name: "nginx"})
		if diff := cmp.Diff("29b36e2c6835dded8a115aee874d1ddc", got); diff != "" {
			t.Errorf("name (-want +got):\n%s", diff)
		}
	})
}

func TestTestcr_PodKey(t *testing.T) {
	web := types.NamespacedName{Namespace: "shop", Name: "web"}
	tests := []struct {
		name, podKey string
		object       string // the name of the Testcr; that of podKey if it is empty
		want         types.NamespacedName
		wantOK       bool
	}{
		{name: "the key of the Pod", podKey: "shop/web", object: NameFor(web), want: web, wantOK: true},
		{name: "the key of another Pod", podKey: "shop/web", object: NameFor(types.NamespacedName{Namespace: "shop", Name: "db"})},
		{name: "no key"},
		{name: "no namespace", podKey: "web"},
		{name: "an empty namespace", podKey: "/web"},
		{name: "an empty name", podKey: "shop/"},
		{name: "a slash alone", podKey: "/"},
		{name: "two slashes", podKey: "a/b/c"},
		{name: "a slash at the end", podKey: "shop/web/"},
		{name: "a space before it", podKey: " shop/web", object: NameFor(web)},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			testcr := &Testcr{ObjectMeta: metav1.ObjectMeta{Name: test.object}, Spec: TestcrSpec{PodKey: test.podKey}}
			if test.object == "" {
				testcr.Name = md5Hex(test.podKey)
			}
			got, ok := testcr.PodKey()
			if diff := cmp.Diff(test.want, got); diff != "" || ok != test.wantOK {
				t.Errorf("ok is %t, key (-want +got):\n%s", ok, diff)
			}
		})
	}
}

func TestTestcr_DescribesPod(t *testing.T) {
	deleted := metav1.Unix(1_700_000_000, 0)
	tests := []struct {
		name                       string
		change                     func(*Testcr)
		managed, emptied, describe bool
	}{
		{name: "that of a Pod", change: func(*Testcr) {}, managed: true, describe: true},
		{name: "one that is being deleted", change: func(c *Testcr) { c.DeletionTimestamp = &deleted }, managed: true, describe: true},
		{
			name:    "one that a finalizer keeps after the Pod",
			change:  func(c *Testcr) { c.DeletionTimestamp, c.Spec.PodUID = &deleted, "" },
			managed: true, emptied: true,
		},
		{name: "one without the UID of a Pod", change: func(c *Testcr) { c.Spec.PodUID = "" }, managed: true, describe: true},
		{name: "one of another program", change: func(c *Testcr) { c.Labels[LabelManagedBy] = "helm" }},
		{name: "one without labels", change: func(c *Testcr) { c.Labels = nil }},
		{name: "one with the key of another Pod", change: func(c *Testcr) { c.Spec.PodKey = "shop/db" }, managed: true},
		{name: "one without a spec", change: func(c *Testcr) { c.Spec = TestcrSpec{} }, managed: true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			testcr := &Testcr{
				ObjectMeta: metav1.ObjectMeta{
					Name:   NameFor(types.NamespacedName{Namespace: "shop", Name: "web"}),
					Labels: map[string]string{LabelManagedBy: ManagedBy},
				},
				Spec: TestcrSpec{PodKey: "shop/web", PodUID: "u"},
			}
			test.change(testcr)
			if got := testcr.IsManaged(); got != test.managed {
				t.Errorf("IsManaged is %t, want %t", got, test.managed)
			}
			if got := testcr.IsEmptied(); got != test.emptied {
				t.Errorf("IsEmptied is %t, want %t", got, test.emptied)
			}
			if got := testcr.DescribesPod(); got != test.describe {
				t.Errorf("DescribesPod is %t, want %t", got, test.describe)
			}
		})
	}
}
