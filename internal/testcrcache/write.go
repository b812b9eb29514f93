package testcrcache

import (
	"context"
	"errors"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/internal/desired"
	"github.com/weiyuanke/PodInfoLookup/internal/informer"
	"github.com/weiyuanke/PodInfoLookup/internal/wire"
)

// requestTimeout bounds a write or a live read with all its retries after 429.
const requestTimeout = 30 * time.Second

// ErrPruned reports that a write was accepted but the stored Testcr differs from it.
var ErrPruned = errors.New("the API server does not store what is written")

// IsStale reports that a write was refused because the Testcr is not as it was read.
func IsStale(err error) bool {
	return apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) || apierrors.IsNotFound(err) && !IsCRDGone(err)
}

// IsContentRefused reports that the API server refused a write because of the content
// of this one Testcr. etcd's refusals are internal errors that differ only in their
// text. An admission policy refuses as invalid by default, whatever the content.
func IsContentRefused(err error) bool {
	if err == nil {
		return false
	}
	text := err.Error()
	return apierrors.IsRequestEntityTooLargeError(err) ||
		apierrors.IsInvalid(err) && !strings.Contains(text, "AdmissionPolicy") ||
		strings.Contains(text, "etcdserver: request is too large") ||
		strings.Contains(text, "trying to send message larger than max")
}

// deletionTimeout is how long a deleted Testcr may stay in the cache until it counts
// as one that exists. A deletion has no version that the cache could reach, and a
// restore of etcd may bring the Testcr back.
const deletionTimeout = 20 * time.Second

// pendingWrite is a write that the cache may not contain yet: a version to reach, or
// the UID of a Testcr that was deleted at a time.
type pendingWrite struct {
	version string
	deleted types.UID
	at      time.Time
}

// IsCurrent reports whether the cache contains the last own write and the last live
// read of a Testcr: see PendingFor.
func (c *Cache) IsCurrent(name string) bool { return c.PendingFor(name) == 0 }

// PendingFor returns how long the last own write or live read of a Testcr is missing in
// the cache, and 0 once the watch has delivered it. If the store does not report its
// version (client-go's feature AtomicFIFO is off) it is 0: the API server then refuses a
// write that is based on an old read.
func (c *Cache) PendingFor(name string) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	p, ok := c.pending[name]
	if !ok {
		return 0
	}
	age := max(1, time.Since(p.at))
	at := c.GetStore().LastStoreSyncResourceVersion()
	entry := c.Get(name) // may be newer than at, which the store sets after it
	switch {
	case p.deleted != "" && entry != nil && entry.UID == p.deleted && age < deletionTimeout:
		return age
	case entry != nil && !informer.IsNewer(p.version, entry.ResourceVersion):
	case informer.IsNewer(p.version, at):
		return age
	}
	delete(c.pending, name)
	return 0
}

// ForgetWrites makes the cache alone count, after another replica has written or a
// restore of etcd has undone writes.
func (c *Cache) ForgetWrites() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.pending)
}

func (c *Cache) recordWrite(name, version string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pending[name] = pendingWrite{version: version, at: time.Now()}
}

func (c *Cache) recordDelete(name string, uid types.UID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pending[name] = pendingWrite{deleted: uid, at: time.Now()}
}

// Live returns the Testcr as the API server has it now, or nil. After it the cache is
// not current until it has caught up.
func (c *Cache) Live(ctx context.Context, name string) (*Entry, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	u, err := c.client.Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) && !IsCRDGone(err) {
		if cached := c.Get(name); cached != nil {
			c.recordDelete(name, cached.UID)
		}
		return nil, nil
	}
	if err != nil {
		return nil, c.failed(err)
	}
	t, err := wire.Decode(u)
	if err != nil {
		return nil, err
	}
	c.recordWrite(name, t.ResourceVersion)
	return newEntry(t), nil
}

// Create creates want, and returns the version that the API server gave it. The error
// is ErrPruned if the answer differs from want.
func (c *Cache) Create(ctx context.Context, want *v1.Testcr) (version string, err error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	body, err := wire.Encode(want)
	if err != nil {
		return "", err
	}
	u, err := c.client.Create(ctx, body, metav1.CreateOptions{FieldManager: v1.ManagedBy})
	return c.written(u, want, err)
}

// Update updates stored to want: see desired.Update. The error is ErrPruned if the
// answer differs from want. If the update changed nothing, there is no version either.
func (c *Cache) Update(ctx context.Context, stored *Entry, want *v1.Testcr) (version string, err error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	body, err := wire.Encode(desired.Update(stored.Testcr(), want))
	if err != nil {
		return "", err
	}
	if stored.ownManagedFields {
		wire.DropManagedFields(body)
	}
	u, err := c.client.Update(ctx, body, metav1.UpdateOptions{FieldManager: v1.ManagedBy})
	if err == nil && u.GetResourceVersion() == stored.ResourceVersion {
		return "", ErrPruned
	}
	return c.written(u, want, err)
}

// Delete deletes stored, unless it has changed.
func (c *Cache) Delete(ctx context.Context, stored *Entry) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	err := c.client.Delete(ctx, stored.Name, metav1.DeleteOptions{
		Preconditions: &metav1.Preconditions{UID: &stored.UID, ResourceVersion: &stored.ResourceVersion},
	})
	if err == nil && len(stored.Finalizers) == 0 {
		c.recordDelete(stored.Name, stored.UID)
	}
	return c.failed(err)
}

// written records the answer to a write.
func (c *Cache) written(answer *unstructured.Unstructured, want *v1.Testcr, err error) (version string, _ error) {
	if err != nil {
		return "", c.failed(err)
	}
	version = answer.GetResourceVersion()
	c.recordWrite(answer.GetName(), version)
	isStored := desired.Matches(&v1.Testcr{ObjectMeta: metav1.ObjectMeta{Labels: answer.GetLabels()}, Spec: want.Spec}, want)
	if isStored && answer.GetKind() == v1.GroupVersionKind.Kind { // not metadata alone: see wire.ShortAnswers
		t, err := wire.Decode(answer)
		isStored = err == nil && !t.Malformed && desired.Equal(&t.Spec, &want.Spec)
	}
	if !isStored {
		return version, ErrPruned
	}
	return version, nil
}

// failed adds the remedy to the error of a request, and checks the CRD if that is the
// cause.
func (c *Cache) failed(err error) error {
	if IsCRDGone(err) {
		c.refused()
	}
	return informer.WithRemedy(err)
}

// ManagedFields reads which field managers have written a Testcr.
func (c *Cache) ManagedFields(ctx context.Context, name string) ([]metav1.ManagedFieldsEntry, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	u, err := c.client.Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, informer.WithRemedy(err)
	}
	return u.GetManagedFields(), nil
}

// Traceable returns stored such that the API server records who changes the Testcr
// after an update of it. It records nobody if an earlier update has dropped the managed
// fields, so the update adds an entry again.
func (c *Cache) Traceable(ctx context.Context, stored *Entry) *Entry {
	managed, err := c.ManagedFields(ctx, stored.Name)
	if err != nil {
		return stored // the author stays unknown
	}
	traceable := &Entry{ObjectMeta: stored.ObjectMeta, malformed: stored.malformed, labelsElided: stored.labelsElided}
	traceable.spec.Store(stored.Spec())
	if len(managed) == 0 {
		traceable.ManagedFields = []metav1.ManagedFieldsEntry{{
			Manager: v1.ManagedBy, Operation: metav1.ManagedFieldsOperationUpdate, APIVersion: v1.GroupVersion.String(),
			FieldsType: "FieldsV1", FieldsV1: metav1.NewFieldsV1(`{"f:spec":{}}`),
		}}
	}
	return traceable
}
