package ssecast

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"go.k6.io/k6/lib"

	"ssecast.dev/xk6-ssecast/internal/eventsource"
)

const (
	connectSeconds = 20 * time.Second
	headSeconds    = 60 * time.Second
	headBuffer     = 1 << 10 // all that is kept for a stream's connection beside the socket; reads of more go past it

	// perAddress streams share one source address. Linux gives connect() every second port of its range first (14,116 by
	// default), and searches long for the others.
	perAddress = 8_000
)

// dialer connects as k6 would (its `hosts`, its DNS, its blocked addresses, its certificates), but keeps the sockets of
// streams small and spreads them over loopback's addresses.
type dialer struct {
	resolve       lib.AddrResolver
	fallback      lib.DialContexter
	tls           *tls.Config
	userAgent     string
	receiveBuffer int
	received      atomic.Int64 // bytes
	sent          atomic.Int64
}

func newDialer(state *lib.State) *dialer {
	d := &dialer{resolve: state.GetAddrResolver(), fallback: state.Dialer, userAgent: state.Options.UserAgent.String}
	if state.TLSConfig != nil {
		d.tls = state.TLSConfig.Clone()
	} else {
		d.tls = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	d.tls.NextProtos = []string{"http/1.1"}
	return d
}

// connect makes a connection; ordinal: which stream it is for.
func (d *dialer) connect(ctx context.Context, to *url.URL, ordinal int64) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, connectSeconds)
	defer cancel()
	conn, err := d.plain(ctx, hostPort(to), ordinal)
	if err != nil {
		return nil, err
	}
	if d.receiveBuffer > 0 {
		if socket, ok := conn.(*net.TCPConn); ok {
			_ = socket.SetReadBuffer(d.receiveBuffer) // a request to the kernel, which has the last word
		}
	}
	conn = &counted{conn, d}
	if to.Scheme != "https" {
		return conn, nil
	}
	config := d.tls.Clone()
	if config.ServerName == "" {
		config.ServerName = to.Hostname()
	}
	secure := tls.Client(conn, config)
	if err := secure.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, err
	}
	return secure, nil
}

func (d *dialer) plain(ctx context.Context, address string, ordinal int64) (net.Conn, error) {
	if d.resolve == nil {
		return d.fallback.DialContext(ctx, "tcp", address)
	}
	ip, port, err := d.resolve.ResolveAddr(address)
	if err != nil {
		return nil, err
	}
	var from net.Dialer
	if ip.IsLoopback() && ip.To4() != nil && spreads {
		from.LocalAddr = &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(1+ordinal/perAddress%200))}
		from.Control = bindWithoutPort
	}
	return from.DialContext(ctx, "tcp", net.JoinHostPort(ip.String(), fmt.Sprint(port)))
}

// counted counts bytes, as k6 does for its own connections, and is closed by a reset: TIME_WAIT would use up the ports.
type counted struct {
	net.Conn
	by *dialer
}

func (c *counted) Read(into []byte) (int, error) {
	count, err := c.Conn.Read(into)
	c.by.received.Add(int64(count))
	return count, err
}

func (c *counted) Write(from []byte) (int, error) {
	count, err := c.Conn.Write(from)
	c.by.sent.Add(int64(count))
	return count, err
}

func (c *counted) Close() error {
	if socket, ok := c.Conn.(*net.TCPConn); ok {
		_ = socket.SetLinger(0)
	}
	return c.Conn.Close()
}

// answer is the head of a response, and its body to be read.
type answer struct {
	status  int
	headers http.Header
	body    io.Reader
}

// ask sends a request on a new connection, and reads the head of its answer.
func (d *dialer) ask(conn net.Conn, request *http.Request) (*answer, error) {
	if request.Header.Get("User-Agent") == "" && d.userAgent != "" {
		request.Header.Set("User-Agent", d.userAgent)
	}
	_ = conn.SetDeadline(time.Now().Add(headSeconds))
	if err := request.Write(conn); err != nil {
		return nil, err
	}
	response, err := http.ReadResponse(bufio.NewReaderSize(conn, headBuffer), request)
	if err != nil {
		return nil, err
	}
	_ = conn.SetDeadline(time.Time{})
	out := &answer{response.StatusCode, response.Header, response.Body}
	response.Header, response.Request = nil, nil // the body holds on to the response for as long as the stream lives
	return out, nil
}

// streamAsk is what a connection asks for.
type streamAsk struct {
	url     *url.URL
	method  string // empty: GET, as an EventSource
	body    string
	headers http.Header
	lastID  []byte
}

func (a streamAsk) request() *http.Request {
	request := &http.Request{
		Method: a.method, URL: a.url, Host: a.url.Host, Header: http.Header{}, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}
	request.Header.Set("Accept", "text/event-stream")
	request.Header.Set("Cache-Control", "no-cache")
	for name, values := range a.headers {
		request.Header[name] = values
	}
	if len(a.lastID) > 0 {
		request.Header.Set("Last-Event-ID", string(a.lastID))
	}
	if a.body != "" {
		request.Body, request.ContentLength = io.NopCloser(strings.NewReader(a.body)), int64(len(a.body))
	}
	return request
}

// openStream connects and asks, follows redirects, and judges the answer: a *eventsource.Fatal ends it for good.
// hold is given each connection that is made, so that it can be closed from elsewhere meanwhile.
func (d *dialer) openStream(ctx context.Context, ask streamAsk, ordinal int64, hold func(net.Conn)) (*answer, error) {
	for range eventsource.MostRedirects {
		conn, err := d.connect(ctx, ask.url, ordinal)
		if err != nil {
			return nil, err
		}
		hold(conn)
		got, err := d.ask(conn, ask.request())
		if err == nil && !eventsource.IsRedirect(got.status) {
			err = eventsource.Judge(got.status, got.headers.Get("Content-Type"))
			if err == nil {
				return got, nil
			}
		}
		conn.Close()
		if err != nil {
			return got, err
		}
		if ask.url, err = elsewhere(ask.url, got.headers.Get("Location")); err != nil {
			return got, &eventsource.Fatal{Status: got.status}
		}
	}
	return nil, &eventsource.Fatal{Status: http.StatusLoopDetected}
}

// elsewhere is where a redirect points to.
func elsewhere(from *url.URL, location string) (*url.URL, error) {
	relative, err := url.Parse(location)
	if err != nil || location == "" {
		return nil, fmt.Errorf("%q is no address", location)
	}
	return parseAddress(from.ResolveReference(relative).String())
}
