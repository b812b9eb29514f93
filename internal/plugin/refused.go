package plugin

import (
	"fmt"
	"regexp"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// viewRole is the ClusterRole of yaml/rbac-view.yaml.
const viewRole = "podinfolookup-view"

var (
	// refusedUser finds the user in the message of a refusal.
	refusedUser = regexp.MustCompile(`User "([^"]+)" cannot `)
	// plainUser is what a shell does not interpret.
	plainUser = regexp.MustCompile(`^[0-9A-Za-z][0-9A-Za-z._:@+-]*$`)
)

// withRemedy adds to a refusal the command that an administrator can grant the right by.
// Other errors stay as they are.
func (o *options) withRemedy(err error, hasTestcrs bool) error {
	if !apierrors.IsForbidden(err) {
		return err
	}
	subject := "--user=NAME"
	if found := refusedUser.FindStringSubmatch(err.Error()); found != nil && plainUser.MatchString(found[1]) {
		subject = "--user=" + found[1]
		if account, ok := strings.CutPrefix(found[1], "system:serviceaccount:"); ok {
			subject = "--serviceaccount=" + account
		}
	}
	binding := "clusterrolebinding podinfo-view --clusterrole=" + viewRole
	switch {
	case o.namespace() != "":
		binding = fmt.Sprintf("rolebinding podinfo-view -n %s --clusterrole=view", o.namespace())
	case !hasTestcrs:
		binding = "clusterrolebinding podinfo-view --clusterrole=view"
	}
	return fmt.Errorf("%w: an administrator grants it by: kubectl create %s %s", err, binding, subject)
}
