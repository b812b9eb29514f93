package app

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	componentbaseconfig "k8s.io/component-base/config"

	"github.com/weiyuanke/PodInfoLookup/internal/cli"
)

func TestParse(t *testing.T) {
	defaults := *newOptions()
	defaults.workers, defaults.printChanges, defaults.printList, defaults.server.Address = 20, true, true, "127.0.0.1:9090"
	defaults.history.retention, defaults.history.maxSize, defaults.history.maxBytes = 7*24*time.Hour, "1Gi", 1<<30
	tests := []struct {
		name      string
		args      []string
		want      func(*options) // what differs from the defaults
		wantError string         // "" is none
	}{
		{"nothing", nil, func(*options) {}, ""},
		{"everything", []string{"--kubeconfig=f", "--context=c", "--namespace=b,a", "--namespace=a", "--workers=3", "--kube-api-qps=0.5",
			"--kube-api-burst=7", "--print-changes=false", "--print-list=false", "--bind-address=", "--tls-cert-file=c", "--tls-private-key-file=k"}, func(o *options) {
			*o = *newOptions()
			o.namespaces, o.workers, o.election.ResourceName = []string{"a", "b"}, 3, "podinfolookup-b345e1dc09"
			o.kube.Kubeconfig, o.kube.Context, o.kube.QPS, o.kube.Burst = "f", "c", 0.5, 7
			o.server.CertFile, o.server.KeyFile = "c", "k"
			o.history = historyOptions{retention: 7 * 24 * time.Hour, maxSize: "1Gi", maxBytes: 1 << 30}
		}, ""},
		{"a history in a file", []string{"--history=sqlite:/var/h.db", "--history-retention=24h", "--history-max-size=500M"}, func(o *options) {
			o.history = historyOptions{location: "sqlite:/var/h.db", retention: 24 * time.Hour, maxSize: "500M", maxBytes: 500_000_000}
		}, ""},
		{"a history in another database", []string{"--history=mysql://u@h/d"}, nil, "--history: mysql:// is not supported: FILE, sqlite:FILE or postgres://"},
		{"a history without a file", []string{"--history=sqlite:"}, nil, "--history: the name of a file is missing"},
		{"a history in a folder", []string{"--history=/var/"}, nil, "--history: the name of a file is missing"},
		{"a history of no time", []string{"--history-retention=0"}, nil, "--history-retention=0s: must be at least 1m0s"},
		{"a history without room", []string{"--history-max-size=1Mi"}, nil, "--history-max-size=1Mi: must be a size from 16Mi on"},
		{"a size that is none", []string{"--history-max-size=big"}, nil, "--history-max-size=big: must be a size from 16Mi on"},
		{"one namespace", []string{"--namespace=a"}, func(o *options) {
			o.namespaces, o.election.ResourceName = []string{"a"}, "podinfolookup-a"
		}, ""},
		{"one namespace and a name for the lease", []string{"--namespace=a", "--leader-elect-resource-name=podinfolookup"},
			func(o *options) { o.namespaces = []string{"a"} }, ""},
		{"a name of the cluster", []string{"--cluster-name=prod_eu.1"}, func(o *options) { o.clusterName = "prod_eu.1" }, ""},
		{"a link that is not https", []string{"--link=Logs=http://x/{{.Name}}"}, nil, `--link="Logs=http://x/{{.Name}}": the URL must begin with https://`},
		{"a link to an unknown field", []string{"--link=Logs=https://x/{{.Nothing}}"}, nil,
			`--link="Logs=https://x/{{.Nothing}}": template: URL:1:12: executing "URL" at <.Nothing>: can't evaluate field Nothing`},
		{"a name of the cluster with a space", []string{"--cluster-name=prod eu"}, nil, `--cluster-name="prod eu": a valid label must be`},
		{"a name of the cluster that is too long", []string{"--cluster-name=" + strings.Repeat("a", 64)}, nil,
			`--cluster-name="` + strings.Repeat("a", 64) + `": must be no more than 63`},
		{"leader election", []string{"--leader-elect", "--leader-elect-lease-duration=3s", "--leader-elect-renew-deadline=2s",
			"--leader-elect-retry-period=100ms", "--leader-elect-resource-name=n", "--leader-elect-resource-namespace=ns"}, func(o *options) {
			o.election = componentbaseconfig.LeaderElectionConfiguration{
				LeaderElect: true, ResourceLock: "leases", ResourceName: "n", ResourceNamespace: "ns",
				LeaseDuration: metav1.Duration{Duration: 3 * time.Second}, RenewDeadline: metav1.Duration{Duration: 2 * time.Second},
				RetryPeriod: metav1.Duration{Duration: 100 * time.Millisecond},
			}
		}, ""},
		{"a lease that is shorter than its renewal", []string{"--leader-elect", "--leader-elect-lease-duration=10s"}, nil,
			"--leader-elect-lease-duration=10s: must be more than --leader-elect-renew-deadline=10s"},
		{"a lease of half a second more", []string{"--leader-elect", "--leader-elect-lease-duration=10500ms"}, nil,
			"--leader-elect-lease-duration=10.5s: a lease has whole seconds"},
		{"a renewal that has no time for a second try", []string{"--leader-elect", "--leader-elect-retry-period=9s"}, nil,
			"--leader-elect-renew-deadline=10s: must be more than 1.2 times --leader-elect-retry-period=9s"},
		{"no retries", []string{"--leader-elect", "--leader-elect-retry-period=0"}, nil, "--leader-elect-retry-period=0s: must be more than 0"},
		{"another kind of lock", []string{"--leader-elect", "--leader-elect-resource-lock=endpoints"}, nil,
			"--leader-elect-resource-lock=endpoints: only leases are supported"},
		{"an impossible name of the lease", []string{"--leader-elect", "--leader-elect-resource-name=A"}, nil, `--leader-elect-resource-name="A": a lowercase`},
		{"a log with whole objects in it", []string{"-v=8"}, nil, "-v or --vmodule of 8 would log whole objects"},
		{"one file's log with whole objects in it", []string{"--vmodule=round_trippers=9"}, nil, "-v or --vmodule of 9 would log whole objects"},
		{"IPv6", []string{"--bind-address=[::1]:0"}, func(o *options) { o.server.Address = "[::1]:0" }, ""},
		{"an unknown flag", []string{"--nonsense"}, nil, "unknown flag: --nonsense: see --help"},
		{"an argument", []string{"run"}, nil, `unexpected argument "run": only flags are taken, see --help`},
		{"no worker", []string{"--workers=0"}, nil, "--workers=0: at least 1 is needed"},
		{"an impossible namespace", []string{"--namespace=A"}, nil, `--namespace="A": a lowercase RFC 1123 label`},
		{"an empty namespace", []string{"--namespace="}, nil, "--namespace is empty: name one, or leave the flag out for all"},
		{"requests that are no number", []string{"--kube-api-qps=NaN"}, nil, "--kube-api-qps=NaN: must be a number from 0 on"},
		{"a certificate without its key", []string{"--tls-cert-file=f"}, nil, "--tls-cert-file=f --tls-private-key-file=: give both or neither"},
		{"a key without its certificate", []string{"--tls-private-key-file=f"}, nil, "--tls-cert-file= --tls-private-key-file=f: give both or neither"},
		{"a local address", []string{"--local-bind-address=127.0.0.1:9091"}, func(o *options) { o.localAddress = "127.0.0.1:9091" }, ""},
		{"a local address by its name", []string{"--local-bind-address=localhost:0"}, func(o *options) { o.localAddress = "localhost:0" }, ""},
		{"a local address of IPv6", []string{"--local-bind-address=[::1]:0"}, func(o *options) { o.localAddress = "[::1]:0" }, ""},
		{"Services over the local address alone", []string{"--bind-address=", "--local-bind-address=[::1]:0", "--services"}, func(o *options) {
			o.server.Address, o.localAddress, o.services = "", "[::1]:0", true
		}, ""},
		{"Services without an address", []string{"--bind-address=", "--services"}, nil, "--services and --nodes are answered over HTTP"},
		{"a local address that others reach", []string{"--local-bind-address=10.0.0.7:9091"}, nil, "--local-bind-address=10.0.0.7:9091: must be localhost or a loopback IP"},
		{"a local address on all interfaces", []string{"--local-bind-address=:9091"}, nil, "--local-bind-address=:9091: must be localhost or a loopback IP"},
		{"a local address by another name", []string{"--local-bind-address=podinfo.example:9091"}, nil, "--local-bind-address=podinfo.example:9091: must be localhost"},
		{"a local address without a port", []string{"--local-bind-address=127.0.0.1"}, nil, "--local-bind-address=127.0.0.1: address 127.0.0.1: missing port"},
		{"an address without a port", []string{"--bind-address=::1"}, nil, "--bind-address=::1: address ::1: too many colons in address: HOST:PORT"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var stdout bytes.Buffer
			got, done, err := parse(test.args, &stdout)
			if done || stdout.Len() > 0 {
				t.Errorf("done = %t, standard output %q", done, &stdout)
			}
			if test.wantError != "" {
				var usage cli.UsageError
				if !errors.As(err, &usage) || !strings.HasPrefix(err.Error(), test.wantError) {
					t.Errorf("error %v, want the usage error %q", err, test.wantError)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			want := defaults
			test.want(&want)
			if diff := cmp.Diff(&want, got, cmp.AllowUnexported(options{}, historyOptions{}), cmpopts.IgnoreFields(options{}, "logging"),
				cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("options (-want +got):\n%s", diff)
			}
		})
	}
}
