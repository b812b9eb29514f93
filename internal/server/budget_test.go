package server

import (
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

func TestReviewBudget_allow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newReviewBudget()
		attempts := func(address string, n int) (allowed int) {
			for range n {
				if b.allow(address) {
					allowed++
				}
			}
			return allowed
		}
		if got := attempts("10.0.0.1", 1000); got != addressBurst {
			t.Errorf("one address has %d attempts, want %d", got, addressBurst)
		}
		if got := attempts("10.0.0.2", 10); got != 10 {
			t.Errorf("another one has %d of 10 attempts", got)
		}
		for i := range 10 * maxAddresses {
			b.allow(fmt.Sprint("10.1.", i/256, ".", i%256))
		}
		if got := attempts("10.0.0.3", 1); got != 0 {
			t.Error("a crowd of addresses has no bound")
		}
		if got := len(b.addresses.Keys()); got > maxAddresses {
			t.Errorf("%d addresses are kept", got)
		}
		<-time.After(time.Second)
		if got := attempts("10.0.0.4", 1000); got != totalRate {
			t.Errorf("%d attempts after a second, want %d", got, totalRate)
		}
	})
}

func TestClientAddress(t *testing.T) {
	for remote, want := range map[string]string{
		"10.0.0.7:4711": "10.0.0.7", "[::ffff:10.0.0.7]:4711": "10.0.0.7", "[2001:db8:1:2:3::4]:4711": "2001:db8:1:2::/64",
		"[fe80::1%lo]:4711": "fe80::/64", "pipe": "pipe",
	} {
		if got := clientAddress(&http.Request{RemoteAddr: remote}); got != want {
			t.Errorf("%s: %s, want %s", remote, got, want)
		}
	}
}
