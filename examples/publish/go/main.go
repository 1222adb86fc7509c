// publish SUBJECT PAYLOAD [NAME]: returns when the event is stored.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

func main() {
	url := os.Getenv("NATS_URL")
	if url == "" {
		url = nats.DefaultURL
	}
	client, err := nats.Connect(url)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	js, err := jetstream.New(client)
	if err != nil {
		log.Fatal(err)
	}
	event := nats.NewMsg(os.Args[1])
	event.Data = []byte(os.Args[2])
	if len(os.Args) > 3 {
		event.Header.Set("Ssecast-Event", os.Args[3]) // what pages listen to instead of "message"
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	stored, err := js.PublishMsg(ctx, event)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("stored as", stored.Sequence)
}
