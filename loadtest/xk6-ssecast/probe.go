package ssecast

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/grafana/sobek"
	"go.k6.io/k6/lib"

	"ssecast.dev/xk6-ssecast/internal/eventsource"
	"ssecast.dev/xk6-ssecast/internal/tally"
)

type probeOptions struct {
	url              *url.URL
	events           *url.URL
	subject          string
	headers, publish http.Header
	timeout          time.Duration
}

// probe is `sse.probe(options)`: one stream, and one event through it where there is a subject. It returns an empty text
// where all went well, else one sentence that says what did not.
func (i *instance) probe(from sobek.Value) (string, error) {
	state := i.vu.State()
	if state == nil {
		return "", errInit
	}
	p := readParams(i.vu.Runtime(), "probe", from)
	options := probeOptions{
		url:     p.address("url"),
		subject: p.text("subject", ""),
		headers: p.headers("headers"),
		publish: p.headers("publishHeaders"),
		timeout: p.seconds("timeout", 10*time.Second),
	}
	path := p.text("path", "/events")
	if err := p.done(); err != nil {
		return err.Error(), nil
	}
	events, err := parseAddress(strings.TrimSuffix(options.url.String(), "/") + path)
	if err != nil {
		return err.Error(), nil
	}
	options.events = events
	if err := runProbe(i.vu.Context(), state, i.ordinals.Add(1), options); err != nil {
		return fmt.Sprintf("%s: %s", options.url, err), nil
	}
	return "", nil
}

var errSilent = errors.New("its stream ended, or said nothing, before it gave a position: it is no pod of ssecast, or a full one")

func runProbe(ctx context.Context, state *lib.State, ordinal int64, options probeOptions) error {
	ctx, cancel := context.WithTimeout(ctx, options.timeout)
	defer cancel()
	var conn net.Conn
	ask := streamAsk{url: options.events, headers: options.headers}
	got, err := newDialer(state).openStream(ctx, ask, ordinal, func(made net.Conn) { conn = made })
	if err != nil {
		return errors.New(reason(err))
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()

	reader := &blocks{body: got}
	if err := reader.until(func(event eventsource.Event) bool { return string(event.Name) == "position" }); err != nil {
		return errSilent
	}
	if options.subject == "" {
		return nil
	}
	body := fmt.Sprintf("probe %d", time.Now().UnixNano())
	client := newPublishClient(state)
	defer client.CloseIdleConnections()
	stored, err := publishOnce(ctx, client, options.url, options.subject, body, []byte(body), options.publish)
	if err != nil {
		return err
	}
	err = reader.until(func(event eventsource.Event) bool {
		at, ok := tally.ParsePosition(event.ID)
		return ok && at == stored && string(event.Data) == body
	})
	if err != nil {
		return fmt.Errorf("what was published on %s did not come within %s", options.subject, options.timeout)
	}
	return nil
}

// blocks reads a stream's events one by one.
type blocks struct {
	body   *answer
	parser eventsource.Parser
}

// until reads on until an event is the one that is looked for.
func (b *blocks) until(is func(eventsource.Event) bool) error {
	buffer, found := make([]byte, readBytes), false
	for !found {
		count, err := b.body.body.Read(buffer)
		wrong := b.parser.Feed(buffer[:count], func(event eventsource.Event) { found = found || is(event) })
		if !found && err != nil || wrong != nil {
			return errors.Join(err, wrong)
		}
	}
	return nil
}
