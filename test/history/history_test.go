package history

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/weiyuanke/PodInfoLookup/internal/history"
	"github.com/weiyuanke/PodInfoLookup/internal/query"
	"github.com/weiyuanke/PodInfoLookup/test/testenv"
)

func TestRecorder_Lives(t *testing.T) {
	for name, newEngine := range engines {
		t.Run(name, func(t *testing.T) {
			e := newEngine(t)
			w := newWorld()
			r := record(t, w, history.Config{Location: e.location})
			first := w.advance(time.Minute)
			old := w.create("cart-0", "10.0.0.1")
			other := w.create("cart-1", "10.0.0.2")
			restarted := w.advance(time.Minute)
			w.update("cart-0", func(p *corev1.Pod) {
				c := &p.Status.ContainerStatuses[0]
				c.ContainerID, c.RestartCount = containerID(1, 1), 1
			})
			moved := w.advance(time.Minute)
			w.update("cart-0", func(p *corev1.Pod) {
				p.Status.PodIP, p.Status.PodIPs = "10.0.0.3", []corev1.PodIP{{IP: "10.0.0.3"}}
			})
			replaced := w.advance(time.Minute)
			w.remove("cart-0")
			w.create("cart-0", "10.0.0.1")
			completed := w.advance(time.Minute)
			w.update("cart-1", func(p *corev1.Pod) { p.Status.Phase = corev1.PodSucceeded })
			relabeled := w.advance(time.Minute)
			w.update("cart-0", func(p *corev1.Pod) { p.Labels["version"] = "2" })
			end := w.advance(time.Minute)

			for _, c := range []struct {
				kind     query.Kind
				fact     string
				from, to time.Time // to is not included
				want     string
			}{
				{kind: query.IP, fact: "10.0.0.1", from: first, to: moved, want: "cart-0"},
				{kind: query.IP, fact: "10.0.0.1", from: moved, to: replaced},
				{kind: query.IP, fact: "10.0.0.1", from: replaced, to: end, want: "cart-0"},
				{kind: query.IP, fact: "10.0.0.3", from: moved, to: replaced, want: "cart-0"},
				{kind: query.IP, fact: "10.0.0.3", from: replaced, to: end},
				{kind: query.IP, fact: "10.0.0.2", from: first, to: completed, want: "cart-1"},
				{kind: query.IP, fact: "10.0.0.2", from: completed, to: end},
				{kind: query.Container, fact: containerID(1, 0), from: first, to: restarted, want: "cart-0"},
				{kind: query.Container, fact: containerID(1, 1), from: restarted, to: replaced, want: "cart-0"},
				{kind: query.Container, fact: containerID(1, 1), from: replaced, to: end},
				{kind: query.UID, fact: string(old.UID), from: first, to: replaced, want: "cart-0"},
				{kind: query.UID, fact: string(other.UID), from: first, to: end, want: "cart-1"},
				{kind: query.Name, fact: "cart-1", from: first, to: end, want: "cart-1"},
				{kind: query.Key, fact: "shop/cart-1", from: first, to: end, want: "cart-1"},
				{kind: query.Label, fact: "version=2", from: first, to: relabeled},
				{kind: query.Label, fact: "version=2", from: relabeled, to: end, want: "cart-0"},
			} {
				r.expect(c.kind, c.fact, c.from, strings.Fields(c.want)...)
				r.expect(c.kind, c.fact, c.to.Add(-time.Millisecond), strings.Fields(c.want)...)
			}
			for kind, fact := range map[query.Kind]string{
				query.Node: "node-1", query.HostIP: "192.168.0.1", query.Workload: "cart", query.Image: "registry.example.com/cart:1", query.Namespace: "shop",
			} {
				r.expect(kind, fact, first.Add(-time.Millisecond))
				if names, _, err := r.ask(kind, fact, completed, completed); err != nil || len(names) != 2 {
					t.Errorf("%s %s: %q, want both Pods: %v", kind, fact, names, err)
				}
			}
			r.expectRange(query.IP, "10.0.0.1", first, end, "cart-0", "cart-0")
			e.expectWhole(t)
		})
	}
}

func TestRecorder_Restart(t *testing.T) {
	for name, newEngine := range engines {
		t.Run(name, func(t *testing.T) {
			e := newEngine(t)
			w := newWorld()
			r := record(t, w, history.Config{Location: e.location})
			begun := w.advance(10 * time.Second)
			w.create("stays", "10.0.0.1")
			w.create("goes", "10.0.0.2")
			stopped := w.advance(10 * time.Second)
			r.expect(query.Name, "goes", stopped, "goes")
			r.stop()

			w.remove("goes")
			w.handler = nil
			back := w.advance(10 * time.Minute)
			w.pods["comes"] = newWorldPod(w, "comes", "10.0.0.3", stopped.Add(5*time.Minute))
			r = record(t, w, history.Config{Location: e.location})
			end := w.advance(10 * time.Second)

			r.expect(query.Name, "goes", begun, "goes")
			r.expect(query.Name, "goes", stopped.Add(time.Minute), "goes?")
			r.expect(query.Name, "goes", end)
			r.expect(query.Name, "stays", stopped.Add(time.Minute), "stays")
			r.expect(query.Name, "comes", stopped.Add(time.Minute))
			r.expect(query.Name, "comes", stopped.Add(6*time.Minute), "comes?")
			r.expect(query.Name, "comes", end, "comes")
			_, a, err := r.ask(query.Name, "goes", begun, end)
			if err != nil {
				t.Fatal(err)
			}
			// An event may have been on its way to the recorder for a second.
			want := history.Gap{From: stopped.Add(-time.Second), To: back, Reason: history.ReasonStopped}
			if gaps := a.Records[0].Gaps; len(gaps) != 1 || !gaps[0].From.Equal(want.From) || !gaps[0].To.Equal(want.To) || gaps[0].Reason != want.Reason {
				t.Errorf("the gaps are %v, want %v", gaps, want)
			}
			e.expectWhole(t)
		})
	}
}

// newWorldPod returns a Pod that nobody has recorded.
func newWorldPod(w *world, name, ip string, created time.Time) *corev1.Pod {
	w.uids++
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "shop", Name: name, UID: "11111111-0000-4000-8000-000000000001", CreationTimestamp: metav1.NewTime(created),
		},
		Spec:   corev1.PodSpec{NodeName: "node-1"},
		Status: corev1.PodStatus{Phase: corev1.PodRunning, PodIP: ip, PodIPs: []corev1.PodIP{{IP: ip}}, HostIP: "192.168.0.1"},
	}
}

func TestRecorder_TwoClusters(t *testing.T) {
	url := testenv.StartPostgres(t).Create(t)
	e := &engine{location: url, driver: "pgx", source: url}
	east, west := newWorld(), newWorld()
	east.uids = 1000
	// Both create the tables and themselves at once.
	a, b := start(t, east, history.Config{Location: url, Cluster: "east"}), start(t, west, history.Config{Location: url, Cluster: "west"})
	at := east.now()
	for _, r := range []*recorder{a, b} {
		r.eventually("both are recorded", func() error {
			_, answer, err := r.ask(query.Name, "cart-0", at, at)
			if err != nil || len(answer.Records) != 2 || answer.Records[0].Ends.Before(at) || answer.Records[1].Ends.Before(at) {
				return fmt.Errorf("records %v: %w", answer.Records, err)
			}
			return nil
		})
	}
	for range 300 {
		east.create(fmt.Sprintf("cart-%d", len(east.pods)), "10.0.0.1")
		west.create(fmt.Sprintf("cart-%d", len(west.pods)), "10.0.0.1")
	}
	at = east.advance(time.Minute)
	west.advance(time.Minute)
	for _, r := range []*recorder{a, b} {
		r.eventually("both Pods are recorded", func() error {
			if got, _, err := r.ask(query.Name, "cart-7", at, at); strings.Join(got, " ") != "east/cart-7 west/cart-7" {
				return fmt.Errorf("%q: %w", got, err)
			}
			return nil
		})
		if got, answer, err := r.ask(query.Name, "cart-7", at, at, "west"); err != nil || strings.Join(got, " ") != "west/cart-7" || len(answer.Records) != 1 {
			t.Errorf("west: %q of %d records: %v", got, len(answer.Records), err)
		}
	}
	if _, _, err := a.ask(query.Name, "cart-7", at, at, "north"); !errors.As(err, new(*history.UnknownClusterError)) {
		t.Errorf("north: %v", err)
	}
	e.expectWhole(t)
}

// TestRecorder_OtherWriter shows that a writer that was replaced writes nothing more.
func TestRecorder_OtherWriter(t *testing.T) {
	url := testenv.StartPostgres(t).Create(t)
	e := &engine{location: url, driver: "pgx", source: url}
	w := newWorld()
	old := record(t, w, history.Config{Location: e.location})
	w.create("cart-0", "10.0.0.1")
	at := w.advance(time.Minute)
	old.expect(query.IP, "10.0.0.1", at, "cart-0")

	taker := newWorld()
	taker.clock, taker.pods, taker.uids = at, map[string]*corev1.Pod{"cart-0": w.pods["cart-0"]}, w.uids
	r := record(t, taker, history.Config{Location: e.location})
	w.remove("cart-0")
	old.eventually("the old writer is fenced", func() error {
		changes := old.changes()
		if !slices.ContainsFunc(changes, func(err error) bool {
			return err != nil && strings.Contains(err.Error(), "another process records into this store")
		}) {
			return fmt.Errorf("changes: %v", changes)
		}
		return nil
	})
	old.stop()
	taker.update("cart-0", func(p *corev1.Pod) { p.Status.PodIP, p.Status.PodIPs = "10.0.0.2", []corev1.PodIP{{IP: "10.0.0.2"}} })
	at = taker.advance(time.Minute)
	r.eventually("the new one records", func() error {
		if got, _, err := r.ask(query.IP, "10.0.0.2", at, at); strings.Join(got, " ") != "cart-0" {
			return fmt.Errorf("%q: %w", got, err)
		}
		return nil
	})
	e.expectWhole(t)
}

func TestRecorder_PostgresIsKilled(t *testing.T) {
	server := testenv.StartPostgres(t)
	url := server.Create(t)
	w := newWorld()
	r := record(t, w, history.Config{Location: url})
	before := w.advance(time.Second)
	w.create("before", "10.0.0.1")
	w.create("ends", "10.0.0.2")
	at := w.advance(time.Second)
	r.expect(query.Name, "before", at, "before")

	server.Kill()
	during := w.advance(time.Second)
	w.create("during", "10.0.0.3")
	ended := w.advance(time.Second)
	w.remove("ends")
	r.eventually("the failure is reported", func() error {
		if changes := r.changes(); len(changes) == 0 || changes[len(changes)-1] == nil {
			return fmt.Errorf("changes: %v", changes)
		}
		return nil
	})
	server.Start(t)
	r.eventually("it goes on", func() error {
		if changes := r.changes(); changes[len(changes)-1] != nil {
			return fmt.Errorf("changes: %v", changes)
		}
		return nil
	})
	w.create("after", "10.0.0.4")
	end := w.advance(time.Second)

	r.expect(query.Name, "before", end, "before")
	r.expect(query.Name, "during", during.Add(-time.Millisecond))
	r.expect(query.Name, "during", during, "during")
	r.expect(query.Name, "ends", ended.Add(-time.Millisecond), "ends")
	r.expect(query.Name, "ends", ended)
	r.expect(query.Name, "after", end, "after")
	_, a, err := r.ask(query.Name, "before", before, end)
	if err != nil || len(a.Records[0].Gaps) != 0 {
		t.Errorf("the record has gaps: %v %v", a.Records, err)
	}
	(&engine{location: url, driver: "pgx", source: url}).expectWhole(t)
}

func TestRecorder_TablesAreDropped(t *testing.T) {
	server := testenv.StartPostgres(t)
	url := server.Create(t)
	w := newWorld()
	r := record(t, w, history.Config{Location: url})
	w.create("cart-0", "10.0.0.1")
	at := w.advance(time.Minute)
	r.expect(query.IP, "10.0.0.1", at, "cart-0")
	db := (&engine{driver: "pgx", source: url}).open(t)
	if _, err := db.ExecContext(t.Context(), "DROP SCHEMA public CASCADE"); err != nil {
		t.Fatal(err)
	}
	if _, err := db.ExecContext(t.Context(), "CREATE SCHEMA public"); err != nil {
		t.Fatal(err)
	}
	w.create("cart-1", "10.0.0.2")
	at = w.advance(time.Minute)
	r.eventually("another record has begun", func() error {
		for _, ip := range []string{"10.0.0.1", "10.0.0.2"} {
			if got, _, err := r.ask(query.IP, ip, at, at); len(got) != 1 {
				return fmt.Errorf("%s: %q: %w", ip, got, err)
			}
		}
		return nil
	})
}

func TestRecorder_Password(t *testing.T) {
	server := testenv.StartPostgres(t)
	url := server.Create(t)
	wrong := strings.Replace(url, "s3cret", "wr0ng", 1)
	t.Run("is wrong", func(t *testing.T) {
		r := start(t, newWorld(), history.Config{Location: wrong})
		r.eventually("it is reported", func() error {
			if len(r.changes()) == 0 {
				return errors.New("no change")
			}
			return nil
		})
		want := `PostgreSQL: password authentication failed for user "postgres" (SQLSTATE 28P01)`
		if text := r.changes()[0].Error(); text != want {
			t.Errorf("the error is %q, want %q", text, want)
		}
	})
	t.Run("is in a file that is replaced", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "password")
		if err := os.WriteFile(file, []byte("old\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		r := start(t, newWorld(), history.Config{Location: wrong, PasswordFile: file})
		r.eventually("the old one is refused", func() error {
			if len(r.changes()) == 0 {
				return errors.New("no change")
			}
			return nil
		})
		if err := os.WriteFile(file, []byte(testenv.PostgresPassword+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		r.eventually("the new one is read", func() error {
			if changes := r.changes(); changes[len(changes)-1] != nil {
				return changes[len(changes)-1]
			}
			return nil
		})
	})
	t.Run("is in the environment", func(t *testing.T) {
		t.Setenv("PGPASSWORD", testenv.PostgresPassword)
		record(t, newWorld(), history.Config{Location: "postgresql://postgres@" + server.Addr() + url[strings.LastIndex(url, "/"):] + "?sslmode=prefer"})
	})
}

func TestRecorder_Retention(t *testing.T) {
	for name, newEngine := range engines {
		t.Run(name, func(t *testing.T) {
			e := newEngine(t)
			w := newWorld()
			r := record(t, w, history.Config{Location: e.location, Retention: time.Hour})
			begun := w.now()
			for i := range 700 {
				w.create(fmt.Sprintf("old-%d", i), fmt.Sprintf("10.1.%d.%d", i/250, i%250))
			}
			w.create("stays", "10.0.0.1")
			w.advance(time.Minute)
			for i := range 700 {
				w.remove(fmt.Sprintf("old-%d", i))
			}
			w.advance(time.Minute)
			r.expect(query.IP, "10.1.1.7", begun, "old-257")
			for range 20 { // the recording goes on meanwhile
				r.expect(query.IP, "10.0.0.1", w.advance(9*time.Second), "stays")
			}
			end := w.advance(time.Hour)
			db := e.open(t)
			r.eventually("the old are deleted", func() error {
				end = w.advance(10 * time.Second)
				var pods, facts int
				err := db.QueryRowContext(t.Context(), "SELECT (SELECT count(*) FROM pods), (SELECT count(*) FROM facts)").Scan(&pods, &facts)
				if err != nil || pods != 1 || facts != 2 {
					return fmt.Errorf("%d Pods and %d facts: %w", pods, facts, err)
				}
				return nil
			})
			if got, a, err := r.ask(query.IP, "10.1.1.7", begun, begun); err != nil || len(got) != 0 || !a.Records[0].Begins.After(begun) {
				t.Errorf("%q in a record that begins at %s: %v", got, a.Records[0].Begins, err)
			}
			r.expect(query.IP, "10.0.0.1", end, "stays")
			e.expectWhole(t)
		})
	}
}

// TestViews has the queries of docs/history.md.
func TestViews(t *testing.T) {
	for name, newEngine := range engines {
		t.Run(name, func(t *testing.T) {
			e := newEngine(t)
			w := newWorld()
			r := record(t, w, history.Config{Location: e.location})
			w.create("cart-0", "10.0.0.1")
			w.advance(12 * time.Minute)
			w.remove("cart-0")
			w.create("cart-1", "10.0.0.1")
			at := w.advance(time.Minute)
			r.expect(query.IP, "10.0.0.1", at, "cart-1")
			db := e.open(t)
			for _, c := range []struct{ query, want string }{{
				query: `SELECT namespace || '/' || pod || ' ' || uid FROM holders WHERE kind = 'ip' AND value = '10.0.0.1'
				AND began <= '2026-11-26T03:11:00.000Z' AND (ended > '2026-11-26T03:11:00.000Z' OR ended IS NULL)`,
				want: "shop/cart-0 00000000-0000-4000-8000-000000000001",
			}, {
				query: `SELECT pod || ' ' || node FROM lives WHERE namespace = 'shop' AND workload = 'cart' AND began >= '2026-11-26T03:05:00.000Z' ORDER BY began`,
				want:  "cart-1 node-1",
			}, {
				query: `SELECT value || ' ' || count(*) FROM holders WHERE kind = 'ip' GROUP BY value HAVING count(*) > 1 ORDER BY count(*) DESC`,
				want:  "10.0.0.1 2",
			}, {
				query: `SELECT pod FROM holders WHERE kind = 'container' AND value LIKE '0000000%' AND ended IS NULL`,
				want:  "cart-1",
			}} {
				var got string
				if err := db.QueryRowContext(t.Context(), c.query).Scan(&got); err != nil || got != c.want {
					t.Errorf("%s:\n%q, want %q: %v", c.query, got, c.want, err)
				}
			}
		})
	}
}

// TestRecorder_TLS shows that the certificate of the server is checked as libpq does.
func TestRecorder_TLS(t *testing.T) {
	server := testenv.StartPostgres(t)
	url := server.Create(t)
	certificate, stranger := server.EnableTLS(t), filepath.Join(t.TempDir(), "stranger.crt")
	if err := os.WriteFile(stranger, testenv.NewCertificate(t).Certificate, 0o600); err != nil {
		t.Fatal(err)
	}
	record(t, newWorld(), history.Config{Location: url + "?sslmode=verify-full&sslrootcert=" + certificate})
	t.Setenv("PGSSLMODE", "verify-full")
	t.Setenv("PGSSLROOTCERT", stranger)
	r := start(t, newWorld(), history.Config{Location: url})
	r.eventually("the certificate of a stranger is refused", func() error {
		for _, err := range r.changes() {
			if err != nil && strings.Contains(err.Error(), "x509: certificate signed by unknown authority") && !strings.Contains(err.Error(), "\n") {
				return nil
			}
		}
		return fmt.Errorf("changes: %v", r.changes())
	})
}

func TestNew_MalformedURL(t *testing.T) {
	for _, location := range []string{
		"postgres://u:s3cr%zz@host/db", "postgres://u:s3cr/et@host/db", "postgres://u:s3cr@host:port/db", "postgres://u:s3cr@host/db?sslmode=never",
	} {
		_, err := history.New(t.Context(), history.Config{Location: location, Pods: newWorld()})
		if err == nil || strings.Contains(err.Error(), "s3cr") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want an error in one line without the password", location, err)
		}
	}
}
