package app

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/pflag"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/client-go/tools/record"
	"k8s.io/klog/v2"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/internal/desired"
	"github.com/weiyuanke/PodInfoLookup/internal/history"
)

// historyUnavailable is the reason of the Event about a store that fails.
const historyUnavailable = "HistoryUnavailable"

// minRetention is the shortest time that a record is worth keeping for.
const minRetention = time.Minute

// historyOptions are the flags of the history.
type historyOptions struct {
	location     string
	passwordFile string
	retention    time.Duration
	maxSize      string
	maxBytes     int64
}

func (o *historyOptions) flags(fs *pflag.FlagSet) {
	fs.StringVar(&o.location, "history", "",
		`Record which Pod had which IP, container ID, node ... when: in a file (FILE or sqlite:FILE), or in PostgreSQL `+
			`(postgres://USER@HOST/DATABASE, which several replicas and clusters may share: see --cluster-name). "" records nothing.`)
	fs.DurationVar(&o.retention, "history-retention", 7*24*time.Hour, "How long Pods that are gone stay in the history, at least 1m.")
	fs.StringVar(&o.maxSize, "history-max-size", "1Gi", "Size of the history's file from which on the oldest Pods go first, at least 16Mi. Not for PostgreSQL.")
	fs.StringVar(&o.passwordFile, "history-password-file", "",
		"File with the password of PostgreSQL, read at each connect. Without it: that of the URL, or of PGPASSWORD and PGPASSFILE.")
}

func (o *historyOptions) validate() (errs []error) {
	if o.location != "" {
		if err := history.CheckLocation(o.location); err != nil {
			errs = append(errs, fmt.Errorf("--history: %w", err))
		}
	}
	if o.retention < minRetention {
		errs = append(errs, fmt.Errorf("--history-retention=%s: must be at least %s", o.retention, minRetention))
	}
	size, err := resource.ParseQuantity(o.maxSize)
	if o.maxBytes = size.Value(); err != nil || o.maxBytes < history.MinBytes {
		errs = append(errs, fmt.Errorf("--history-max-size=%s: must be a size from 16Mi on, as 500Mi or 2Gi", o.maxSize))
	}
	return errs
}

// newHistory returns the recorder of the history, or nil without --history.
func (p *parts) newHistory(ctx context.Context, o *options, events record.EventRecorder) error {
	if o.history.location == "" {
		return nil
	}
	var err error
	p.history, err = history.New(ctx, history.Config{
		Location: o.history.location, PasswordFile: o.history.passwordFile, Retention: o.history.retention, MaxBytes: o.history.maxBytes,
		Cluster: o.clusterName, Namespaces: o.namespaces, Pods: p.pods,
		Changed: func(err error) {
			if err != nil {
				events.Event(&corev1.ObjectReference{
					APIVersion: "apiextensions.k8s.io/v1", Kind: "CustomResourceDefinition", Name: v1.GroupVersionResource.GroupResource().String(),
				}, corev1.EventTypeWarning, historyUnavailable, "The history of Pods is not recorded: "+desired.Shorten(err.Error(), maxWriteError))
			}
		},
	})
	return err
}

// closeHistory closes the store, after the recorder and the server have stopped using it.
func (p *parts) closeHistory(ctx context.Context) {
	if p.history == nil {
		return
	}
	if err := p.history.Close(); err != nil {
		klog.FromContext(ctx).Error(err, "Cannot close the history")
	}
}
