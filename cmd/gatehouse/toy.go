package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"gatehouse/admin"
)

const toyHelp = `Serve a small demo backend, something to put a vhost in front of:

  /           a page with the toy's name
  /api/price  JSON that may be cached for a minute; each answer has a new price
  /upload     POST: how long the body was, and its SHA-256
  /echo       the request's head as it arrived, as JSON
  /chat       a WebSocket that echoes text
  /slow       an answer after two seconds
  /healthz    ok
  /readyz     what "gatehouse health --admin URL" asks for

It is no part of an edge, and "gatehouse help" does not list it.`

// newToyCommand is the hidden verb `toy`: a small backend to put a vhost in
// front of, for the demo and docker-compose.yml.
func newToyCommand() *cobra.Command {
	var listen, name string
	cmd := &cobra.Command{
		Use:     "toy --listen ADDR --name NAME",
		Short:   "Serve a small demo backend",
		Long:    toyHelp,
		Example: "  gatehouse toy --listen 127.0.0.1:9000 --name shop",
		Args:    cobra.NoArgs,
		Hidden:  true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ln, err := net.Listen("tcp", listen)
			if err != nil {
				return fmt.Errorf("toy backend: %w", err)
			}
			_, _ = fmt.Fprintf(cmd.ErrOrStderr(), "toy backend %s on http://%s\n", name, ln.Addr())
			return serveToy(cmd.Context(), ln, name)
		},
	}
	cmd.Flags().StringVar(&listen, "listen", "127.0.0.1:9000", "address to listen on")
	cmd.Flags().StringVar(&name, "name", "toy", "the name that its pages show")
	return cmd
}

// serveToy serves a toy on ln until ctx ends; open requests get two seconds.
func serveToy(ctx context.Context, ln net.Listener, name string) error {
	server := &http.Server{
		Handler: newToy(name), ReadHeaderTimeout: 10 * time.Second,
		BaseContext: func(net.Listener) context.Context { return ctx }, // ends chats and slow answers
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(ln) }()
	select {
	case err := <-ended:
		return fmt.Errorf("toy backend: %w", err)
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	err := server.Shutdown(grace)
	if errors.Is(err, context.DeadlineExceeded) {
		err = server.Close() // what still runs is a slow or endless answer: the demo is over
	}
	if served := <-ended; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}

// newToy returns a demo site that names itself; toyHelp says what is in it.
func newToy(name string) http.Handler {
	mux := http.NewServeMux()
	var calls atomic.Int64
	mux.HandleFunc("/{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_ = toyPage.Execute(w, name)
	})
	mux.HandleFunc("GET /api/price", func(w http.ResponseWriter, _ *http.Request) {
		n := calls.Add(1)
		w.Header().Set("Cache-Control", "max-age=60")
		writeToyJSON(w, map[string]any{"site": name, "item": "lamp", "price": 1999 + n, "computed": n})
	})
	mux.HandleFunc("POST /upload", func(w http.ResponseWriter, r *http.Request) {
		hash := sha256.New()
		n, err := io.Copy(hash, r.Body)
		if err != nil {
			http.Error(w, "the upload broke off", http.StatusBadRequest)
			return
		}
		writeToyJSON(w, map[string]any{"bytes": n, "sha256": hex.EncodeToString(hash.Sum(nil))})
	})
	mux.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		writeToyJSON(w, map[string]any{
			"site": name, "method": r.Method, "target": r.RequestURI, "host": r.Host, "header": r.Header,
		})
	})
	mux.HandleFunc("GET /chat", chat)
	mux.HandleFunc("/slow", func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-time.After(2 * time.Second):
			_, _ = io.WriteString(w, "at last\n")
		case <-r.Context().Done():
		}
	})
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok\n") })
	mux.HandleFunc("/readyz", func(w http.ResponseWriter, _ *http.Request) {
		writeToyJSON(w, admin.Readiness{Ready: true, Node: name})
	})
	return mux
}

func writeToyJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // the client may have left: nobody is there to tell
}

var toyPage = template.Must(template.New("toy").Parse(`<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>{{.}}</title>
<h1>Welcome to {{.}}</h1>
<p>This page was made by the toy backend “{{.}}”.</p>
<ul>
<li><a href="/api/price">/api/price</a>: may be cached for a minute
<li><a href="/echo">/echo</a>: your request as it arrived here
<li><a href="/slow">/slow</a>: an answer after two seconds
</ul>
</html>
`))
