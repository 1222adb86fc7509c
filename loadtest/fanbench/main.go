// Fanbench holds the parts of ssecast's fan-out benchmark and chaos test that must cost little: the clients, the
// publisher, the Go hub of the published comparison, and a floor: what a plain loop of send() takes.
//
// It listens on loopback only, and connects to nothing but loopback; eventsource also to private addresses.
package main

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

const usage = `usage: fanbench COMMAND

  client PORT              holds event streams; takes commands on stdin, answers with JSON lines
  eventsource FILE SERVER..  EventSources that come back as browsers do, and write down what they saw; commands on stdin
  publish                  publishes to NATS_URL; takes commands on stdin, answers with JSON lines
  hub PORT                 net/http, a goroutine and a 256-slot channel per client
  floor -threads N PORT    nothing but send() of the same bytes to every socket

hub and floor subscribe to bench.> at NATS_URL, serve GET /events, and end when stdin is closed.
Commands are described in loadtest/README.md.
`

func main() {
	if len(os.Args) < 2 {
		fmt.Fprint(os.Stderr, usage)
		os.Exit(2)
	}
	signal.Ignore(syscall.SIGPIPE)
	commands := map[string]func([]string) error{
		"client":      runClient,
		"eventsource": runEventSource,
		"publish":     runPublish,
		"hub":         runHub,
		"floor":       runFloor,
	}
	run, known := commands[os.Args[1]]
	if !known {
		fmt.Fprint(os.Stderr, usage)
		os.Exit(2)
	}
	if err := run(os.Args[2:]); err != nil {
		fmt.Fprintf(os.Stderr, "fanbench %s: %v\n", os.Args[1], err)
		os.Exit(1)
	}
}
