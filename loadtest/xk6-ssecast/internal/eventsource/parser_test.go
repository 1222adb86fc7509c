package eventsource

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// read returns what a stream dispatches, each event as `id|name|data`, when reads cut it into pieces of a size.
func read(t *testing.T, p *Parser, wire string, size int) []string {
	t.Helper()
	var out []string
	for len(wire) > 0 {
		piece := wire[:min(size, len(wire))]
		wire = wire[len(piece):]
		err := p.Feed([]byte(piece), func(event Event) {
			out = append(out, fmt.Sprintf("%s|%s|%s", event.ID, event.Name, event.Data))
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return out
}

var streams = []struct {
	what, wire string
	want       []string
}{
	{"a message", "data: a\n\n", []string{"||a"}},
	{"lines of data are joined", "data: a\ndata\ndata:b\n\n", []string{"||a\n\nb"}},
	{"one space is taken away, and no more", "data:  a \n\n", []string{"|| a "}},
	{"all line ends", "data: a\r\rdata: b\r\n\r\ndata: c\n\ndata: d\r\n\n", []string{"||a", "||b", "||c", "||d"}},
	{"no other line ends", "data: a\u2028b\u0085c\vd\n\n", []string{"||a\u2028b\u0085c\vd"}},
	{"a byte order mark", "\uFEFFdata: a\n\n", []string{"||a"}},
	{"only one, and only at the beginning", "\uFEFF\uFEFFdata: a\n\ndata: b\n\n\uFEFFdata: c\n\n", []string{"||b"}},
	{"comments and fields that nobody knows", ":data: a\nx\ny: z\n\ndata: b\n\n", []string{"||b"}},
	{"an id stays", "id: 1\ndata: a\n\ndata: b\n\n", []string{"1||a", "1||b"}},
	{"an empty id resets it", "id: 1\ndata: a\n\nid\ndata: b\n\n", []string{"1||a", "||b"}},
	{"an id with NUL is none", "id: 1\ndata: a\n\nid: 2\x003\ndata: b\n\n", []string{"1||a", "1||b"}},
	{"a name is of one event", "event: x\ndata: a\n\ndata: b\n\n", []string{"|x|a", "||b"}},
	{"a name without data is forgotten", "event: x\n\ndata: a\n\n", []string{"||a"}},
	{"empty data is an event", "event: position\nid: e-5\ndata:\n\n", []string{"e-5|position|"}},
	{"without data there is no event", "event: x\nid: 7\n\n", nil},
	{"what has no end never was", "data: a\n\nid: 9\ndata: b\n", []string{"||a"}},
	{"names of fields are as they are", "Data: a\n data: b\ndata : c\n\ndata: d\n\n", []string{"||d"}},
}

func TestStreamsAreReadAsTheStandardSays(t *testing.T) {
	for _, each := range streams {
		for size := 1; size <= len(each.wire); size++ {
			p := NewParser("")
			if got := read(t, &p, each.wire, size); !slices.Equal(got, each.want) {
				t.Errorf("%s, in pieces of %d: %q instead of %q", each.what, size, got, each.want)
				break
			}
		}
	}
}

func TestTheIDOfABlockCountsWhenTheBlockIsComplete(t *testing.T) {
	p := NewParser("0")
	read(t, &p, "id: 1\ndata: a\n\nid: 2\ndata: b\n", 4)
	if got := string(p.LastID()); got != "1" {
		t.Errorf("it would go on after %q", got)
	}
	p.Restart()
	if got := read(t, &p, "data: c\n\nid: 3\n\n", 100); !slices.Equal(got, []string{"1||c"}) {
		t.Errorf("after a reconnect: %q", got)
	}
	if got := string(p.LastID()); got != "3" {
		t.Errorf("an id without data is not kept: %q", got)
	}
}

func TestARetryIsDigitsAndStays(t *testing.T) {
	for wire, want := range map[string]int64{
		"": DefaultRetry, "retry: 50\n": 50, "retry: 1.5\n": DefaultRetry, "retry: -1\n": DefaultRetry,
		"retry: +1\n": DefaultRetry, "retry:\n": DefaultRetry, "retry: 7\nretry: 7s\n": 7,
		"retry: 99999999999999999999\n": 9223372036854,
	} {
		p := NewParser("")
		read(t, &p, wire, 100)
		p.Restart()
		if p.Retry != want {
			t.Errorf("%q: %d instead of %d", wire, p.Retry, want)
		}
	}
}

func TestCommentsAreForThoseWhoWantThem(t *testing.T) {
	p := NewParser("")
	p.Comments = true
	var got []string
	if err := p.Feed([]byte(": alive\n\ndata: a\n\n"), func(event Event) {
		got = append(got, fmt.Sprintf("%s|%s", event.Comment, event.Data))
	}); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got, []string{"alive|", "|a"}) {
		t.Errorf("%q", got)
	}
}

func TestALargeEventIsReadAndItsMemoryGivenBack(t *testing.T) {
	p := NewParser("")
	large := strings.Repeat("x", 1<<20)
	got := read(t, &p, "data: "+large+"\n\n", 64<<10)
	if len(got) != 1 || got[0] != "||"+large {
		t.Error("it is not what was sent")
	}
	if cap(p.data) > keptSize || cap(p.line) > keptSize {
		t.Errorf("it keeps %d bytes", cap(p.data)+cap(p.line))
	}
}

func TestAnEventWithoutEndEndsTheStream(t *testing.T) {
	p := NewParser("")
	piece, err := []byte("data: "+strings.Repeat("x", 1<<20)+"\n"), error(nil)
	for range maxBlock>>20 + 1 {
		if err = p.Feed(piece, func(Event) {}); err != nil {
			break
		}
	}
	if !errors.Is(err, ErrTooLarge) {
		t.Errorf("%v", err)
	}
}

// reference reads a whole stream in the plainest way: line by line, with no pieces to care for.
func reference(wire string) (out []string) {
	text := strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(strings.TrimPrefix(wire, "\uFEFF"))
	lines := strings.Split(text, "\n")
	var id, name string
	var data []string
	for _, line := range lines[:len(lines)-1] {
		field, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch {
		case line == "":
			if data != nil {
				out = append(out, fmt.Sprintf("%s|%s|%s", id, name, strings.Join(data, "\n")))
			}
			name, data = "", nil
		case field == "data":
			data = append(data, value)
		case field == "event":
			name = value
		case field == "id" && !strings.Contains(value, "\x00"):
			id = value
		}
	}
	return out
}

func TestWhateverIsSentIsReadAsByAPlainReader(t *testing.T) {
	parts := []string{"data", "id", "event", ":", ": ", "\n", "\r", "\r\n", "\n\n", "a", "-1", "\x00", "é", "\uFEFF", "x\ny"}
	random := rand.New(rand.NewPCG(1, 2))
	for range 3000 {
		var wire strings.Builder
		for range 1 + random.IntN(40) {
			wire.WriteString(parts[random.IntN(len(parts))])
		}
		p := NewParser("")
		if got, want := read(t, &p, wire.String(), 1+random.IntN(9)), reference(wire.String()); !slices.Equal(got, want) {
			t.Fatalf("%q: %q instead of %q", wire.String(), got, want)
		}
	}
}

func TestAnAnswerIsAStreamOnlyWhereItSaysSo(t *testing.T) {
	for _, each := range []struct {
		status      int
		contentType string
		sentence    string
	}{
		{200, "text/event-stream", ""},
		{200, "Text/Event-Stream; charset=utf-8", ""},
		{200, "text/event-stream;", ""},
		{200, "text/html", "it answers with text/html, and not with text/event-stream"},
		{200, "", "it answers 200 without a Content-Type, and not with text/event-stream"},
		{200, "text/event-streams", "it answers with text/event-streams, and not with text/event-stream"},
		{503, "text/event-stream", "it answers 503 Service Unavailable"},
		{204, "", "it answers 204 No Content"},
	} {
		err := Judge(each.status, each.contentType)
		if sentence := fmt.Sprint(err); err == nil && each.sentence != "" || err != nil && sentence != each.sentence {
			t.Errorf("%d %q: %v", each.status, each.contentType, err)
		}
	}
	if !IsRedirect(307) || IsRedirect(304) {
		t.Error("which answers are redirects")
	}
}
