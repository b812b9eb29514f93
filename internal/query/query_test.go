package query_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/internal/desired"
	"github.com/weiyuanke/PodInfoLookup/internal/query"
)

const (
	uid = "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0"
	id  = "4f5ca3b2d1e0998877665544332211000f1e2d3c4b5a69788796a5b4c3d2e1f0"
)

// undashed and underscored are spellings of uid, of runtimes and of systemd.
var (
	undashed    = strings.ReplaceAll(uid, "-", "")
	underscored = strings.ReplaceAll(uid, "-", "_")
)

func fullPod() *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "shop", Name: "web-5d9f-abcde", UID: types.UID(uid), Labels: map[string]string{"pod-template-hash": "5d9f", "app": "web"},
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "web-5d9f", Controller: new(true)}},
		},
		Spec: corev1.PodSpec{NodeName: "node-1", Containers: []corev1.Container{{Name: "web", Image: "docker.io/library/nginx:1.29"}}},
		Status: corev1.PodStatus{
			Phase: corev1.PodRunning, HostIP: "192.168.0.1", PodIP: "10.0.0.7",
			PodIPs:            []corev1.PodIP{{IP: "10.0.0.7"}, {IP: "fd00::7"}},
			ContainerStatuses: []corev1.ContainerStatus{{Name: "web", ContainerID: "containerd://" + id}},
		},
	}
}

// brief writes terms as KIND:TEXT.
func brief(terms []query.Term) string {
	words := make([]string, len(terms))
	for i, t := range terms {
		words[i] = string(t.Kind) + ":" + t.String()
	}
	return strings.Join(words, " ")
}

func TestParse(t *testing.T) {
	const v4, v6 = "ip:10.0.0.7 hostip:10.0.0.7", "ip:fd00::7 hostip:fd00::7"
	tests := []struct{ name, of, want string }{ // no want: an error
		{"IPv4, which may be the name of a node", "10.0.0.7", v4 + " node:10.0.0.7 name:10.0.0.7"},
		{"IPv4 with a port", "10.0.0.7:8080", v4},
		{"IPv4 alone in its prefix", "10.0.0.7/32", v4},
		{"IPv4 in brackets", "[10.0.0.7]", v4},
		{"IPv4 mapped into IPv6", "::ffff:10.0.0.7", v4},
		{"IPv4 mapped into IPv6, in hexadecimal", "::FFFF:0a00:0007", v4},
		{"IPv4 mapped into IPv6, with a port", "[::ffff:10.0.0.7]:443", v4},
		{"IPv4 mapped into IPv6, alone in its prefix", "::ffff:10.0.0.7/128", v4},
		{"IPv6", "fd00::7", v6},
		{"IPv6 in capitals", "FD00::7", v6},
		{"IPv6 in full", "fd00:0000:0000:0000:0000:0000:0000:0007", v6},
		{"IPv6 with zeros that could be left out", "fd00:0:0::0:7", v6},
		{"IPv6 with the end as IPv4", "fd00::0.0.0.7", v6},
		{"IPv6 with a zone", "fd00::7%eth0", v6},
		{"IPv6 in brackets", "[fd00::7]", v6},
		{"IPv6 in brackets with a zone", "[fd00::7%eth0]", v6},
		{"IPv6 with a port", "[fd00::7]:443", v6},
		{"IPv6 with a zone and a port", "[fd00::7%eth0]:443", v6},
		{"IPv6 alone in its prefix", "fd00::7/128", v6},
		{"an address within spaces", "\t 10.0.0.7\r\n", v4 + " node:10.0.0.7 name:10.0.0.7"},
		{"IPv4 with the length of its prefix", "10.0.0.7/24", v4},
		{"IPv6 with the length of its prefix", "fd00::7/64", v6},
		{"a range of more than a cluster", "10.0.0.0/8", ""},
		{"an IPv6 range of more than a cluster", "fd00::/32", ""},
		{"five numbers are a name", "1.2.3.4.5", "name:1.2.3.4.5 node:1.2.3.4.5 workload:1.2.3.4.5"},
		{"numbers that begin with zeros are a name", "010.0.0.7", "name:010.0.0.7 node:010.0.0.7 workload:010.0.0.7"},
		{"a number that no byte has", "10.0.0.256", "name:10.0.0.256 node:10.0.0.256 workload:10.0.0.256"},
		{"half an address in brackets", "[::1", ""},
		{"brackets", "[]", ""},
		{"a port that no packet has", "10.0.0.7:65536", ""},

		{"UID, which may be a name", uid, "uid:" + uid + " name:" + uid + " node:" + uid},
		{"UID in capitals", strings.ToUpper(uid), "uid:" + uid},
		{"UID without dashes", undashed, "container:" + undashed + " uid:" + uid + " name:" + undashed + " node:" + undashed + " workload:" + undashed},
		{"UID without dashes in capitals", strings.ToUpper(undashed), "container:" + undashed + " uid:" + uid},
		{"UID with a digit too many is a name", uid + "0", "name:" + uid + "0 node:" + uid + "0 workload:" + uid + "0"},
		{"cgroup of cgroupfs", "/kubepods/burstable/pod" + uid, "uid:" + uid},
		{"cgroup of cgroupfs with a container", "/kubepods/burstable/pod" + uid + "/" + id, "container:" + id + " uid:" + uid},
		{"cgroup of cgroupfs as /proc has it", "11:memory:/kubepods/pod" + uid + "/" + id, "container:" + id + " uid:" + uid},
		{"cgroup of systemd", "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" + underscored + ".slice", "uid:" + uid},
		{
			"cgroup of systemd and containerd", "0::/kubepods.slice/kubepods-pod" + underscored + ".slice/cri-containerd-" + id + ".scope",
			"container:" + id + " uid:" + uid,
		},
		{
			"cgroup of systemd and CRI-O", "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod" + underscored + ".slice/crio-" + id + ".scope/container",
			"container:" + id + " uid:" + uid,
		},
		{"cgroup as containerd calls it", "kubepods-burstable-pod" + underscored + ".slice:cri-containerd:" + id, "container:" + id + " uid:" + uid},
		{"cgroup of another service", "/system.slice/containerd.service", ""},
		{"a Pod that is called like a cgroup", "shop/pod" + uid, "uid:" + uid + " key:shop/pod" + uid + " workload:shop/pod" + uid},

		{"container ID, which may be a name", id, "container:" + id + " name:" + id + " node:" + id + " workload:" + id},
		{"container ID in capitals alone", strings.ToUpper(id), "container:" + id},
		{"12 digits of a container ID", id[:12], "container:" + id[:12] + " name:" + id[:12] + " node:" + id[:12] + " workload:" + id[:12]},
		{"11 digits are a name", id[:11], "name:" + id[:11] + " node:" + id[:11] + " workload:" + id[:11]},
		{"container ID of containerd", "containerd://" + id, "container:" + id},
		{"container ID of Docker", "docker://" + id, "container:" + id},
		{"container ID of CRI-O", "cri-o://" + id, "container:" + id},
		{"container ID in capitals", "CONTAINERD://" + strings.ToUpper(id), "container:" + id},
		{"the beginning of a container ID with its runtime", "containerd://" + id[:12], "container:" + id[:12]},
		{"too little of a container ID with its runtime", "containerd://" + id[:5], ""},
		{"a runtime within another", "a://b://c://" + id, "container:" + id},
		{"the address of a web page", "https://example.com/some/page", ""},
		{"a runtime without an ID", "containerd://", ""},
		{"an ID without a runtime", "://" + id, "container:" + id},
		{"nothing but a separator", "://", ""},

		{"namespace/name, which may be another kind of workload", "shop/web-0", "key:shop/web-0 workload:shop/web-0"},
		{"namespace/name of a name with dots", "shop/web.example", "key:shop/web.example workload:shop/web.example"},
		{"a name", "web-0", "name:web-0 node:web-0 workload:web-0"},
		{"the name of a node in full", "node-1.example.com", "name:node-1.example.com node:node-1.example.com workload:node-1.example.com"},
		{"pod/NAME, which may be in the namespace pod", "pod/web-0", "name:web-0 key:pod/web-0"},
		{"po/NAME", "po/web-0", "name:web-0 key:po/web-0"},
		{"Pods/NAME", "Pods/web-0", "name:web-0"},
		{"node/NAME", "node/node-1", "node:node-1 key:node/node-1"},
		{"no/NAME", "no/node-1", "node:node-1 key:no/node-1"},
		{"deploy/NAME", "deploy/web", "workload:deployment/web key:deploy/web"},
		{"Deployment/NAME", "Deployment/web", "workload:deployment/web"},
		{"deployment.apps/NAME", "deployment.apps/web", "workload:deployment/web"},
		{"deployments.v1.apps/NAME", "deployments.v1.apps/web", "workload:deployment/web"},
		{"sts/NAME", "sts/db", "workload:statefulset/db key:sts/db"},
		{"ds/NAME", "ds/log", "workload:daemonset/log key:ds/log"},
		{"rs/NAME", "rs/web-5d9f", "workload:replicaset/web-5d9f key:rs/web-5d9f"},
		{"rc/NAME", "rc/web", "workload:replicationcontroller/web key:rc/web"},
		{"job/NAME", "job/once", "workload:job/once key:job/once"},
		{"the kind of an operator", "Rollout/web", "workload:rollout/web"},
		{"the kind of an operator with its group", "rollout.argoproj.io/web", "workload:rollout/web"},
		{"what no kind is called", "7up/web", "key:7up/web"},
		{"what neither a kind nor a namespace is called", "a_b/web", ""},
		{"a group without a kind", ".apps/web", ""},

		{"nothing", "", ""},
		{"spaces", " \t\n", ""},
		{"a space within", "web 0", ""},
		{"a space behind a slash", "shop/ web", ""},
		{"NUL", "a\x00b", ""},
		{"not UTF-8", "a\xffb", ""},
		{"not UTF-8 behind a runtime", "a://" + strings.Repeat("\xff", 20), ""},
		{"a capital letter of another script", "WEB-\u212a", ""},
		{"an escape sequence", "\x1b[2J", ""},
		{"a slash", "/", ""},
		{"a namespace without a name", "a/", ""},
		{"a name without a namespace", "/a", ""},
		{"three names", "a/b/c", ""},
		{"a name that is too long", strings.Repeat("a.", 127), ""},
		{"more than anything has", strings.Repeat("a", 1025), ""},
		{"more than is read", "10.0.0.7" + strings.Repeat(" ", 16<<10) + "10.0.0.7", ""},
		{"more than anything has, with the limit within a letter", strings.Repeat("\u00e4", 1000), ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			terms, err := query.Parse(test.of)
			exact, _ := query.Exact(terms)
			if diff := cmp.Diff(test.want, brief(exact)); diff != "" {
				t.Errorf("readings of %q (-want +got):\n%s", test.of, diff)
			}
			if (err == nil) != (test.want != "") || err != nil && !oneLine(err) {
				t.Errorf("error is %v", err)
			}
		})
	}
}

// oneLine says whether err can be shown as it is.
func oneLine(err error) bool {
	return strings.IndexFunc(err.Error(), func(r rune) bool { return !unicode.IsPrint(r) }) < 0
}

func TestParseAs(t *testing.T) {
	tests := []struct {
		name    string
		kind    query.Kind
		of      string
		want    query.Term
		wantErr string // the beginning
	}{
		{"an IP in another spelling", query.IP, " FD00:0::7%eth0 ", query.Term{Text: "fd00::7", Addr: netip.MustParseAddr("fd00::7")}, ""},
		{"the IP of a node", query.HostIP, "[::ffff:192.168.0.1]:10250", query.Term{Text: "192.168.0.1", Addr: netip.MustParseAddr("192.168.0.1")}, ""},
		{"an IP that is none", query.IP, "web", query.Term{}, `"web" is not an IPv4 or IPv6 address`},
		{"a prefix of many IPs", query.IP, "10.0.0.0/8", query.Term{}, `"10.0.0.0/8" is not an IPv4 or IPv6 address`},
		{"a UID in capitals", query.UID, strings.ToUpper(uid), query.Term{Text: uid}, ""},
		{"a UID without dashes", query.UID, undashed, query.Term{Text: uid}, ""},
		{"a UID of another form, which the API server lets nobody choose", query.UID, "u-1", query.Term{Text: "u-1"}, ""},
		{"a container ID with its runtime", query.Container, "docker://" + strings.ToUpper(id), query.Term{Text: id}, ""},
		{"a container ID of another form", query.Container, "rkt://Unit-1_Web.service", query.Term{Text: "unit-1_web.service"}, ""},
		{"a short container ID", query.Container, "docker://abc", query.Term{}, `"abc" is not a container ID: at least its first 12 characters are needed`},
		{"a container ID with a slash", query.Container, "https://example.com/page", query.Term{}, `"example.com/page" is not a container ID`},
		{"a container ID with a space", query.Container, id[:12] + " " + id[:12], query.Term{}, `"` + id[:12] + " " + id[:12] + `" is not a container ID`},
		{"a key", query.Key, "shop/web-0", query.Term{Text: "shop/web-0"}, ""},
		{"a key without a namespace", query.Key, "web-0", query.Term{}, `"web-0" is not NAMESPACE/NAME`},
		{"a key with an empty namespace", query.Key, "/web-0", query.Term{}, `"/web-0" is not NAMESPACE/NAME`},
		{"a key with an empty name", query.Key, "shop/", query.Term{}, `"shop/" is not NAMESPACE/NAME`},
		{"a key with two slashes", query.Key, "a/b/c", query.Term{}, `"a/b/c" is not NAMESPACE/NAME`},
		{"a name", query.Name, "web-0", query.Term{Text: "web-0"}, ""},
		{"a name with a slash", query.Name, "shop/web-0", query.Term{}, `"shop/web-0" is not the name of a Pod: it has a slash`},
		{"a node", query.Node, "node-1", query.Term{Text: "node-1"}, ""},
		{"a node with a slash", query.Node, "node/node-1", query.Term{}, `"node/node-1" is not the name of a node: it has a slash`},
		{"a namespace", query.Namespace, "shop", query.Term{Text: "shop"}, ""},
		{"a namespace with a slash", query.Namespace, "shop/", query.Term{}, `"shop/" is not the name of a namespace: it has a slash`},
		{"a workload", query.Workload, "web", query.Term{Text: "web"}, ""},
		{"a workload with its kind", query.Workload, "deploy/web", query.Term{Text: "web", OwnerKind: "deployment"}, ""},
		{"a workload with the kind of an operator", query.Workload, "Rollout.argoproj.io/web", query.Term{Text: "web", OwnerKind: "rollout"}, ""},
		{"a workload with an empty kind", query.Workload, "/web", query.Term{}, `"/web" is not NAME or KIND/NAME`},
		{"a workload with a group alone", query.Workload, ".apps/web", query.Term{}, `".apps/web" is not NAME or KIND/NAME`},
		{"a workload with an empty name", query.Workload, "deploy/", query.Term{}, `"deploy/" is not NAME or KIND/NAME`},
		{"a workload with two slashes", query.Workload, "a/b/c", query.Term{}, `"a/b/c" is not NAME or KIND/NAME`},
		{"nothing", query.IP, " ", query.Term{}, "nothing to look for: "},
		{"too much", query.Name, strings.Repeat("a", 1025), query.Term{}, `"aaaaaaaaaaaaaaaa"... is longer than anything that names a Pod`},
		{"a line feed", query.IP, "10.0.0.7\n10.0.0.8", query.Term{}, `"10.0.0.7\n10.0.0.8" is not an IPv4 or IPv6 address`},
		{"not UTF-8", query.Key, "\xff", query.Term{}, `"\xff" is not NAMESPACE/NAME`},
		{"no kind", "color", "blue", query.Term{}, `"color" is no kind of fact: there are ip, uid, container, key, name, node, hostip, workload, image, label, namespace`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := query.ParseAs(test.kind, test.of)
			if test.wantErr == "" {
				test.want.Kind = test.kind
			}
			if diff := cmp.Diff(test.want, got, cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{})); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if (err == nil) != (test.wantErr == "") || err != nil && (!strings.HasPrefix(err.Error(), test.wantErr) || !oneLine(err)) {
				t.Errorf("error is %v, want %s", err, test.wantErr)
			}
		})
	}
}

// FuzzParse reads each term again by its own text, as the page and the next
// request do.
func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"10.0.0.7", "[fd00::7%eth0]:443", uid, undashed, "/kubepods/pod" + uid + "/" + id, "containerd://" + id, id[:12],
		"shop/web", "deploy/web", "rollout.example.com/web", "pod/web", "a://b://c://dddddddddddddddd", "x://y:// aaaaaaaaaaaaaaa", ".x/web", "\u212a/web",
		`pod="shop/web" podUID="` + uid + `" containerID={"Type":"containerd","ID":"` + id[:8] + `"} err="dial tcp 10.0.0.7:80"`, "10.0.0.0/24", "::ffff:10.0.0.0/120",
		"var-lib-kubelet-pods-0f1e2d3c\\x2d4b5a.mount", "web_shop(" + undashed + ")", "web-0.web.shop.svc", "7.0.0.10.in-addr.arpa", "kubectl -n shop logs web", "web*,*b*",
		"\x1b[31", "\\", "\\u00", "\\x2", "a_b_c_d_e_f_g_h", "/api/v1/namespaces/shop/pods/web", "10.0.0.7.80 > 10.0.0.8.80:",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		terms, err := query.Parse(s)
		if (err == nil) != (len(terms) > 0) || err != nil && !oneLine(err) {
			t.Errorf("%q: %d readings, error %v", s, len(terms), err)
		}
		if len(terms) > 32 || !slices.IsSortedFunc(terms, func(a, b query.Term) int { return boolToInt(b.IsExact()) - boolToInt(a.IsExact()) }) {
			t.Errorf("%q: too many readings, or exact ones behind others: %s", s, brief(terms))
		}
		for _, kind := range query.Kinds {
			if term, err := query.ParseAs(kind, s); err == nil {
				terms = append(terms, term)
			} else if !oneLine(err) {
				t.Errorf("%q as %s: error %v", s, kind, err)
			}
		}
		for _, term := range terms {
			again, err := query.ParseAs(term.Kind, term.String())
			if !term.IsExact() {
				var all []query.Term
				all, err = query.Parse(term.String())
				again = all[max(0, slices.Index(all, term))]
			}
			if err != nil || again != term {
				t.Errorf("%q read as %#v, then as %#v, %v", s, term, again, err)
			}
		}
	})
}

func boolToInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// TestParseFindsThePod takes whatever somebody may hold of a Pod.
func TestParseFindsThePod(t *testing.T) {
	tests := []struct {
		of   string
		want []query.Kind // of the readings that match
	}{
		{"10.0.0.7", []query.Kind{query.IP}},
		{"[FD00:0::7]:80", []query.Kind{query.IP}},
		{"::ffff:10.0.0.7", []query.Kind{query.IP}},
		{"192.168.0.1", []query.Kind{query.HostIP}},
		{strings.ToUpper(uid), []query.Kind{query.UID}},
		{undashed, []query.Kind{query.UID}},
		{id[:12], []query.Kind{query.Container}},
		{"cri-o://" + strings.ToUpper(id), []query.Kind{query.Container}},
		{"/kubepods.slice/kubepods-pod" + underscored + ".slice/cri-containerd-" + id + ".scope", []query.Kind{query.Container, query.UID}},
		{"shop/web-5d9f-abcde", []query.Kind{query.Key}},
		{"web-5d9f-abcde", []query.Kind{query.Name}},
		{"pod/web-5d9f-abcde", []query.Kind{query.Name}},
		{"node-1", []query.Kind{query.Node}},
		{"node/node-1", []query.Kind{query.Node}},
		{"web", []query.Kind{query.Workload}},
		{"deploy/web", []query.Kind{query.Workload}},
		{"rs/web-5d9f", []query.Kind{query.Workload}},
		{"app=web", []query.Kind{query.Label}},
		{"nginx:1.29", []query.Kind{query.Image}},
		{"docker.io/library/nginx:1.29", []query.Kind{query.Image}},
		{"app=db", nil},
		{"nginx:1.28", nil},
		{"rs/web", nil},
		{"deploy/web-5d9f", nil},
		{"10.0.0.8", nil},
		{"shop/web", nil},
		{"other/web-5d9f-abcde", nil},
		{id[:11] + "f", nil},
	}
	spec := &desired.FromPod(fullPod()).Spec
	met := map[query.Kind]bool{query.Namespace: true} // Parse never takes anything for one
	for _, test := range tests {
		t.Run(test.of, func(t *testing.T) {
			terms, err := query.Parse(test.of)
			if err != nil {
				t.Fatal(err)
			}
			var got []query.Kind
			exact, _ := query.Exact(terms)
			for _, term := range exact {
				if term.Matches(spec) {
					got = append(got, term.Kind)
					met[term.Kind] = true
				}
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	for _, kind := range query.Kinds {
		if !met[kind] {
			t.Errorf("nothing was found as %s", kind)
		}
	}
}

func TestMatches(t *testing.T) {
	pod := fullPod()
	pod.Status.PodIPs = append(pod.Status.PodIPs, corev1.PodIP{IP: "FD00:0:0::8"}, corev1.PodIP{IP: "no address"})
	pod.Status.ContainerStatuses[0].ContainerID = strings.ToUpper(id)
	spec := &desired.FromPod(pod).Spec
	tests := []struct {
		name string
		kind query.Kind
		of   string
		want bool
	}{
		{"the first IP", query.IP, "10.0.0.7", true},
		{"another IP", query.IP, "fd00::7", true},
		{"an IP that the Pod has in another spelling", query.IP, "fd00::8", true},
		{"the IP of the node is none of the Pod", query.IP, "192.168.0.1", false},
		{"the IP of the node", query.HostIP, "192.168.0.1", true},
		{"an IP of the Pod is none of the node", query.HostIP, "10.0.0.7", false},
		{"a container ID without a runtime and in capitals", query.Container, id, true},
		{"a container ID that is longer", query.Container, id + "0", false},
		{"the end of a container ID", query.Container, id[1:], false},
		{"the namespace", query.Namespace, "shop", true},
		{"the beginning of the namespace", query.Namespace, "sho", false},
		{"the name in capitals", query.Name, "WEB-5D9F-ABCDE", false},
		{"the workload with its kind", query.Workload, "DEPLOYMENT/web", true},
		{"the owner with its kind", query.Workload, "replicasets/web-5d9f", true},
		{"the owner without its kind", query.Workload, "web-5d9f", true},
		{"the workload with another kind", query.Workload, "sts/web", false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			term, err := query.ParseAs(test.kind, test.of)
			if err != nil {
				t.Fatal(err)
			}
			if got := term.Matches(spec); got != test.want {
				t.Errorf("Matches is %t, want %t", got, test.want)
			}
		})
	}
	if (query.Term{Kind: "color", Text: "blue"}).Matches(spec) {
		t.Error("a term of no kind matches")
	}
	empty := &desired.FromPod(&corev1.Pod{}).Spec
	for _, kind := range query.Kinds {
		if term, err := query.ParseAs(kind, map[query.Kind]string{query.IP: "::", query.HostIP: "0.0.0.0", query.Key: "a/b", query.Container: id}[kind]+"a"); err == nil && term.Matches(empty) {
			t.Errorf("%#v matches a Pod that has nothing", term)
		}
	}
}

func TestRankNoteAndOrder(t *testing.T) {
	is := func(namespace, name, phase string, terminating, hostNetwork bool) *v1.TestcrSpec {
		return &v1.TestcrSpec{
			PodKey: namespace + "/" + name, Phase: phase, Terminating: terminating, HostNetwork: hostNetwork,
		}
	}
	const host = "host network: shares the IP of its node"
	tests := []struct { // in order
		spec     *v1.TestcrSpec
		wantRank int
		wantNote string
	}{
		{is("a", "pending", "Pending", false, false), 0, ""},
		{is("a", "running", "Running", false, false), 0, ""},
		{is("b", "a", "Running", false, true), 0, host},
		{is("b", "new", "", false, false), 0, ""},
		{is("b", "unknown", "Unknown", false, false), 0, ""},
		{is("a", "a", "Running", true, false), 1, "terminating"},
		{is("a", "b", "Pending", true, true), 1, "terminating; " + host},
		{is("a", "c", "Failed", true, false), 2, "completed (Failed): its IP may be another Pod's by now"},
		{is("a", "d", "Succeeded", false, false), 2, "completed (Succeeded): its IP may be another Pod's by now"},
		{is("a", "e", "Succeeded", false, true), 2, "completed (Succeeded): its IP may be another Pod's by now; " + host},
	}
	var want, got []*v1.TestcrSpec
	for _, test := range tests {
		want = append(want, test.spec)
		got = append([]*v1.TestcrSpec{test.spec}, got...)
		t.Run(test.spec.PodKey, func(t *testing.T) {
			if rank := query.Rank(test.spec); rank != test.wantRank {
				t.Errorf("Rank is %d, want %d", rank, test.wantRank)
			}
			if diff := cmp.Diff(test.wantNote, query.Note(test.spec)); diff != "" {
				t.Errorf("Note (-want +got):\n%s", diff)
			}
		})
	}
	slices.SortFunc(got, query.Compare)
	if !slices.Equal(want, got) {
		t.Error("Compare gives another order")
	}
	if query.Compare(tests[0].spec, tests[0].spec) != 0 {
		t.Error("a spec does not equal itself")
	}
}

func TestCompareHolders(t *testing.T) {
	at := func(second, nanosecond int64) metav1.Time { return metav1.NewTime(time.Unix(second, nanosecond)) }
	tests := []struct { // in order
		name string
		spec v1.TestcrSpec
	}{
		{name: "started last", spec: v1.TestcrSpec{PodKey: "b/z", CreatedAt: at(1, 0), StartedAt: at(30, 0)}},
		{name: "not started, created next to last", spec: v1.TestcrSpec{PodKey: "b/y", CreatedAt: at(20, 0)}},
		{name: "in the same second by name", spec: v1.TestcrSpec{PodKey: "a/a", CreatedAt: at(2, 0), StartedAt: at(10, 0)}},
		{name: "in the same second by name, second", spec: v1.TestcrSpec{PodKey: "a/b", CreatedAt: at(1, 0), StartedAt: at(10, 5e8)}},
		{name: "without any time", spec: v1.TestcrSpec{PodKey: "a/0"}},
		{name: "terminating", spec: v1.TestcrSpec{PodKey: "a/0", Terminating: true, StartedAt: at(50, 0)}},
		{name: "completed, started last", spec: v1.TestcrSpec{PodKey: "a/z", Phase: "Failed", StartedAt: at(60, 0)}},
		{name: "completed", spec: v1.TestcrSpec{PodKey: "a/0", Phase: "Failed", StartedAt: at(40, 0)}},
	}
	terms := []query.Term{{Kind: query.Node, Text: "n"}, {Kind: query.IP}}
	for i := range tests {
		tests[i].spec.PodIPs = []string{"10.0.0.7"}
		for j := range tests {
			if got, want := query.CompareHolders(terms, &tests[i].spec, &tests[j].spec), max(-1, min(1, i-j)); got != want {
				t.Errorf("%q and %q: %d, want %d", tests[i].name, tests[j].name, got, want)
			}
		}
	}
}

func TestKind_IsUnique(t *testing.T) {
	want := []query.Kind{query.IP, query.UID, query.Container, query.Key, query.Name}
	var got []query.Kind
	for _, kind := range query.Kinds {
		if kind.IsUnique() {
			got = append(got, kind)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
