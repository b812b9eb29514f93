package serving_test

import (
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"
	"sigs.k8s.io/yaml"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/test/testenv"
)

const (
	bearer = "Bearer"
	basic  = `Basic realm="podinfolookup: any user name, a service account token as the password", charset="UTF-8"`

	// They do not exist, so 404 means that the caller was let in.
	one = "/v1/pods/default/none"
	all = "/none"
)

func login(scheme, secret string) string {
	if scheme == "Basic" {
		secret = base64.StdEncoding.EncodeToString([]byte("any:" + secret))
	}
	return scheme + " " + secret
}

// scrapes returns a token of a new service account that has the ClusterRole of
// yaml/rbac-metrics.yaml, once it is in force.
func scrapes(t *testing.T, namespace string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(testenv.Root(), "yaml", "rbac-metrics.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	role := &rbacv1.ClusterRole{}
	if err := yaml.UnmarshalStrict(data, role); err != nil {
		t.Fatal(err)
	}
	rbac := env.Clients.RbacV1()
	if _, err := rbac.ClusterRoles().Create(t.Context(), role, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		t.Fatal(err)
	}
	token := account(t, namespace, "scraper")
	_, err = rbac.ClusterRoleBindings().Create(t.Context(), &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "test-"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role.Name},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: namespace, Name: "scraper"}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
		User:                  "system:serviceaccount:" + namespace + ":scraper",
		NonResourceAttributes: &authorizationv1.NonResourceAttributes{Path: "/metrics", Verb: "get"},
	}}
	testenv.Eventually(t, func(ctx context.Context) error {
		answer, err := env.Clients.AuthorizationV1().SubjectAccessReviews().Create(ctx, review, metav1.CreateOptions{})
		if err == nil && !answer.Status.Allowed {
			err = errors.New("it may not scrape yet")
		}
		return err
	})
	return token
}

func TestLogin_Callers(t *testing.T) {
	t.Parallel()
	namespace := env.Namespace(t, "")
	reader := account(t, namespace, "reader", "get", "list")
	getter := account(t, namespace, "getter", "get")
	lister := account(t, namespace, "lister", "list")
	nobody := account(t, namespace, "nobody")
	scraper := scrapes(t, namespace)
	s := start(t, env.Kubeconfig, anywhere)
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "nginx"},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "nginx", Image: "nginx:1.29"}}},
	}
	if _, err := env.Clients.CoreV1().Pods(s.namespace).Create(t.Context(), pod, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	nginx := "/v1/pods/" + s.namespace + "/nginx"
	testenv.Eventually(t, func(ctx context.Context) error {
		return s.answers(ctx, nginx, http.Header{"Authorization": {login("Bearer", reader)}}, http.StatusOK)
	})
	const none, invalid = "no token: send one", "the token is not valid"
	may := func(name, what string) string {
		return "system:serviceaccount:" + namespace + ":" + name + " may not " + what
	}
	tests := []struct {
		name, path, authorization, accept string
		wantCode                          int
		wantChallenge, wantText           string
	}{
		{name: "no token", path: all, wantCode: 401, wantChallenge: bearer, wantText: none},
		{name: "no token, in a browser", path: all, accept: "text/html,application/xhtml+xml", wantCode: 401, wantChallenge: basic, wantText: none},
		{name: "an empty token", path: all, authorization: "Bearer ", wantCode: 401, wantChallenge: bearer, wantText: none},
		{name: "another kind of login", path: all, authorization: "Digest " + reader, wantCode: 401, wantChallenge: bearer, wantText: none},
		{name: "a token that is none", path: all, authorization: login("Bearer", "wrong"), wantCode: 401, wantChallenge: bearer, wantText: invalid},
		{name: "a token with another signature", path: all, authorization: login("Bearer", reader[:len(reader)-8]+"AAAAAAAA"), wantCode: 401, wantChallenge: bearer, wantText: invalid},
		{name: "a token that is none, in a browser", path: all, authorization: login("Basic", "wrong"), accept: "text/html", wantCode: 401, wantChallenge: basic, wantText: invalid},
		{name: "no password", path: all, authorization: login("Basic", ""), wantCode: 401, wantChallenge: basic, wantText: none},
		{name: "may read all and asks for all", path: all, authorization: login("Bearer", reader), wantCode: 404},
		{name: "may read all and asks for one", path: one, authorization: login("Bearer", reader), wantCode: 404},
		{name: "may read all and logs in with a password", path: all, authorization: login("Basic", reader), accept: "text/html", wantCode: 404},
		{name: "may get and asks for one", path: one, authorization: login("Bearer", getter), wantCode: 404},
		{name: "may get and asks for one that is there", path: nginx, authorization: login("Bearer", getter), wantCode: 200},
		{name: "may list and asks for one that is there", path: nginx, authorization: login("Bearer", lister), wantCode: 403, wantText: may("lister", "get testcrs.stable.example.com/")},
		{name: "may list and searches", path: "/v1/search?q=nginx", authorization: login("Bearer", lister), wantCode: 200},
		{name: "may get and asks for no Pods", path: all, authorization: login("Bearer", getter), wantCode: 404},
		{name: "may get and searches", path: "/v1/search?q=none", authorization: login("Bearer", getter), wantCode: 403, wantText: may("getter", "list testcrs.stable.example.com")},
		{name: "may get and streams", path: "/v1/events", authorization: login("Bearer", getter), wantCode: 403, wantText: may("getter", "list testcrs.stable.example.com")},
		{name: "may list and asks for one", path: one, authorization: login("Bearer", lister), wantCode: 403,
			wantText: may("lister", "get testcrs.stable.example.com/"+v1.NameFor(types.NamespacedName(cache.NewObjectName("default", "none"))))},
		{name: "may list and asks for all", path: all, authorization: login("Bearer", lister), wantCode: 404},
		{name: "may nothing and searches", path: "/v1/search", authorization: login("Bearer", nobody), wantCode: 403,
			wantText: may("nobody", "list testcrs.stable.example.com, nor list pods in a namespace that has any: bind it to a role that grants this")},
		{name: "may nothing and asks for one that is there", path: nginx, authorization: login("Bearer", nobody), wantCode: 403, wantText: may("nobody", "get testcrs.stable.example.com/")},
		{name: "may scrape and scrapes", path: "/metrics", authorization: login("Bearer", scraper), wantCode: 200},
		{name: "may scrape and searches", path: "/v1/search", authorization: login("Bearer", scraper), wantCode: 403, wantText: may("scraper", "list testcrs.stable.example.com")},
		{name: "may read all and scrapes", path: "/metrics", authorization: login("Bearer", reader), wantCode: 403, wantText: may("reader", "get /metrics")},
		{name: "scrapes without a token", path: "/metrics", wantCode: 401, wantChallenge: bearer, wantText: none},
		{name: "/livez without a token", path: "/livez", wantCode: 200, wantText: "ok"},
		{name: "/readyz without a token", path: "/readyz", accept: "text/html", wantCode: 200, wantText: "ok"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			header := http.Header{}
			for name, value := range map[string]string{"Authorization": test.authorization, "Accept": test.accept} {
				if value != "" {
					header.Set(name, value)
				}
			}
			got, err := s.get(t.Context(), test.path, header)
			if err != nil {
				t.Fatal(err)
			}
			if got.code != test.wantCode || !strings.HasPrefix(got.body, test.wantText) || test.wantText != "" && strings.Count(got.body, "\n") != 1 {
				t.Errorf("%d %q, want %d %q", got.code, got.body, test.wantCode, test.wantText)
			}
			if diff := cmp.Diff(test.wantChallenge, got.header.Get("WWW-Authenticate")); diff != "" {
				t.Errorf("challenge (-want +got):\n%s", diff)
			}
			if nosniff := got.header.Get("X-Content-Type-Options"); nosniff != "nosniff" {
				t.Errorf("X-Content-Type-Options: %q", nosniff)
			}
		})
	}
	for name, token := range map[string]string{"reader": reader, "getter": getter, "lister": lister, "nobody": nobody} {
		if s.Stderr.Has(token) == nil {
			t.Errorf("the log has the token of %s", name)
		}
	}
}

// podReader returns a token of a new service account that may read the Pods of a
// namespace, or of all if it is "", once it may.
func podReader(t *testing.T, home, name, namespace string) string {
	t.Helper()
	token := account(t, home, name)
	rbac, meta := env.Clients.RbacV1(), metav1.ObjectMeta{Name: name + "-" + home}
	rules := []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: []string{"get", "list"}}}
	if _, err := rbac.ClusterRoles().Create(t.Context(), &rbacv1.ClusterRole{ObjectMeta: meta, Rules: rules}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	role := rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: meta.Name}
	subjects := []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: home, Name: name}}
	var err error
	if namespace == "" {
		_, err = rbac.ClusterRoleBindings().Create(t.Context(), &rbacv1.ClusterRoleBinding{ObjectMeta: meta, RoleRef: role, Subjects: subjects}, metav1.CreateOptions{})
	} else {
		_, err = rbac.RoleBindings(namespace).Create(t.Context(), &rbacv1.RoleBinding{ObjectMeta: meta, RoleRef: role, Subjects: subjects}, metav1.CreateOptions{})
	}
	if err != nil {
		t.Fatal(err)
	}
	review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
		User:               "system:serviceaccount:" + home + ":" + name,
		ResourceAttributes: &authorizationv1.ResourceAttributes{Verb: "list", Resource: "pods", Namespace: namespace},
	}}
	testenv.Eventually(t, func(ctx context.Context) error {
		answer, err := env.Clients.AuthorizationV1().SubjectAccessReviews().Create(ctx, review, metav1.CreateOptions{})
		if err == nil && !answer.Status.Allowed {
			err = errors.New("it may not list Pods yet")
		}
		return err
	})
	return token
}

func TestWhoMayReadSomeNamespaces(t *testing.T) {
	t.Parallel()
	home, mine, theirs := env.Namespace(t, ""), env.Namespace(t, ""), env.Namespace(t, "")
	some, every := podReader(t, home, "some", mine), podReader(t, home, "every", "")
	s := start(t, env.Kubeconfig, anywhere, "--namespace="+mine+","+theirs)
	as := func(token string) http.Header { return http.Header{"Authorization": {login("Bearer", token)}} }
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "web"},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "web", Image: "nginx:1.29"}}},
	}
	for _, namespace := range []string{mine, theirs} {
		if _, err := env.Clients.CoreV1().Pods(namespace).Create(t.Context(), pod, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		testenv.Eventually(t, func(ctx context.Context) error {
			return s.answers(ctx, "/v1/pods?namespace="+namespace+"&name=web", as(every), http.StatusOK)
		})
	}
	tests := []struct {
		name, path, token string
		wantCode          int
		want, wantNot     []string // parts of the answer
	}{
		{"all Pods of one namespace", "/v1/pods", some, 200, []string{`"restricted":true,"total":1,`, mine + "/web"}, []string{theirs, `"pods":`}},
		{"all Pods", "/v1/pods", every, 200, []string{`"pods":2,"total":2,`, mine + "/web", theirs + "/web"}, []string{"restricted"}},
		{"a name in both", "/v1/search?q=web", some, 200, []string{`"restricted":true,"total":1,`, mine + "/web"}, []string{theirs}},
		{"the counts", "/v1/summary", some, 200, []string{`"namespaces":[{"name":"` + mine + `","count":1}]`}, []string{theirs, `"pods":`}},
		{"a Pod of the other namespace", "/v1/pods?key=" + theirs + "/web", some, 404, []string{`"restricted":true`}, []string{`"pods":`}},
		{"a Pod of the other namespace by its path", "/v1/pods/" + theirs + "/web", some, 403,
			[]string{"may not get testcrs.stable.example.com/", ", nor get pods/web in namespace " + theirs + ": "}, nil},
		{"a Pod by its path", "/v1/pods/" + mine + "/web", some, 200, []string{`"restricted":true`, mine + "/web"}, []string{`"pods":`}},
		{"a Pod by its path, with the right to all", "/v1/pods/" + theirs + "/web", every, 200, []string{theirs + "/web"}, nil},
		{"the front in text", "/", some, 200, []string{" knows Pods, as of ", "note: only namespaces in which you may list pods\n"}, []string{theirs}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := s.get(t.Context(), test.path, as(test.token))
			if err != nil || got.code != test.wantCode {
				t.Fatalf("%d %q, want %d; %v", got.code, got.body, test.wantCode, err)
			}
			for _, part := range test.want {
				if !strings.Contains(got.body, part) {
					t.Errorf("%q is without %q", got.body, part)
				}
			}
			for _, part := range test.wantNot {
				if strings.Contains(got.body, part) {
					t.Errorf("%q contains %q", got.body, part)
				}
			}
		})
	}
}

func TestLogin_SilentAPIServer(t *testing.T) {
	t.Parallel()
	reader := account(t, env.Namespace(t, ""), "reader", "get", "list")
	tests := []struct{ hangs, want string }{
		{hangs: "/tokenreviews", want: "the API server does not check tokens at the moment: try again later\n"},
		{hangs: "/subjectaccessreviews", want: "the API server does not check rights at the moment: try again later\n"},
	}
	for _, test := range tests {
		t.Run(test.hangs, func(t *testing.T) {
			t.Parallel()
			var on atomic.Bool
			s := start(t, env.Proxy(t, func(r *http.Request) bool { return on.Load() && strings.HasSuffix(r.URL.Path, test.hangs) }), anywhere)
			on.Store(true)
			begun := time.Now()
			header := http.Header{"Authorization": {login("Bearer", reader)}}
			got, err := s.get(t.Context(), all, header)
			if err != nil {
				t.Fatal(err)
			}
			if got.code != http.StatusServiceUnavailable || got.body != test.want || got.header.Get("WWW-Authenticate") != "" {
				t.Errorf("%d %q after %s, want 503 %q", got.code, got.body, time.Since(begun), test.want)
			}
			if err := s.answers(t.Context(), "/livez", nil, http.StatusOK); err != nil {
				t.Error(err)
			}
			on.Store(false) // an outage is not remembered
			testenv.Eventually(t, func(ctx context.Context) error { return s.answers(ctx, all, header, http.StatusNotFound) })
		})
	}
}
