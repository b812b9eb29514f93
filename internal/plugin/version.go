package plugin

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	coordinationv1 "k8s.io/api/coordination/v1"

	"github.com/weiyuanke/PodInfoLookup/internal/cli"
	"github.com/weiyuanke/PodInfoLookup/internal/heartbeat"
	"github.com/weiyuanke/PodInfoLookup/internal/version"
)

// versionTimeout bounds the wait for the cluster, a login included.
const versionTimeout = 5 * time.Second

const versionLong = `Prints the version of the plugin, and that of the controller in the cluster, which
writes it into its heartbeat. The cluster has some seconds to answer.`

func newVersionCommand(o *options) *cobra.Command {
	isClient := false
	cmd := &cobra.Command{
		Use: "version [--client]", DisableFlagsInUseLine: true,
		Short:             "Print the versions of the plugin and of the controller",
		Long:              versionLong,
		Args:              noArguments,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if _, err := fmt.Fprintln(o.Out, "Client Version:", version.String()); err != nil || isClient {
				return err
			}
			return o.printControllers(cmd.Context(), versionTimeout)
		},
	}
	cmd.Flags().BoolVar(&isClient, "client", false, "Print the version of the plugin alone, and ask no cluster.")
	cmd.Flags().BoolP("help", "h", false, "Print this help and exit.")
	return cmd
}

// printControllers prints the versions of the controllers that are alive, or a note why
// there are none.
func (o *options) printControllers(ctx context.Context, limit time.Duration) error {
	if o.asksSeveral() {
		return cli.Usagef("version asks one cluster: choose it by --context")
	}
	if err := o.checkContext(); err != nil {
		return err
	}
	leases, now, err := o.heartbeats(ctx, limit)
	if err != nil {
		return err
	}
	versions, isOld := heartbeat.Versions(leases, now)
	if isOld {
		versions = append(versions, "unknown, its heartbeat has none")
	}
	for _, v := range versions {
		if _, err := fmt.Fprintln(o.Out, "Controller Version:", v); err != nil {
			return err
		}
	}
	switch {
	case len(versions) > 0:
	case len(leases) > 0:
		fmt.Fprintln(o.ErrOut, "note: no controller is alive: the heartbeats that you may read have run out")
	default:
		fmt.Fprintln(o.ErrOut, "note: there is no heartbeat of a controller that you may read, and so no version of one")
	}
	return nil
}

// heartbeats returns the heartbeats of the cluster, and the time there. It abandons what
// cannot be interrupted, such as a program that fetches credentials.
func (o *options) heartbeats(ctx context.Context, limit time.Duration) ([]coordinationv1.Lease, time.Time, error) {
	clients, err := o.newClients()
	if err != nil {
		return nil, time.Time{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	type answer struct {
		leases []coordinationv1.Lease
		err    error
	}
	asked := make(chan answer, 1)
	go func() {
		leases, err := heartbeat.List(ctx, clients.kube.CoordinationV1())
		asked <- answer{leases, err}
	}()
	select {
	case a := <-asked:
		if a.err == nil || ctx.Err() == nil {
			return a.leases, clients.clock.now(), a.err
		}
	case <-ctx.Done():
	}
	return nil, time.Time{}, fmt.Errorf("the cluster has not answered within %s: %w", limit, context.Cause(ctx))
}
