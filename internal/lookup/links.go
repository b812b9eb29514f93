package lookup

import (
	"bytes"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"text/template"
	"unicode/utf8"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/internal/printable"
)

// The bounds of links, in bytes. A Pod whose URL would be longer has no such link.
const (
	maxLinkName = 40
	maxLinkText = 2 << 10
	maxLinkURL  = 8 << 10
)

// Link is a link from each Pod to another page, such as its logs.
type Link struct {
	Name     string
	template *template.Template
}

// PodLink is a Link for one Pod.
type PodLink struct {
	Name string `json:"name"`
	URL  string `json:"url"`
}

// linkPod is the data of a link's template. All values are escaped for a URL, because
// the owner of a Pod chooses some of them.
type linkPod struct {
	Namespace, Name, UID, IP, Node, HostIP, Workload, WorkloadKind, Container, ContainerID, Cluster string

	Labels map[string]string
}

// ParseLink reads NAME=URL, where URL is a text/template with the fields of linkPod.
func ParseLink(text string) (Link, error) {
	name, address, _ := strings.Cut(text, "=")
	name = strings.TrimSpace(name)
	switch {
	case name == "" || address == "":
		return Link{}, errors.New("NAME=URL is needed")
	case len(name) > maxLinkName || printable.Text(name) != name || !utf8.ValidString(name):
		return Link{}, fmt.Errorf("the name must be printable, with at most %d bytes", maxLinkName)
	case len(address) > maxLinkText:
		return Link{}, fmt.Errorf("the URL must have at most %d bytes", maxLinkText)
	case !strings.HasPrefix(address, "https://"):
		return Link{}, errors.New("the URL must begin with https://")
	}
	t, err := template.New("URL").Option("missingkey=zero").Parse(address)
	if err != nil {
		return Link{}, err
	}
	l := Link{name, t}
	sample := v1.TestcrSpec{
		Namespace: "shop", PodName: "cart-0", PodUID: "0fabc8b0-d40e-4a09-a608-0edc993d8178", PodIP: "10.0.0.7", NodeName: "node-1", HostIP: "192.0.2.1",
		WorkloadName: "cart", WorkloadKind: "StatefulSet", Containers: []v1.Container{{Name: "cart", ID: "containerd://4f5ca3b2d1e0"}},
	}
	if _, err := l.url(&sample, "prod"); err != nil {
		return Link{}, err
	}
	return l, nil
}

// url returns the URL for a Pod.
func (l Link) url(s *v1.TestcrSpec, cluster string) (string, error) {
	data := linkPod{
		Namespace: escape(s.Namespace), Name: escape(s.PodName), UID: escape(s.PodUID), IP: escape(s.PodIP), Node: escape(s.NodeName),
		HostIP: escape(s.HostIP), Workload: escape(s.WorkloadName), WorkloadKind: escape(strings.ToLower(s.WorkloadKind)), Cluster: escape(cluster),
		Labels: make(map[string]string, len(s.Labels)),
	}
	for key, value := range s.Labels {
		data.Labels[key] = escape(value)
	}
	if len(s.Containers) > 0 {
		_, id, _ := strings.Cut(s.Containers[0].ID, "://")
		data.Container, data.ContainerID = escape(s.Containers[0].Name), escape(id)
	}
	var out bytes.Buffer
	if err := l.template.Execute(&out, data); err != nil {
		return "", err
	}
	if out.Len() > maxLinkURL {
		return "", fmt.Errorf("the URL is longer than %d bytes", maxLinkURL)
	}
	parsed, err := url.Parse(out.String())
	if err != nil || parsed.Scheme != "https" || parsed.Host == "" {
		return "", errors.New("the URL must begin with https://HOST/")
	}
	return out.String(), nil
}

// escape returns s for a path or a query.
func escape(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") }

// linksOf returns the links of a Pod, without those that have no URL for it.
func linksOf(links []Link, s *v1.TestcrSpec, cluster string) []PodLink {
	var all []PodLink
	for _, l := range links {
		if address, err := l.url(s, cluster); err == nil {
			all = append(all, PodLink{l.Name, address})
		}
	}
	return all
}
