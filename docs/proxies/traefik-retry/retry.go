// Package traefik_retry is a plugin for Traefik that answers in place of a pod that is away: `retry:` and the end of the
// stream for a browser that asked for one, a Retry-After for everybody else.
//
// Traefik interprets it (plugins-local), so it stands behind a port of its own and no stream passes through it. The
// status is not its business: the errors middleware that asks for the page sets it.
package traefik_retry

import (
	"context"
	"fmt"
	"math/rand"
	"net/http"
	"strconv"
)

// Config says between what times browsers come back: RetryMs to RetryMs + SpreadMs milliseconds.
type Config struct {
	RetryMs  int `json:"retryMs,omitempty"`
	SpreadMs int `json:"spreadMs,omitempty"`
}

// CreateConfig has the times that pods have by default.
func CreateConfig() *Config {
	return &Config{RetryMs: 2000, SpreadMs: 4000}
}

type retry struct {
	config *Config
}

// New checks the times. The next handler is never called.
func New(_ context.Context, _ http.Handler, config *Config, name string) (http.Handler, error) {
	if config.RetryMs < 1 || config.SpreadMs < 1 {
		return nil, fmt.Errorf("%s: retryMs and spreadMs must be at least 1", name)
	}
	return &retry{config}, nil
}

func (r *retry) ServeHTTP(answer http.ResponseWriter, request *http.Request) {
	wait := r.config.RetryMs + rand.Intn(r.config.SpreadMs)
	header := answer.Header()
	header.Set("Cache-Control", "no-store")
	if request.URL.Path == "/retry" {
		header.Set("Content-Type", "text/event-stream")
		fmt.Fprintf(answer, "retry: %d\n\n", wait)
		return
	}
	header.Set("Content-Type", "text/plain")
	header.Set("Retry-After", strconv.Itoa((wait+999)/1000))
	answer.WriteHeader(http.StatusServiceUnavailable)
	fmt.Fprintln(answer, "no pod is available")
}
