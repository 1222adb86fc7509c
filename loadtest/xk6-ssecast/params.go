package ssecast

import (
	"errors"
	"fmt"
	"math"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/grafana/sobek"
	"go.k6.io/k6/js/common"
	"go.k6.io/k6/lib/types"
	"go.k6.io/k6/metrics"
)

// params reads the object that a function is called with. What it does not know it refuses: a misspelt option that is
// passed over would be a test of something else.
type params struct {
	function string
	runtime  *sobek.Runtime
	values   map[string]sobek.Value
	known    []string
	wrong    []error
}

func readParams(runtime *sobek.Runtime, function string, from sobek.Value) *params {
	p := &params{function: function, runtime: runtime, values: map[string]sobek.Value{}}
	if common.IsNullish(from) {
		return p
	}
	object := from.ToObject(runtime)
	for _, key := range object.Keys() {
		if value := object.Get(key); !common.IsNullish(value) {
			p.values[key] = value
		}
	}
	return p
}

// done returns what was wrong with them.
func (p *params) done() error {
	for key := range p.values {
		if !slices.Contains(p.known, key) {
			slices.Sort(p.known)
			p.fail("there is no option %q; there are %s", key, strings.Join(p.known, ", "))
		}
	}
	return errors.Join(p.wrong...)
}

func (p *params) fail(sentence string, values ...any) {
	p.wrong = append(p.wrong, fmt.Errorf("sse.%s: "+sentence, append([]any{p.function}, values...)...))
}

func (p *params) take(key string) (sobek.Value, bool) {
	p.known = append(p.known, key)
	value, given := p.values[key]
	return value, given
}

func (p *params) text(key, fallback string) string {
	if value, given := p.take(key); given {
		return value.String()
	}
	return fallback
}

func (p *params) flag(key string) bool {
	value, given := p.take(key)
	return given && value.ToBoolean()
}

// number takes one from least to most.
func (p *params) number(key string, fallback, least, most float64) float64 {
	value, given := p.take(key)
	if !given {
		return fallback
	}
	number := value.ToFloat()
	if math.IsNaN(number) || number < least || number > most {
		p.fail("%s must be a number from %g to %g, and is %s", key, least, most, value)
		return fallback
	}
	return number
}

// seconds takes a number of seconds, as k6's sleep does, or a text like "90s" or "1h30m".
func (p *params) seconds(key string, fallback time.Duration) time.Duration {
	value, given := p.take(key)
	if !given {
		return fallback
	}
	switch exported := value.Export().(type) {
	case int64:
		return p.checked(key, float64(exported))
	case float64:
		return p.checked(key, exported)
	case string:
		if duration, err := types.ParseExtendedDuration(exported); err == nil && duration >= 0 {
			return duration
		}
	}
	p.fail("%s must be a number of seconds or a text like \"90s\", and is %s", key, value)
	return fallback
}

const longest = 366 * 24 * time.Hour

func (p *params) checked(key string, seconds float64) time.Duration {
	if !(seconds >= 0 && seconds <= longest.Seconds()) {
		p.fail("%s must be a number of seconds from 0 to %g, and is %g", key, longest.Seconds(), seconds)
		return 0
	}
	return time.Duration(seconds * float64(time.Second))
}

func (p *params) oneOf(key string, words ...string) string {
	word := p.text(key, words[0])
	if !slices.Contains(words, word) {
		p.fail("%s is %q, and must be one of %s", key, word, strings.Join(words, ", "))
	}
	return word
}

// each calls for every element of a list.
func (p *params) each(key string, take func(*params)) {
	value, given := p.take(key)
	if !given {
		return
	}
	list := value.ToObject(p.runtime)
	if list.ClassName() != "Array" {
		p.fail("%s must be a list", key)
		return
	}
	for _, index := range list.Keys() {
		element := readParams(p.runtime, p.function+" "+key, list.Get(index))
		take(element)
		if err := element.done(); err != nil {
			p.wrong = append(p.wrong, err)
		}
	}
}

func (p *params) headers(key string) http.Header {
	out := http.Header{}
	if value, given := p.take(key); given {
		object := value.ToObject(p.runtime)
		for _, name := range object.Keys() {
			out.Set(name, object.Get(name).String())
		}
	}
	return out
}

func (p *params) tags(key string, add *metrics.TagsAndMeta) {
	if value, given := p.take(key); given {
		if err := common.ApplyCustomUserTags(p.runtime, add, value); err != nil {
			p.fail("%s: %w", key, err)
		}
	}
}

// address reads an http or https address.
func (p *params) address(key string) *url.URL {
	text := p.text(key, "")
	found, err := parseAddress(text)
	if err != nil {
		p.fail("%s: %w", key, err)
	}
	return found
}

func parseAddress(text string) (*url.URL, error) {
	found, err := url.Parse(text)
	if err != nil || found.Host == "" || found.Scheme != "http" && found.Scheme != "https" {
		return &url.URL{}, fmt.Errorf("%q is no http or https address", text)
	}
	return found, nil
}

// hostPort is where to connect to.
func hostPort(address *url.URL) string {
	port := address.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[address.Scheme]
	}
	return net.JoinHostPort(address.Hostname(), port)
}
