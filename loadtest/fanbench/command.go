package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// command is one line of stdin: a verb and key=value pairs.
type command struct {
	verb   string
	values map[string]string
}

func parseCommand(line string) command {
	words := strings.Fields(line)
	parsed := command{values: map[string]string{}}
	for i, word := range words {
		if i == 0 {
			parsed.verb = word
			continue
		}
		key, value, _ := strings.Cut(word, "=")
		parsed.values[key] = value
	}
	return parsed
}

func (c command) number(key string, fallback int64) int64 {
	value, given := c.values[key]
	if !given {
		return fallback
	}
	number, err := strconv.ParseInt(value, 10, 64)
	if err != nil {
		fmt.Fprintf(os.Stderr, "fanbench: %s %s=%s is no whole number\n", c.verb, key, value)
		os.Exit(2)
	}
	return number
}

func (c command) text(key, fallback string) string {
	if value, given := c.values[key]; given {
		return value
	}
	return fallback
}

// say writes one JSON line to stdout.
func say(what any) {
	line, err := json.Marshal(what)
	if err != nil {
		panic(err)
	}
	os.Stdout.Write(append(line, '\n'))
}
