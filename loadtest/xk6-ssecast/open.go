package ssecast

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"time"

	"github.com/grafana/sobek"
	httpmodule "go.k6.io/k6/js/modules/k6/http"
	"go.k6.io/k6/lib"
	"go.k6.io/k6/metrics"

	"ssecast.dev/xk6-ssecast/internal/eventsource"
)

var errNoFunction = errors.New("the last argument of sse.open must be a function, which is given the client")

// Response is what `sse.open` returns when the stream has ended.
type Response struct {
	URL     string            `js:"url"`
	Status  int               `js:"status"`
	Headers map[string]string `js:"headers"`
	Error   string            `js:"error"`
	Events  int64             `js:"events"`
}

// Event is what handlers of `event` are given. A comment comes alone.
type Event struct {
	ID      string `js:"id"`
	Name    string `js:"name"`
	Data    string `js:"data"`
	Comment string `js:"comment"`
}

// Failure is what handlers of `error` are given.
type Failure struct{ err error }

// Error is its sentence.
func (f *Failure) Error() string { return f.err.Error() }

type openOptions struct {
	method, body, lastID string
	headers              http.Header
	jar                  *cookiejar.Jar
	reconnect            bool
	timeout              time.Duration
}

// Client is what the function is given that `sse.open` is called with. All of it belongs to the VU's own goroutine.
type Client struct {
	runtime  *sobek.Runtime
	dialer   *dialer
	options  openOptions
	handlers map[string][]sobek.Callable
	response Response
	address  *url.URL
	ordinal  int64
	cancel   context.CancelFunc
	parser   eventsource.Parser
	thrown   error // by a handler
}

// On adds a handler of `open`, `event` or `error`.
func (c *Client) On(name string, handler sobek.Value) {
	if function, ok := sobek.AssertFunction(handler); ok {
		c.handlers[name] = append(c.handlers[name], function)
	}
}

// Close ends the stream; `sse.open` returns then.
func (c *Client) Close() {
	c.cancel()
}

// open is `sse.open(url, params, function)`: it reads one stream until that ends, or a handler closes it.
func (i *instance) open(address string, arguments ...sobek.Value) (*Response, error) {
	state := i.vu.State()
	if state == nil {
		return nil, errInit
	}
	if len(arguments) == 0 || len(arguments) > 2 {
		return nil, errNoFunction
	}
	setUp, ok := sobek.AssertFunction(arguments[len(arguments)-1])
	if !ok {
		return nil, errNoFunction
	}
	var given sobek.Value
	if len(arguments) == 2 {
		given = arguments[0]
	}
	tags := newGauger(state)
	options, err := i.openOptions(given, state, tags)
	if err != nil {
		return nil, err
	}
	tags.tags.SetSystemTagOrMetaIfEnabled(state.Options.SystemTags, metrics.TagURL, address)
	c := &Client{
		runtime: i.vu.Runtime(), dialer: newDialer(state), options: options, handlers: map[string][]sobek.Callable{},
		response: Response{URL: address}, ordinal: i.ordinals.Add(1), parser: eventsource.NewParser(options.lastID),
	}
	c.parser.Comments = true
	return i.follow(c, setUp, state, tags)
}

func (i *instance) openOptions(from sobek.Value, state *lib.State, tags *gauger) (openOptions, error) {
	p := readParams(i.vu.Runtime(), "open", from)
	options := openOptions{
		method:    strings.ToUpper(p.text("method", http.MethodGet)),
		body:      p.text("body", ""),
		headers:   p.headers("headers"),
		jar:       state.CookieJar,
		lastID:    p.text("lastEventId", ""),
		reconnect: p.flag("reconnect"),
		timeout:   p.seconds("timeout", 0),
	}
	if jar, given := p.take("jar"); given {
		if own, ok := jar.Export().(*httpmodule.CookieJar); ok {
			options.jar = own.Jar
		} else {
			p.fail("jar must be a cookie jar of k6/http")
		}
	}
	p.tags("tags", &tags.tags)
	return options, p.done()
}

// follow calls the function that adds handlers, and reads until the end. What it counts it tells at the end.
func (i *instance) follow(c *Client, setUp sobek.Callable, state *lib.State, tags *gauger) (*Response, error) {
	ctx, cancel := i.bounded(c.options.timeout)
	defer cancel()
	c.cancel = cancel
	if _, err := setUp(sobek.Undefined(), c.runtime.ToValue(c)); err != nil {
		return nil, err
	}
	told := &openReport{meters: i.meters, builtin: state.BuiltinMetrics, tags: tags}
	for c.attempt(ctx, told) && c.options.reconnect && pause(ctx, time.Duration(c.parser.Retry)*time.Millisecond) {
	}
	told.push(c)
	if c.thrown != nil {
		return nil, c.thrown
	}
	if c.response.Error != "" && state.Options.Throw.Bool {
		return nil, errors.New(c.response.Error)
	}
	return &c.response, nil
}

func (i *instance) bounded(timeout time.Duration) (context.Context, context.CancelFunc) {
	if timeout > 0 {
		return context.WithTimeout(i.vu.Context(), timeout)
	}
	return context.WithCancel(i.vu.Context())
}

// attempt is one connection and what comes of it; false where there must be no other one.
func (c *Client) attempt(ctx context.Context, told *openReport) bool {
	err := c.once(ctx, told)
	if ctx.Err() != nil || c.thrown != nil {
		return false
	}
	var fatal *eventsource.Fatal
	if err != nil {
		c.fail(err)
	}
	return !errors.As(err, &fatal) && c.address != nil
}

// once is one connection. An end in good order is no error.
func (c *Client) once(ctx context.Context, told *openReport) (err error) {
	if c.address, err = parseAddress(c.response.URL); err != nil {
		c.address = nil
		return err
	}
	began := time.Now()
	var conn net.Conn
	got, err := c.dialer.openStream(ctx, c.ask(), c.ordinal, func(made net.Conn) { conn = made })
	if got != nil {
		c.response.Status, c.response.Headers = got.status, joined(got.headers)
		c.keepCookies(got.headers)
	}
	if err != nil {
		return err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	told.opened(time.Since(began))
	c.response.Error = ""
	c.parser.Restart()
	c.call("open")
	return c.read(ctx, got)
}

// ask is what the next connection asks for.
func (c *Client) ask() streamAsk {
	headers := c.options.headers.Clone()
	if c.options.jar != nil {
		for _, cookie := range c.options.jar.Cookies(c.address) {
			headers.Add("Cookie", cookie.Name+"="+cookie.Value)
		}
	}
	return streamAsk{c.address, c.options.method, c.options.body, headers, c.parser.LastID()}
}

func (c *Client) keepCookies(headers http.Header) {
	if c.options.jar != nil {
		c.options.jar.SetCookies(c.address, (&http.Response{Header: headers}).Cookies())
	}
}

func (c *Client) read(ctx context.Context, from *answer) error {
	buffer := make([]byte, readBytes)
	for ctx.Err() == nil && c.thrown == nil {
		count, err := from.body.Read(buffer)
		if wrong := c.parser.Feed(buffer[:count], func(event eventsource.Event) { c.deliver(ctx, event) }); wrong != nil {
			return wrong
		}
		if err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
	}
	return nil
}

// deliver calls the handlers: none after one of them has closed the stream, or thrown something.
func (c *Client) deliver(ctx context.Context, event eventsource.Event) {
	if ctx.Err() != nil || c.thrown != nil {
		return
	}
	if event.Data != nil {
		c.response.Events++
	}
	c.call("event", c.runtime.ToValue(&Event{
		ID: string(event.ID), Name: string(event.Name), Data: string(event.Data), Comment: string(event.Comment),
	}))
}

func (c *Client) fail(err error) {
	c.response.Error = reason(err)
	c.call("error", c.runtime.ToValue(&Failure{errors.New(c.response.Error)}))
}

func (c *Client) call(name string, arguments ...sobek.Value) {
	for _, handler := range c.handlers[name] {
		if c.thrown != nil {
			return
		}
		_, c.thrown = handler(sobek.Undefined(), arguments...)
	}
}

// openReport collects what `sse.open` counts.
type openReport struct {
	meters  *meters
	builtin *metrics.BuiltinMetrics
	tags    *gauger
	heads   []time.Duration
}

func (r *openReport) opened(after time.Duration) {
	r.heads = append(r.heads, after)
}

func (r *openReport) push(c *Client) {
	b := r.tags.batch()
	for _, each := range r.heads {
		b.add(r.meters.firstByte, metrics.D(each))
	}
	b.add(r.meters.opened, float64(len(r.heads)))
	b.add(r.meters.event, float64(c.response.Events))
	b.add(r.builtin.HTTPReqs, float64(len(r.heads)))
	b.add(r.builtin.DataReceived, float64(c.dialer.received.Load()))
	b.add(r.builtin.DataSent, float64(c.dialer.sent.Load()))
	b.push()
}

func joined(headers http.Header) map[string]string {
	out := make(map[string]string, len(headers))
	for name, values := range headers {
		out[name] = strings.Join(values, ", ")
	}
	return out
}
