// Command defaultmux is the first of two small web servers that show the
// net/http package, on which the Kubernetes API server is built: it registers
// its handler with the package's own mux, http.DefaultServeMux.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	addr := flag.String("addr", ":9090", "host:port to listen on")
	// On stdout, so that a wrong flag leaves one line on stderr: its error.
	flag.Usage = func() { fmt.Println("usage: defaultmux [--addr HOST:PORT]  (default :9090)") }
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintln(os.Stderr, "defaultmux: unexpected argument", flag.Arg(0))
		os.Exit(2)
	}

	http.HandleFunc("/", helloworld)
	err := listenAndServe(*addr, nil)
	if err != nil {
		fmt.Fprintln(os.Stderr, "defaultmux:", err)
		os.Exit(1)
	}
}

func helloworld(w http.ResponseWriter, request *http.Request) {
	result := "HelloWorld\n"
	result = result + "RequestURI: " + request.RequestURI

	// An error means that the client has disconnected, so nobody can receive it.
	_, _ = io.WriteString(w, result) //nolint:gosec // no XSS: net/http sends what begins with HelloWorld as text/plain
}

// listenAndServe is http.ListenAndServe, where a nil handler means
// http.DefaultServeMux, with the two things that one leaves out: a limit on
// clients that send nothing, and an end. It returns nil after SIGINT or
// SIGTERM, when the requests under way have been answered.
func listenAndServe(addr string, handler http.Handler) error {
	// Caught before the address is printed, because its reader may send one.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()

	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	fmt.Fprintln(os.Stderr, "listening on", listener.Addr())

	server := &http.Server{Handler: handler, ReadHeaderTimeout: 5 * time.Second}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
		stop() // a second signal ends the program at once
	}

	// Longer than ReadHeaderTimeout, which ends connections that ask for nothing.
	graceful, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	return server.Shutdown(graceful)
}
