package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
)

// slots is the length of a client's queue in the published comparison.
const slots = 256

// hub is the usual way in Go: one goroutine and one channel per client; who is too slow misses events.
type hub struct {
	lock    sync.RWMutex
	clients map[chan []byte]struct{}
	number  int64
}

// runHub serves until stdin ends.
func runHub(args []string) error {
	port, err := portOf(args)
	if err != nil {
		return err
	}
	conn, err := dialNATS()
	if err != nil {
		return err
	}
	if err := conn.subscribe(benchSubjects); err != nil {
		return err
	}
	fan := &hub{clients: map[chan []byte]struct{}{}}
	listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /events", fan.serve)
	endWithStdin()
	go func() { fail(http.Serve(listener, mux)) }()
	return conn.each(fan.publish)
}

func (h *hub) publish(payload []byte) {
	h.number++
	frame := fmt.Appendf(nil, "id: %d\ndata: %s\n\n", h.number, payload)
	h.lock.RLock()
	defer h.lock.RUnlock()
	for client := range h.clients {
		select {
		case client <- frame:
		default:
		}
	}
}

func (h *hub) serve(writer http.ResponseWriter, request *http.Request) {
	flusher := writer.(http.Flusher)
	client := make(chan []byte, slots)
	h.lock.Lock()
	h.clients[client] = struct{}{}
	h.lock.Unlock()
	defer func() {
		h.lock.Lock()
		delete(h.clients, client)
		h.lock.Unlock()
	}()
	writer.Header().Set("Content-Type", "text/event-stream")
	io.WriteString(writer, ":\n\n")
	flusher.Flush()
	for {
		select {
		case frame := <-client:
			if _, err := writer.Write(frame); err != nil {
				return
			}
			flusher.Flush()
		case <-request.Context().Done():
			return
		}
	}
}

func portOf(args []string) (int, error) {
	if len(args) == 0 {
		return 0, fmt.Errorf("the port is missing")
	}
	return strconv.Atoi(args[len(args)-1])
}

// endWithStdin ends the process with the one that started it, however that ended.
func endWithStdin() {
	go func() {
		io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "fanbench:", err)
	os.Exit(1)
}
