package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
)

// benchSubjects is what every peer subscribes to.
const benchSubjects = "bench.>"

// natsConn speaks as much of NATS's client protocol as a benchmark on one machine needs; it does not reconnect.
type natsConn struct {
	net.Conn
	reader *bufio.Reader
}

func dialNATS() (*natsConn, error) {
	address := strings.TrimPrefix(os.Getenv("NATS_URL"), "nats://")
	if address == "" {
		return nil, fmt.Errorf("NATS_URL is not set")
	}
	socket, err := net.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	conn := &natsConn{socket, bufio.NewReaderSize(socket, 1<<20)}
	if line, err := conn.reader.ReadString('\n'); err != nil || !strings.HasPrefix(line, "INFO ") {
		return nil, fmt.Errorf("%s is no NATS server: %q %v", address, line, err)
	}
	_, err = io.WriteString(conn, `CONNECT {"verbose":false,"pedantic":false,"lang":"fanbench"}`+"\r\n")
	return conn, err
}

// subscribe returns when the server has the subscription.
func (c *natsConn) subscribe(subject string) error {
	if _, err := fmt.Fprintf(c, "SUB %s 1\r\n", subject); err != nil {
		return err
	}
	return c.flush()
}

// flush returns when the server has taken everything that was written. Only where no message can come in between.
func (c *natsConn) flush() error {
	if _, err := io.WriteString(c, "PING\r\n"); err != nil {
		return err
	}
	for {
		line, err := c.reader.ReadString('\n')
		if err != nil {
			return err
		}
		switch {
		case strings.HasPrefix(line, "PONG"):
			return nil
		case strings.HasPrefix(line, "PING"):
			if _, err := io.WriteString(c, "PONG\r\n"); err != nil {
				return err
			}
		case strings.HasPrefix(line, "-ERR"):
			return fmt.Errorf("NATS: %s", strings.TrimSpace(line))
		}
	}
}

// each calls handle with every payload, until the connection ends. The payload is the handler's to keep.
func (c *natsConn) each(handle func(payload []byte)) error {
	for {
		line, err := c.reader.ReadSlice('\n')
		if err != nil {
			return err
		}
		switch {
		case bytes.HasPrefix(line, []byte("MSG ")):
			payload, err := c.payload(line)
			if err != nil {
				return err
			}
			handle(payload)
		case bytes.HasPrefix(line, []byte("PING")):
			if _, err := io.WriteString(c, "PONG\r\n"); err != nil {
				return err
			}
		case bytes.HasPrefix(line, []byte("-ERR")):
			return fmt.Errorf("NATS: %s", bytes.TrimSpace(line))
		}
	}
}

func (c *natsConn) payload(line []byte) ([]byte, error) {
	line = bytes.TrimRight(line, "\r\n")
	size, err := strconv.Atoi(string(line[bytes.LastIndexByte(line, ' ')+1:]))
	if err != nil {
		return nil, fmt.Errorf("NATS: %q", line)
	}
	payload := make([]byte, size+2)
	_, err = io.ReadFull(c.reader, payload)
	return payload[:size], err
}
