package podinfolookup

import (
	"context"
	"errors"
	"sync"
	"time"

	"k8s.io/klog/v2"
)

// ErrCRDTerminating reports that the CRD is being deleted: the API server deletes
// all Testcrs and refuses new ones, and keeps the CRD until the last one is gone.
const ErrCRDTerminating = CRDError("the CRD testcrs.stable.example.com is being deleted and waits for finalizers of its Testcrs: " +
	"kubectl get testcrs -o custom-columns=NAME:.metadata.name,FINALIZERS:.metadata.finalizers lists them; " +
	"once it is gone, kubectl apply -f yaml/testcrd.yaml")

// terminatingLooks is how many looks in a row must find the CRD terminating
// before it is reported. Without finalizers a CRD is gone by then, and reported
// as missing.
const terminatingLooks = 2

// RunWithContext runs the informer, and watches the CRD when asked to, until ctx
// ends.
func (i *TestcrInformer) RunWithContext(ctx context.Context) {
	var running sync.WaitGroup
	defer running.Wait()
	running.Go(func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-i.doubts:
				i.untilOpen(ctx)
			}
		}
	})
	i.Informer.RunWithContext(ctx)
}

// doubt has the API server asked whether it still takes Testcrs. A standby
// notices a terminating CRD by Testcrs that vanish while their Pods are there.
func (i *TestcrInformer) doubt() {
	select {
	case i.doubts <- struct{}{}:
	default: // it will be asked
	}
}

// refused records that the API server takes no new Testcrs because of the CRD.
// No create is sent until it does again, so that keys do not spin.
func (i *TestcrInformer) refused() {
	i.closed.Store(true)
	i.doubt()
}

// untilOpen asks for the CRD until the API server takes new Testcrs. It reports
// one that stays terminating; one that is missing is reported by the watch, which
// ends with it.
func (i *TestcrInformer) untilOpen(ctx context.Context) {
	for looks := 0; ; {
		select {
		case <-ctx.Done():
			return
		case <-time.After(crdPoll):
		}
		err := i.check(ctx)
		switch {
		case err == nil:
			i.reopen(ctx, looks >= terminatingLooks)
			return
		case errors.Is(err, ErrCRDTerminating):
			i.closed.Store(true)
			if looks++; looks == terminatingLooks {
				i.terminating.Store(true)
				klog.FromContext(ctx).Error(err, "Waiting for the CRD")
				i.onLost(err)
			}
		case errors.As(err, new(CRDError)):
			i.closed.Store(true)
			looks = 0
		}
	}
}

func (i *TestcrInformer) reopen(ctx context.Context, told bool) {
	i.terminating.Store(false)
	if !i.closed.Swap(false) {
		return
	}
	if told {
		klog.FromContext(ctx).Info("The API server takes new Testcrs again, going on")
	}
	i.onReturned()
}
