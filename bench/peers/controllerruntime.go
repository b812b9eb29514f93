package peers

import (
	"context"
	"maps"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	ctrlcache "sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/internal/desired"
)

// tunedReconciles is the default of --workers of podinfolookup.
const tunedReconciles = 20

// reconciler follows the scaffold of kubebuilder: a typed client that reads from
// the cache of the manager, and one write if the Testcr differs.
type reconciler struct{ client.Client }

// runControllerRuntime uses the defaults of the manager and the controller: one
// reconcile at a time. Since v0.21 there is no rate limit.
func runControllerRuntime(ctx context.Context, config *rest.Config) error {
	return runManager(ctx, config, ctrlcache.Options{}, controller.Options{})
}

// runTunedControllerRuntime follows the documentation for large clusters: many
// concurrent reconciles, no rate limit, no managed fields in the cache.
func runTunedControllerRuntime(ctx context.Context, config *rest.Config) error {
	config.QPS = -1
	return runManager(ctx, config,
		ctrlcache.Options{DefaultTransform: ctrlcache.TransformStripManagedFields()},
		controller.Options{MaxConcurrentReconciles: tunedReconciles})
}

func runManager(ctx context.Context, config *rest.Config, cached ctrlcache.Options, options controller.Options) error {
	ctrl.SetLogger(logr.Discard()) // else a line for each reconcile is measured too
	if config.QPS == 0 {
		config.QPS = -1 // the default of ctrl.GetConfig
	}
	if err := clientgoscheme.AddToScheme(clientgoscheme.Scheme); err != nil {
		return err
	}
	if err := v1.AddToScheme(clientgoscheme.Scheme); err != nil {
		return err
	}
	manager, err := ctrl.NewManager(config, ctrl.Options{
		Scheme: clientgoscheme.Scheme, Cache: cached, Metrics: metricsserver.Options{BindAddress: "0"},
	})
	if err != nil {
		return err
	}
	err = ctrl.NewControllerManagedBy(manager).
		For(&corev1.Pod{}).
		Watches(&v1.Testcr{}, handler.EnqueueRequestsFromMapFunc(podOf)).
		WithOptions(options).
		Complete(&reconciler{manager.GetClient()})
	if err != nil {
		return err
	}
	return manager.Start(ctx)
}

func podOf(_ context.Context, obj client.Object) []reconcile.Request {
	t, ok := obj.(*v1.Testcr)
	if !ok {
		return nil
	}
	key, ok := t.PodKey()
	if !ok {
		return nil
	}
	return []reconcile.Request{{NamespacedName: key}}
}

// Reconcile writes the Testcr of one Pod if it is not up to date.
func (r *reconciler) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	have := &v1.Testcr{}
	err := r.Get(ctx, client.ObjectKey{Name: v1.NameFor(request.NamespacedName)}, have)
	absent := apierrors.IsNotFound(err)
	if err != nil && !absent {
		return reconcile.Result{}, err
	}
	pod := &corev1.Pod{}
	if err := r.Get(ctx, request.NamespacedName, pod); err != nil {
		if !apierrors.IsNotFound(err) {
			return reconcile.Result{}, err
		}
		if absent {
			return reconcile.Result{}, nil
		}
		return reconcile.Result{}, client.IgnoreNotFound(r.Delete(ctx, have))
	}
	want := desired.FromPod(pod)
	if absent {
		t := &v1.Testcr{ObjectMeta: metav1.ObjectMeta{Name: want.Name, Labels: want.Labels}, Spec: want.Spec}
		return reconcile.Result{}, r.Create(ctx, t)
	}
	if equality.Semantic.DeepEqual(have.Spec, want.Spec) && maps.Equal(have.Labels, want.Labels) {
		return reconcile.Result{}, nil
	}
	have.Spec, have.Labels = want.Spec, want.Labels
	return reconcile.Result{}, r.Update(ctx, have)
}
