package app

import (
	"net/http"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
	utilcache "k8s.io/apimachinery/pkg/util/cache"
)

// What is spent on tokens that the API server has not accepted before. Beyond it
// a caller gets 429 and the API server no TokenReview. A token that was accepted
// within knownFor is not counted, so that a flood locks nobody out who is in.
const (
	addressRate, addressBurst = 5, 50   // a second, from one address
	totalRate, totalBurst     = 20, 100 // a second, from all addresses
	knownFor                  = 10 * time.Minute
	maxKnown                  = 4096 // tokens; the one that was not used for longest goes
	maxAddresses              = 4096
)

// budget bounds attempts by address and in all.
type budget struct {
	mu        sync.Mutex
	total     *rate.Limiter
	addresses *utilcache.LRUExpireCache // of *rate.Limiter
}

func newBudget() *budget {
	return &budget{total: rate.NewLimiter(totalRate, totalBurst), addresses: utilcache.NewLRUExpireCache(maxAddresses)}
}

// allow spends one attempt. One that the address has no budget for costs the
// others nothing.
func (b *budget) allow(address string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	limiter, ok := b.addresses.Get(address)
	if !ok {
		limiter = rate.NewLimiter(addressRate, addressBurst)
	}
	// An entry that expires is full again.
	b.addresses.Add(address, limiter, addressBurst/addressRate*time.Second)
	return limiter.(*rate.Limiter).Allow() && b.total.Allow()
}

// addressOf returns where r is from. It is the network of 64 bits in IPv6, of
// which one host has every address.
func addressOf(r *http.Request) string {
	remote, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	address := remote.Addr().Unmap().WithZone("")
	if network, err := address.Prefix(64); err == nil && address.Is6() {
		return network.String()
	}
	return address.String()
}

// places bounds what runs at once, in all and of one caller.
type places struct {
	total, each int

	mu    sync.Mutex
	taken int
	by    map[string]int // as many entries as places are taken at most
}

// take takes a place and returns false if there is none. The caller "" is
// bounded by the total alone. release gives the place back.
func (p *places) take(caller string) (release func(), ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.taken >= p.total || caller != "" && p.by[caller] >= p.each {
		return nil, false
	}
	if p.by == nil {
		p.by = map[string]int{}
	}
	p.taken++
	p.by[caller]++
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.taken--
		if p.by[caller]--; p.by[caller] == 0 {
			delete(p.by, caller)
		}
	}, true
}

// tooMany answers that there is no place or budget.
func tooMany(w http.ResponseWriter, text string) {
	w.Header().Set("Retry-After", "1")
	http.Error(w, text+": try again later", http.StatusTooManyRequests)
}
