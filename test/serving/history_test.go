package serving_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/weiyuanke/PodInfoLookup/internal/history"
	"github.com/weiyuanke/PodInfoLookup/test/testenv"
)

// TestHistory_ReusedIP asks who had an IP before and after it went to another Pod.
func TestHistory_ReusedIP(t *testing.T) {
	t.Parallel()
	home, mine, theirs := env.Namespace(t, ""), env.Namespace(t, ""), env.Namespace(t, "")
	some, every := podReader(t, home, "some", mine), podReader(t, home, "every", "")
	s := start(t, env.Kubeconfig, anywhere, "--namespace="+mine+","+theirs, "--history="+filepath.Join(t.TempDir(), "history.db"))
	as := func(token, accept string) http.Header {
		return http.Header{"Authorization": {login("Bearer", token)}, "Accept": {accept}}
	}
	const ip = "10.66.0.7"
	now := "/v1/pods?ip=" + ip
	create := func(namespace, name string) *corev1.Pod {
		pod, err := env.Clients.CoreV1().Pods(namespace).Create(t.Context(), &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.PodSpec{NodeName: "node-1", Containers: []corev1.Container{{Name: "web", Image: "nginx:1.29"}}},
		}, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return pod
	}
	create(mine, "stays")
	testenv.Eventually(t, func(ctx context.Context) error { // from here on times are certain
		return s.answers(ctx, "/v1/pods?name=stays&at=now", as(every, ""), http.StatusOK)
	})
	lived := func(namespace, name string) time.Time {
		pods, pod := env.Clients.CoreV1().Pods(namespace), create(namespace, name)
		pod.Status = corev1.PodStatus{Phase: corev1.PodRunning, PodIP: ip, PodIPs: []corev1.PodIP{{IP: ip}}}
		if _, err := pods.UpdateStatus(t.Context(), pod, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
		testenv.Eventually(t, func(ctx context.Context) error { return s.answers(ctx, now, as(every, ""), http.StatusOK) })
		at := time.Now().Add(time.Millisecond) // its interval begins before
		testenv.Eventually(t, func(context.Context) error {
			if time.Since(at) < 10*time.Millisecond {
				return fmt.Errorf("it is still %s", at)
			}
			return nil
		})
		if err := pods.Delete(t.Context(), name, metav1.DeleteOptions{GracePeriodSeconds: new(int64)}); err != nil {
			t.Fatal(err)
		}
		testenv.Eventually(t, func(ctx context.Context) error { return s.answers(ctx, now, as(every, ""), http.StatusNotFound) })
		return at
	}
	before := time.Now()
	first, second := lived(mine, "cart"), lived(theirs, "web")

	at := func(moment time.Time) string {
		return "at=" + url.QueryEscape(moment.UTC().Format(time.RFC3339Nano))
	}
	since := "since=" + url.QueryEscape(before.UTC().Format(time.RFC3339Nano))
	tests := map[string]struct {
		path, token string
		wantCode    int
		want        []string // the Pods
	}{
		"the first":                {now + "&" + at(first), every, http.StatusOK, []string{mine + "/cart"}},
		"the second":               {now + "&" + at(second), every, http.StatusOK, []string{theirs + "/web"}},
		"the second by a search":   {"/v1/search?q=" + ip + "&" + at(second), every, http.StatusOK, []string{theirs + "/web"}},
		"both":                     {now + "&" + since, every, http.StatusOK, []string{theirs + "/web", mine + "/cart"}},
		"by name":                  {"/v1/pods?name=cart&namespace=" + mine + "&" + since, every, http.StatusOK, []string{mine + "/cart"}},
		"nobody":                   {"/v1/pods?ip=10.66.0.8&" + since, every, http.StatusNotFound, nil},
		"with rights on the first": {now + "&" + since, some, http.StatusOK, []string{mine + "/cart"}},
		"without on the second":    {now + "&" + at(second), some, http.StatusNotFound, nil},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := s.get(t.Context(), test.path, as(test.token, ""))
			var result history.Result
			if err == nil {
				err = json.Unmarshal([]byte(got.body), &result)
			}
			if err != nil {
				t.Fatal(err, got.body)
			}
			var pods []string
			for i := range result.Items {
				if pods = append(pods, result.Items[i].PodKey); !result.Items[i].Certain {
					t.Errorf("%s is uncertain: %s", result.Items[i].PodKey, got.body)
				}
			}
			if got.code != test.wantCode || strings.Join(pods, " ") != strings.Join(test.want, " ") || len(result.Records) != 1 {
				t.Errorf("%d %s, want %d %s: %s", got.code, pods, test.wantCode, test.want, got.body)
			}
			text, err := s.get(t.Context(), test.path, as(test.token, "text/plain"))
			if err != nil || text.code != test.wantCode || !strings.Contains(text.body, "\nrecorded from ") || !strings.Contains(text.body, "\nall times are UTC\n") {
				t.Errorf("as text: %v %d %s", err, text.code, text.body)
			}
			for _, pod := range test.want {
				if !strings.Contains(text.body, pod) {
					t.Errorf("%s is not in %s", pod, text.body)
				}
			}
		})
	}

	for token, want := range map[string]string{every: theirs + "/web had it until ", some: mine + "/cart had it until "} {
		for _, path := range []string{now, "/v1/search?q=" + ip} {
			got, err := s.get(t.Context(), path, as(token, "text/plain"))
			if err != nil || !strings.Contains(got.body, want) {
				t.Errorf("%s: %v %s, want %s", path, err, got.body, want)
			}
		}
	}
}
