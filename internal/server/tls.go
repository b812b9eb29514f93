package server

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"strings"

	"k8s.io/apiserver/pkg/server/dynamiccertificates"
	"k8s.io/client-go/util/cert"
	"k8s.io/klog/v2"
)

// loadCertificate reads the certificate of the two files, or makes one for address
// if there are none.
func loadCertificate(
	ctx context.Context, c Config, address *net.TCPAddr,
) (dynamiccertificates.CertKeyContentProvider, error) {
	if c.CertFile == "" {
		return newSelfSigned(ctx, address)
	}
	files, err := dynamiccertificates.NewDynamicServingContentFromFiles("files", c.CertFile, c.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("--tls-cert-file=%s --tls-private-key-file=%s: %w: "+
			"name a PEM certificate and the PEM key that belongs to it, readable for this user",
			c.CertFile, c.KeyFile, err)
	}
	return files, nil
}

// newSelfSigned makes a certificate that is valid for a year. Clients can verify it
// only by its fingerprint.
func newSelfSigned(ctx context.Context, address *net.TCPAddr) (dynamiccertificates.CertKeyContentProvider, error) {
	host, err := os.Hostname()
	if err != nil {
		return nil, fmt.Errorf("a name for the self-signed certificate: %w: "+
			"name one with --tls-cert-file and --tls-private-key-file", err)
	}
	ips := []net.IP{address.IP}
	if address.IP.IsUnspecified() {
		ips = nil
		interfaces, err := net.InterfaceAddrs()
		if err != nil {
			klog.FromContext(ctx).Error(err, "The self-signed certificate names no IP address")
		}
		for _, i := range interfaces {
			if network, ok := i.(*net.IPNet); ok {
				ips = append(ips, network.IP)
			}
		}
	}
	chain, key, err := cert.GenerateSelfSignedCertKey(host, ips, []string{"localhost"})
	if err != nil {
		return nil, fmt.Errorf("the self-signed certificate: %w: "+
			"name one with --tls-cert-file and --tls-private-key-file", err)
	}
	return dynamiccertificates.NewStaticCertKeyContent("self-signed", chain, key)
}

// fingerprint returns the certificate's SHA-256 fingerprint in the form of
// `openssl x509 -fingerprint -sha256`.
func fingerprint(certificate dynamiccertificates.CertKeyContentProvider) (string, error) {
	chain, _ := certificate.CurrentCertKeyContent()
	parsed, err := cert.ParseCertsPEM(chain)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(parsed[0].Raw)
	return strings.ReplaceAll(fmt.Sprintf("% X", sum[:]), " ", ":"), nil
}

// newTLSConfig serves the certificate. After follow is called, changes of its files
// take effect for new connections, until ctx ends.
func newTLSConfig(
	ctx context.Context, certificate dynamiccertificates.CertKeyContentProvider,
) (config *tls.Config, follow func(), err error) {
	config = &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}}
	serving := dynamiccertificates.NewDynamicServingCertificateController(config.Clone(), nil, certificate, nil, nil)
	certificate.AddListener(serving)
	if err := serving.RunOnce(); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", certificate.Name(), err)
	}
	config.GetConfigForClient = serving.GetConfigForClient
	return config, func() {
		go serving.Run(1, ctx.Done())
		if files, ok := certificate.(dynamiccertificates.ControllerRunner); ok {
			go files.Run(ctx, 1)
		}
	}, nil
}
