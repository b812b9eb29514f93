package app

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/internal/feed"
	"github.com/weiyuanke/PodInfoLookup/internal/testcrcache/testcrcachetest"
)

func TestNewFeedRow(t *testing.T) {
	created := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	testcr := testcrcachetest.Entry(&v1.Testcr{
		ObjectMeta: metav1.ObjectMeta{Name: "29b36e2c"},
		Spec: v1.TestcrSpec{
			PodKey: "b/x", Namespace: "b", PodName: "x", PodUID: "1", PodIP: "10.0.0.12", NodeName: "node-1", Phase: "Running",
			CreatedAt: metav1.NewTime(created),
		},
	})
	want := feed.Row{Name: "29b36e2c", Pod: "b/x", IP: "10.0.0.12", Node: "node-1", Phase: "Running", CreatedAt: created}
	emptied := testcrcachetest.Entry(&v1.Testcr{
		ObjectMeta: metav1.ObjectMeta{Name: "29b36e2c", DeletionTimestamp: &metav1.Time{Time: created}},
	})
	tests := []struct {
		name       string
		namespaces []string
		obj        any
		want       feed.Row
	}{
		{name: "all are watched", obj: testcr, want: want},
		{name: "one of the watched namespaces", namespaces: []string{"a", "b"}, obj: testcr, want: want},
		{name: "another namespace", namespaces: []string{"a", "c"}, obj: testcr},
		{name: "its Pod is gone, a finalizer keeps it", obj: emptied},
		{name: "no Testcr", obj: "x"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, listed := newFeedRow(test.namespaces)(test.obj)
			if diff := cmp.Diff(test.want, got); diff != "" || listed != (test.want != feed.Row{}) {
				t.Errorf("listed: %t; row (-want +got):\n%s", listed, diff)
			}
		})
	}
}
