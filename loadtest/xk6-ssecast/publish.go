package ssecast

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/grafana/sobek"
	"go.k6.io/k6/lib"
	"go.k6.io/k6/metrics"

	"ssecast.dev/xk6-ssecast/internal/tally"
)

const (
	answerMost     = 64 << 10
	publishSeconds = 10 * time.Second
	againSeconds   = 100 * time.Millisecond
	triesOn        = 10 * time.Second // after its time is over, for the last event
	lateMost       = time.Second      // a publisher that is further behind gives up what it should have sent meanwhile
)

type publishOptions struct {
	url            *url.URL
	run, subject   string
	subjects, size int
	rate           float64
	duration       time.Duration
	headers        http.Header
}

// publisher sends one event after the other: the next one only when the last one is known to be stored, so that their order
// is that of their numbers. One that fails is sent again under the same key, and stored once.
type publisher struct {
	options publishOptions
	client  *http.Client
	ledger  *tally.Ledger
	number  int64
	owns    map[string]int64 // the last number of each subject
	report  *gauger
	meters  *meters
	retries int64
	pending *batch
}

// publish is `sse.publish(options)`: it holds the VU until the time is over, and returns how many events are stored.
func (i *instance) publish(from sobek.Value) (map[string]any, error) {
	state := i.vu.State()
	if state == nil {
		return nil, errInit
	}
	tags := newGauger(state)
	p := readParams(i.vu.Runtime(), "publish", from)
	options := publishOptions{
		url:      p.address("url"),
		run:      p.text("run", "k6"),
		subject:  p.text("subject", ""),
		subjects: int(p.number("subjects", 1, 1, subjectsMost)),
		size:     int(p.number("size", 100, 0, 1<<20)),
		rate:     p.number("rate", 1, 1e-3, 1e5),
		duration: p.seconds("duration", 10*time.Second),
		headers:  p.headers("headers"),
	}
	p.tags("tags", &tags.tags)
	if options.subject == "" {
		p.fail("subject must be given")
	}
	if err := p.done(); err != nil {
		return nil, err
	}
	return newPublisher(i, state, options, tags).publishAll(i.vu.Context())
}

func newPublisher(i *instance, state *lib.State, options publishOptions, tags *gauger) *publisher {
	return &publisher{
		options: options, client: newPublishClient(state), ledger: i.ledger(options.run), owns: map[string]int64{},
		report: tags, meters: i.meters, pending: tags.batch(),
	}
}

func newPublishClient(state *lib.State) *http.Client {
	return &http.Client{
		Transport: &http.Transport{DialContext: state.Dialer.DialContext, TLSClientConfig: state.TLSConfig},
		Timeout:   publishSeconds,
	}
}

func (p *publisher) publishAll(ctx context.Context) (map[string]any, error) {
	defer p.client.CloseIdleConnections()
	p.ledger.Begin()
	defer p.ledger.End()
	interval := time.Duration(float64(time.Second) / p.options.rate)
	began := time.Now()
	due, told := began, began
	ctx, cancel := context.WithDeadline(ctx, began.Add(p.options.duration+triesOn))
	defer cancel()
	p.tell()
	for time.Since(began) < p.options.duration && pause(ctx, time.Until(due)) {
		if err := p.next(ctx); err != nil {
			p.tell()
			return nil, err
		}
		due = later(due.Add(interval), time.Now().Add(-lateMost))
		if time.Since(told) >= everySecond {
			told = time.Now()
			p.tell()
		}
	}
	p.tell()
	return map[string]any{"published": p.number, "retries": p.retries}, nil
}

func later(one, other time.Time) time.Time {
	if one.After(other) {
		return one
	}
	return other
}

// next publishes the next event, however often it takes. An error is one that will not pass.
func (p *publisher) next(ctx context.Context) error {
	sent := time.Now()
	subject := addressOf(p.options.subject, int(p.number%int64(p.options.subjects)))
	payload := tally.Payload{
		Run: []byte(p.options.run), Subject: []byte(subject), Number: p.number + 1, Own: p.owns[subject] + 1,
		Sent: sent.UnixMicro(),
	}
	body := payload.Append(nil, p.options.size)
	key := fmt.Sprintf("%s-%d", p.options.run, payload.Number)
	for {
		stored, err := publishOnce(ctx, p.client, p.options.url, subject, key, body, p.options.headers)
		if err == nil {
			p.ledger.Store(subject, stored)
			p.number, p.owns[subject] = payload.Number, payload.Own
			p.pending.add(p.meters.publishTime, metrics.D(time.Since(sent)))
			p.pending.add(p.meters.published, 1)
			return nil
		}
		if _, final := err.(*refusedPublish); final {
			return fmt.Errorf("sse.publish: %w", err)
		}
		p.retries++
		p.pending.add(p.meters.publishRetries, 1)
		if !pause(ctx, againSeconds) {
			p.pending.add(p.meters.unpublished, 1)
			return nil
		}
	}
}

// tell pushes what happened since it last did.
func (p *publisher) tell() {
	p.pending.add(p.meters.published, 0)
	p.pending.add(p.meters.unpublished, 0)
	p.pending.add(p.meters.publishRetries, 0)
	p.pending.push()
	p.pending = p.report.batch()
}

// refusedPublish is an answer that would be the same another time.
type refusedPublish struct {
	address, sentence string
}

func (r *refusedPublish) Error() string {
	return fmt.Sprintf("POST %s %s", r.address, r.sentence)
}

// publishOnce hands an event to a pod, and returns where JetStream stored it.
func publishOnce(
	ctx context.Context, client *http.Client, base *url.URL, subject, key string, body []byte, headers http.Header,
) (tally.Position, error) {
	address := base.JoinPath("publish", subject).String()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		return tally.Position{}, &refusedPublish{address, err.Error()}
	}
	for name, values := range headers {
		request.Header[name] = values
	}
	request.Header.Set("Content-Type", "text/plain; charset=utf-8")
	request.Header.Set("Idempotency-Key", key)
	response, err := client.Do(request)
	if err != nil {
		return tally.Position{}, err
	}
	defer response.Body.Close()
	said, err := io.ReadAll(io.LimitReader(response.Body, answerMost))
	if err != nil {
		return tally.Position{}, err
	}
	return storedAt(address, response.StatusCode, said)
}

func storedAt(address string, status int, said []byte) (tally.Position, error) {
	if status == http.StatusAccepted {
		var answer struct{ Position string }
		if err := json.Unmarshal(said, &answer); err == nil {
			if at, ok := tally.ParsePosition([]byte(answer.Position)); ok {
				return at, nil
			}
		}
		return tally.Position{}, &refusedPublish{address, "is answered 202 without a position: it is no pod of ssecast"}
	}
	sentence := fmt.Sprintf("is answered %d %s", status, http.StatusText(status))
	if status >= 500 || status == http.StatusRequestTimeout || status == http.StatusTooManyRequests {
		return tally.Position{}, fmt.Errorf("POST %s %s", address, sentence)
	}
	if status == http.StatusNotFound {
		sentence += ": publishing is off there (SSECAST_PUBLISH=true turns it on)"
	}
	return tally.Position{}, &refusedPublish{address, sentence}
}
