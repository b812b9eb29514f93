package server

import (
	"net/http"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
	utilcache "k8s.io/apimachinery/pkg/util/cache"
)

// Budget of TokenReviews for tokens that the API server has not accepted before.
// Beyond it a caller gets 429. A token that was accepted within acceptedTTL is not
// counted, so that a flood locks nobody out who is logged in.
const (
	addressRate, addressBurst = 5, 50   // a second, from one address
	totalRate, totalBurst     = 20, 100 // a second, from all addresses
	acceptedTTL               = 10 * time.Minute
	maxAccepted               = 4096 // tokens; the least recently used one is dropped
	maxAddresses              = 4096
)

// reviewBudget bounds the reviews of new tokens, by address and in total.
type reviewBudget struct {
	mu        sync.Mutex
	total     *rate.Limiter
	addresses *utilcache.LRUExpireCache // of *rate.Limiter
}

func newReviewBudget() *reviewBudget {
	return &reviewBudget{
		total:     rate.NewLimiter(totalRate, totalBurst),
		addresses: utilcache.NewLRUExpireCache(maxAddresses),
	}
}

// allow spends one review. An address without budget spends nothing of the total.
func (b *reviewBudget) allow(address string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	limiter, ok := b.addresses.Get(address)
	if !ok {
		limiter = rate.NewLimiter(addressRate, addressBurst)
	}
	// By the time that an entry expires its budget is full again.
	b.addresses.Add(address, limiter, addressBurst/addressRate*time.Second)
	return limiter.(*rate.Limiter).Allow() && b.total.Allow()
}

// clientAddress returns the address of the client. In IPv6 that is the network of
// 64 bits, of which one host has every address.
func clientAddress(r *http.Request) string {
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
