package kube

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"syscall"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// ExplainConfig adds the remedy to an error of the kubeconfig. clientcmd wraps
// some causes and only quotes others, so the text decides.
func ExplainConfig(err error) error {
	if err == nil {
		return nil
	}
	var remedy string
	switch text := err.Error(); {
	case strings.Contains(text, syscall.ENOENT.Error()):
		remedy = "correct the path"
	case strings.Contains(text, syscall.EACCES.Error()):
		remedy = "make the file readable for this user"
	case strings.HasPrefix(text, `context "`):
		remedy = "kubectl config get-contexts lists those there are"
	default:
		remedy = "kubectl config view shows whether a file is well-formed"
	}
	return fmt.Errorf("kubeconfig: %w: %s", err, remedy)
}

// Explain adds the remedy to an error that a first request can return.
func (c *Cluster) Explain(ctx context.Context, err error) error {
	var (
		authority x509.UnknownAuthorityError
		hostname  x509.HostnameError
		rights    missingRightsError
	)
	switch {
	case err == nil, errors.As(err, &rights):
		return err
	case errors.As(err, &authority), errors.As(err, &hostname):
		return fmt.Errorf("%w: the kubeconfig's certificate-authority does not belong to this server", err)
	case apierrors.IsUnauthorized(err):
		return fmt.Errorf("%s answered 401 %w: the kubeconfig's credentials are not (or no longer) valid there",
			c.Host(), err)
	case apierrors.IsForbidden(err):
		return fmt.Errorf("%s: %w: does the kubeconfig's context name a user, and has it credentials?", c.Host(), err)
	case ctx.Err() != nil:
		return fmt.Errorf("%s: %w: check the server's address and the network", c.Host(), context.Cause(ctx))
	default:
		return fmt.Errorf("%s: %w: check the kubeconfig's server address, and that the API server runs", c.Host(), err)
	}
}
