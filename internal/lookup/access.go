package lookup

import (
	"cmp"
	"context"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/internal/index"
)

// maxReviews bounds the namespaces whose rights are reviewed for one answer.
const maxReviews = 50

// reviewTimeout bounds all reviews of one answer.
const reviewTimeout = 3 * time.Second

// Access is what a caller may see who may not see the Pods of all namespaces.
type Access struct {
	// MayList reports whether the caller may list the Pods of a namespace. It is
	// called concurrently.
	MayList func(ctx context.Context, namespace string) (bool, error)
	// Refusal is the answer to a caller who may list the Pods of no namespace. It is ""
	// for a caller who may see what the request asks for.
	Refusal string
}

type accessKey struct{}

// WithAccess returns a context whose requests are answered for the namespaces of access
// alone. Without it they are answered for all.
func WithAccess(ctx context.Context, access Access) context.Context {
	return context.WithValue(ctx, accessKey{}, &access)
}

// scope is what the caller of one request may see. Only the namespaces of what the
// request asks for are reviewed, so it begins with a search that finds nothing.
type scope struct {
	access   *Access         // nil for all namespaces
	reviewed map[string]bool // whether the caller may list Pods, by namespace
	unknown  map[string]bool // the other namespaces that hold Pods of the answer
}

func scopeOf(r *http.Request) *scope {
	access, _ := r.Context().Value(accessKey{}).(*Access)
	return &scope{access: access, reviewed: map[string]bool{}, unknown: map[string]bool{}}
}

func (s *scope) isRestricted() bool { return s.access != nil }

// sees reports whether the caller may see a Pod that is in the answer otherwise.
func (s *scope) sees(t *v1.TestcrSpec) bool { return s.seesIn(t.Namespace) }

func (s *scope) seesIn(namespace string) bool {
	mayList, reviewed := s.reviewed[namespace]
	if !reviewed {
		s.unknown[namespace] = true
	}
	return mayList
}

// namespaces returns what reports whether the caller may see a namespace, or nil for all.
func (s *scope) namespaces() func(string) bool {
	if s.isRestricted() {
		return s.seesIn
	}
	return nil
}

// limit returns q for what the caller may see.
func (s *scope) limit(q index.Query) index.Query {
	if s.isRestricted() {
		q.Filter = andFilter(q.Filter, s.sees)
	}
	return q
}

// review reviews the first maxReviews of these namespaces, and reports whether that is
// all of them.
func (s *scope) review(ctx context.Context, namespaces []string) (isAll bool, err error) {
	namespaces = slices.DeleteFunc(namespaces, func(namespace string) bool {
		_, reviewed := s.reviewed[namespace]
		return reviewed
	})
	isAll = len(namespaces) <= maxReviews
	namespaces = namespaces[:min(len(namespaces), maxReviews)]
	allowed, errs := make([]bool, len(namespaces)), make([]error, len(namespaces))
	var reviews sync.WaitGroup
	for i, namespace := range namespaces {
		reviews.Go(func() { allowed[i], errs[i] = s.access.MayList(ctx, namespace) })
	}
	reviews.Wait()
	for i, namespace := range namespaces {
		if errs[i] != nil {
			return false, errs[i] // the first: the others have the same cause
		}
		s.reviewed[namespace] = allowed[i]
	}
	return isAll, nil
}

func (s *scope) seesAny() bool {
	return slices.Contains(slices.Collect(maps.Values(s.reviewed)), true)
}

// within calls answer, again after the reviews if there are any. It responds itself and
// returns false if the caller may see no Pods, whatever the request asks for, or if
// that cannot be reviewed. The reply to a caller who may see some must not depend on
// Pods of other namespaces.
func (l *Lookup) within(w http.ResponseWriter, r *http.Request, answer func(*scope)) bool {
	status, refusal := l.tryWithin(r, answer)
	if status != http.StatusOK {
		http.Error(w, refusal, status)
	}
	return status == http.StatusOK
}

// inOrder returns namespaces in the order of their reviews: those with Pods first, since
// rights in a namespace end with it.
func (l *Lookup) inOrder(namespaces map[string]bool) []string {
	current := l.index.Namespaces()
	isGone := func(namespace string) int {
		if _, isThere := slices.BinarySearch(current, namespace); isThere {
			return 0
		}
		return 1
	}
	return slices.SortedFunc(maps.Keys(namespaces), func(a, b string) int {
		return cmp.Or(isGone(a)-isGone(b), strings.Compare(a, b))
	})
}

// tryWithin is within without a response. It returns 200, or the status and the reason of
// a refusal.
func (l *Lookup) tryWithin(r *http.Request, answer func(*scope)) (status int, refusal string) {
	s := scopeOf(r)
	answer(s)
	if !s.isRestricted() {
		return http.StatusOK, ""
	}
	ctx, cancel := context.WithTimeout(r.Context(), reviewTimeout)
	defer cancel()
	_, err := s.review(ctx, l.inOrder(s.unknown))
	if err == nil && !s.seesAny() {
		var isAll bool
		if isAll, err = s.review(ctx, l.index.Namespaces()); err == nil && isAll && !s.seesAny() && s.access.Refusal != "" {
			return http.StatusForbidden, s.access.Refusal
		}
	}
	if err != nil {
		return http.StatusServiceUnavailable, "the API server does not check rights at the moment: try again later"
	}
	clear(s.unknown)
	answer(s)
	// The Pods behind a Service of a reviewed namespace may be in others. If these are not
	// reviewed, the answer reports that.
	if l.config.Addresses != nil && len(s.unknown) > 0 && len(s.reviewed)+len(s.unknown) <= maxReviews {
		if _, err := s.review(ctx, slices.Sorted(maps.Keys(s.unknown))); err == nil {
			clear(s.unknown)
			answer(s)
		}
	}
	return http.StatusOK, ""
}
