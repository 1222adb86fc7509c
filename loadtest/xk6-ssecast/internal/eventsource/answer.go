package eventsource

import (
	"fmt"
	"mime"
	"net/http"
)

// MostRedirects is how many an EventSource follows in a row (the Fetch standard, 4.5).
const MostRedirects = 20

// Fatal is an answer that ends an EventSource for good: it makes no further attempt.
type Fatal struct {
	Status      int
	ContentType string
}

func (f *Fatal) Error() string {
	if f.Status != http.StatusOK {
		return fmt.Sprintf("it answers %d %s", f.Status, http.StatusText(f.Status))
	}
	if f.ContentType == "" {
		return "it answers 200 without a Content-Type, and not with text/event-stream"
	}
	return fmt.Sprintf("it answers with %s, and not with text/event-stream", f.ContentType)
}

// Judge tells whether an answer is an event stream: 200 and that content type, whatever its parameters. Else it is a *Fatal.
func Judge(status int, contentType string) error {
	essence, _, err := mime.ParseMediaType(contentType)
	if status == http.StatusOK && essence == "text/event-stream" && (err == nil || err == mime.ErrInvalidMediaParameter) {
		return nil
	}
	return &Fatal{status, contentType}
}

// IsRedirect tells whether an EventSource asks again elsewhere.
func IsRedirect(status int) bool {
	switch status {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect,
		http.StatusPermanentRedirect:
		return true
	}
	return false
}
