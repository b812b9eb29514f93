// Command ownmux is the second of two small web servers that show the net/http
// package, on which the Kubernetes API server is built: it makes its own mux
// and its own http.Server, so that no other package can add a handler to it.
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
	flag.Usage = func() { fmt.Println("usage: ownmux [--addr HOST:PORT]  (default :9090)") }
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintln(os.Stderr, "ownmux: unexpected argument", flag.Arg(0))
		os.Exit(2)
	}

	mux := http.NewServeMux()
	mux.HandleFunc("/", helloworld)

	server := &http.Server{
		Addr:    *addr,
		Handler: mux,
		// Without it, a client that never ends its request holds a connection for ever.
		ReadHeaderTimeout: 5 * time.Second,
	}

	err := listenAndServe(server)
	if err != nil {
		fmt.Fprintln(os.Stderr, "ownmux:", err)
		os.Exit(1)
	}
}

func helloworld(w http.ResponseWriter, request *http.Request) {
	result := "HelloWorld\n"
	result = result + "RequestURI: " + request.RequestURI

	// An error means that the client has disconnected, so nobody can receive it.
	_, _ = io.WriteString(w, result) //nolint:gosec // no XSS: net/http sends what begins with HelloWorld as text/plain
}

// listenAndServe is server.ListenAndServe with an end: it returns nil after
// SIGINT or SIGTERM, when the requests under way have been answered.
func listenAndServe(server *http.Server) error {
	// Caught before the address is printed, because its reader may send one.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()

	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", server.Addr)
	if err != nil {
		return err
	}
	fmt.Fprintln(os.Stderr, "listening on", listener.Addr())

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
