package harness

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"

	"k8s.io/client-go/rest"
)

// Paths of lists and watches.
const (
	PodsPath    = "/api/v1/pods"
	TestcrsPath = "/apis/stable.example.com/v1/testcrs"
)

// Watch opens a watch in JSON on a connection of its own. It calls f with each
// event and its time of arrival until ctx ends. It resumes from the last event
// if the API server ends the watch. ended receives the error that stops it.
func (c *Cluster) Watch(ctx context.Context, path, version string, f func(at time.Time, line []byte), ended func(error)) error {
	own := rest.CopyConfig(c.Config)
	own.Dial = (&net.Dialer{}).DialContext
	client, err := rest.HTTPClientFor(own)
	if err != nil {
		return err
	}
	open := func() (io.ReadCloser, error) {
		return openWatch(ctx, client, fmt.Sprintf("%s%s?watch=true&timeoutSeconds=7200&resourceVersion=%s", own.Host, path, version))
	}
	body, err := open()
	if err != nil {
		return err
	}
	go func() {
		var err error
		for ; err == nil; body, err = open() {
			lines := bufio.NewScanner(body)
			lines.Buffer(make([]byte, 1<<16), 1<<22)
			for lines.Scan() {
				f(time.Now(), lines.Bytes())
				if _, after, ok := bytes.Cut(lines.Bytes(), []byte(`"resourceVersion":"`)); ok {
					version = string(after[:max(0, bytes.IndexByte(after, '"'))])
				}
			}
			_ = body.Close() // only read
			if ctx.Err() == nil {
				fmt.Fprintf(os.Stderr, "bench: resuming the watch of %s from %s\n", path, version)
			}
		}
		ended(fmt.Errorf("watch of %s: %w", path, err))
	}()
	return nil
}

func openWatch(ctx context.Context, client *http.Client, url string) (io.ReadCloser, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		_ = response.Body.Close() // only the status is read
		return nil, fmt.Errorf("watch: %s", response.Status)
	}
	return response.Body, nil
}
