package main

import (
	"bufio"
	"fmt"
	"os"
	"strings"
	"time"
)

// Bounds of one `pub` command.
const (
	maxEvents = 1_000_000
	maxSize   = 1 << 20
)

type published struct {
	Type    string  `json:"type"`
	Count   int64   `json:"count"`
	Elapsed float64 `json:"elapsed_ms"`
	Late    float64 `json:"late_ms"` // how far the slowest event of a rate was behind its time
}

// runPublish obeys `pub subject= first= count= rate= size=` until stdin ends. rate 0: all in one write.
func runPublish([]string) error {
	conn, err := dialNATS()
	if err != nil {
		return err
	}
	if err := conn.flush(); err != nil {
		return err
	}
	say(map[string]string{"type": "ready"})
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		order := parseCommand(lines.Text())
		switch order.verb {
		case "pub":
			if err := publish(conn, order); err != nil {
				return err
			}
		case "quit":
			return nil
		default:
			return fmt.Errorf("%q is no command", lines.Text())
		}
	}
	return nil
}

func publish(conn *natsConn, order command) error {
	count := min(order.number("count", 1), maxEvents)
	size := int(min(order.number("size", 64), maxSize))
	first, rate := order.number("first", 1), order.number("rate", 0)
	writer := bufio.NewWriterSize(conn, 1<<20)
	started := now()
	var late int64
	for i := range count {
		if rate > 0 {
			due := started + i*int64(time.Second)/rate
			time.Sleep(time.Duration(due - now()))
			late = max(late, now()-due)
		}
		payload := stamped(first+i, now(), size)
		fmt.Fprintf(writer, "PUB %s %d\r\n%s\r\n", order.text("subject", "bench.a"), len(payload), payload)
		if rate > 0 {
			if err := writer.Flush(); err != nil {
				return err
			}
		}
	}
	if err := writer.Flush(); err != nil {
		return err
	}
	if err := conn.flush(); err != nil {
		return err
	}
	say(published{"published", count, ms(now() - started), ms(late)})
	return nil
}

// stamped is a payload that begins with the event's number and the time, filled up to a size in bytes.
func stamped(event, at int64, size int) string {
	text := fmt.Sprintf("%d %d ", event, at)
	return text + strings.Repeat("x", max(size-len(text), 0))
}
