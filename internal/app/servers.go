package app

import (
	"context"
	"net/http"

	"github.com/weiyuanke/PodInfoLookup/internal/server"
)

// servers are those of --bind-address and of --local-bind-address.
type servers struct{ main, local *server.Server }

// handlers are those of the servers: only that of main has a login.
type handlers struct{ main, local http.Handler }

func listen(ctx context.Context, o *options) (*servers, error) {
	main, err := server.Listen(ctx, o.server)
	if err != nil {
		return nil, err
	}
	local, err := server.ListenLocal(ctx, o.localAddress, o.server.Paths)
	if err != nil {
		main.Close(ctx)
		return nil, err
	}
	return &servers{main: main, local: local}, nil
}

func (s *servers) handle(livez, readyz server.Probe, h handlers) {
	s.main.Handle(livez, readyz, h.main)
	s.local.Handle(livez, readyz, h.local)
}

func (s *servers) serve(ctx context.Context, failed context.CancelCauseFunc) error {
	if err := s.main.Serve(ctx, failed); err != nil {
		return err
	}
	return s.local.Serve(ctx, failed)
}

func (s *servers) announce() {
	s.main.Announce()
	s.local.Announce()
}

func (s *servers) close(ctx context.Context) {
	s.local.Close(ctx)
	s.main.Close(ctx)
}
