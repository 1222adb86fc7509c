package ssecast

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/textproto"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/grafana/sobek"
	"go.k6.io/k6/js/modulestest"
	"go.k6.io/k6/lib"
	"go.k6.io/k6/lib/netext"
	"go.k6.io/k6/lib/types"
	"go.k6.io/k6/metrics"
	"gopkg.in/guregu/null.v3"
)

// rig is a VU in which scripts run with the extension, and what they pushed into k6's metrics.
type rig struct {
	*modulestest.Runtime
	samples chan metrics.SampleContainer
	module  *module
}

func newRig(t *testing.T) *rig {
	t.Helper()
	runtime := modulestest.NewRuntime(t)
	r := &rig{runtime, make(chan metrics.SampleContainer, 10_000), newModule()}
	logger := runtime.VU.InitEnvField.Logger
	instance := r.module.NewModuleInstance(runtime.VU)
	if err := runtime.VU.Runtime().Set("sse", instance.Exports().Named); err != nil {
		t.Fatal(err)
	}
	resolver := netext.NewResolver(net.LookupIP, 0, types.DNSfirst, types.DNSpreferIPv4)
	registry := runtime.VU.InitEnvField.Registry
	runtime.MoveToVUContext(&lib.State{
		Options:        lib.Options{UserAgent: null.StringFrom("test"), SystemTags: &metrics.DefaultSystemTagSet},
		BuiltinMetrics: runtime.BuiltinMetrics,
		Logger:         logger,
		Dialer:         netext.NewDialer(net.Dialer{}, resolver),
		Samples:        r.samples,
		Tags:           lib.NewVUStateTags(registry.RootTagSet()),
	})
	return r
}

// run runs a script; it must not fail.
func (r *rig) run(t *testing.T, script string, values ...any) sobek.Value {
	t.Helper()
	value, err := r.VU.Runtime().RunString(fmt.Sprintf(script, values...))
	if err != nil {
		t.Fatal(err)
	}
	return value
}

// fails runs a script that must fail, and returns why.
func (r *rig) fails(t *testing.T, script string, values ...any) string {
	t.Helper()
	if _, err := r.VU.Runtime().RunString(fmt.Sprintf(script, values...)); err != nil {
		return err.Error()
	}
	t.Fatalf("nothing is wrong with %s", fmt.Sprintf(script, values...))
	return ""
}

// number of an object that a script returned.
func (r *rig) number(value sobek.Value, name string) int64 {
	return value.ToObject(r.VU.Runtime()).Get(name).ToInteger()
}

// pushed sums up the samples of a metric, and counts them.
func (r *rig) pushed() (sums map[string]float64, counts map[string]int) {
	sums, counts = map[string]float64{}, map[string]int{}
	for _, container := range metrics.GetBufferedSamples(r.samples) {
		for _, sample := range container.GetSamples() {
			sums[sample.Metric.Name] += sample.Value
			counts[sample.Metric.Name]++
		}
	}
	return sums, counts
}

const (
	streamHead = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
	soon       = "retry: 20\n\n"
)

func position(seq int) string { return fmt.Sprintf("event: position\nid: e-%d\ndata:\n\n", seq) }

// numbered is an event as the publisher of a run makes it; its number is that of its seq.
func numbered(seq int) string {
	return fmt.Sprintf("id: e-%d\ndata: k6 %d %d %d a.b .\n\n", seq, seq, seq, time.Now().UnixMicro())
}

// script is what a server does with one connection after the other; the last answer is that of all that follow.
type script struct {
	address string
	mutex   sync.Mutex
	asked   []textproto.MIMEHeader
	lines   []string
	stop    func()
}

// serve answers each connection, and holds it open where the answer ends with `hold`.
func serve(t *testing.T, answers ...string) *script {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &script{address: "http://" + listener.Addr().String()}
	var all sync.WaitGroup
	stop := make(chan struct{})
	s.stop = sync.OnceFunc(func() {
		close(stop)
		listener.Close()
		all.Wait()
	})
	t.Cleanup(s.stop)
	all.Go(func() {
		for n := 0; ; n++ {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			all.Go(func() { s.answer(conn, answers[min(n, len(answers)-1)], stop) })
		}
	})
	return s
}

const hold = "<hold>"

func (s *script) answer(conn net.Conn, text string, stop <-chan struct{}) {
	defer conn.Close()
	reader := textproto.NewReader(bufio.NewReader(conn))
	line, err := reader.ReadLine()
	if err != nil {
		return
	}
	head, err := reader.ReadMIMEHeader()
	if err != nil {
		return
	}
	s.mutex.Lock()
	s.asked, s.lines = append(s.asked, head), append(s.lines, line)
	s.mutex.Unlock()
	text, holds := strings.CutSuffix(text, hold)
	fmt.Fprint(conn, text)
	if !holds {
		return
	}
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		_, _ = reader.ReadLine() // whoever asks for a stream says nothing more
	}()
	select {
	case <-stop:
	case <-gone:
	}
}

// header is what each connection sent under a name.
func (s *script) header(name string) (out []string) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	for _, each := range s.asked {
		out = append(out, each.Get(name))
	}
	return out
}

// pod is as much of a pod as the extension knows: it stores what is published, and sends it to its streams.
// flaws changes what it sends of each event.
type pod struct {
	*httptest.Server
	mutex   sync.Mutex
	blocks  []string
	subject []string
	keys    map[string]int
	came    chan struct{}
	flaw    func(seq int, block string) string
}

func startPod(t *testing.T, flaw func(int, string) string) *pod {
	t.Helper()
	p := &pod{keys: map[string]int{}, came: make(chan struct{}), flaw: flaw}
	routes := http.NewServeMux()
	routes.HandleFunc("POST /publish/{subject}", p.publish)
	routes.HandleFunc("GET /events", p.events)
	p.Server = httptest.NewServer(routes)
	t.Cleanup(func() {
		p.CloseClientConnections()
		p.Close()
	})
	return p
}

func (p *pod) publish(out http.ResponseWriter, request *http.Request) {
	body := make([]byte, request.ContentLength)
	_, _ = bufio.NewReader(request.Body).Read(body)
	p.mutex.Lock()
	defer p.mutex.Unlock()
	key := request.Header.Get("Idempotency-Key")
	seq, again := p.keys[key]
	if !again {
		seq = len(p.blocks) + 1
		p.keys[key] = seq
		p.blocks = append(p.blocks, fmt.Sprintf("id: e-%d\ndata: %s\n\n", seq, body))
		p.subject = append(p.subject, request.PathValue("subject"))
		close(p.came)
		p.came = make(chan struct{})
	}
	out.WriteHeader(http.StatusAccepted)
	fmt.Fprintf(out, `{"position": "e-%d"}`, seq)
}

func (p *pod) events(out http.ResponseWriter, request *http.Request) {
	out.Header().Set("Content-Type", "text/event-stream")
	wanted := request.URL.Query().Get("subject")
	p.mutex.Lock()
	sent := len(p.blocks)
	p.mutex.Unlock()
	if id := request.Header.Get("Last-Event-ID"); id != "" {
		fmt.Sscanf(id, "e-%d", &sent)
	}
	fmt.Fprint(out, soon+position(sent))
	for {
		p.mutex.Lock()
		fresh, subjects, came := p.blocks[sent:], p.subject[sent:], p.came
		p.mutex.Unlock()
		for n, block := range fresh {
			if wanted == "" || wanted == subjects[n] {
				fmt.Fprint(out, p.flaw(sent+n+1, block))
			}
		}
		sent += len(fresh)
		out.(http.Flusher).Flush()
		select {
		case <-came:
		case <-request.Context().Done():
			return
		}
	}
}

func asItIs(_ int, block string) string { return block }
