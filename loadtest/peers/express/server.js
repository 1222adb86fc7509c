// Peer `express`: the open responses in a set, and each event, made once, written to all of them.
import express from "express";
import { connect } from "nats";

const SUBJECT = "bench.>";
const HEARTBEAT_MS = 15_000; // as the pod's
const BUFFERED_BYTES = 256 * 1024; // whose socket has taken no more than that misses events, and nobody waits for them
const BACKLOG = 4096;

/** Subscribes, waits for `ready`, then listens; what is subscribed first misses no event for its clients. */
export async function serve(port, ready = async () => {}) {
  const clients = new Set();
  const broadcast = (text) => {
    for (const response of clients) if (response.writableLength < BUFFERED_BYTES) response.write(text);
  };

  const app = express();
  app.disable("x-powered-by");
  app.get("/events", (request, response) => {
    response.set({ "Content-Type": "text/event-stream", "Cache-Control": "no-cache" });
    response.flushHeaders();
    clients.add(response);
    request.on("close", () => clients.delete(response));
  });

  const nats = await connect({ servers: process.env.NATS_URL });
  pump(nats.subscribe(SUBJECT), broadcast);
  await nats.flush();
  setInterval(broadcast, HEARTBEAT_MS, ": heartbeat\n\n");
  await ready();
  app.listen(port, "127.0.0.1", BACKLOG);
}

async function pump(messages, broadcast) {
  let number = 0;
  for await (const message of messages) {
    number += 1;
    broadcast(`id: ${number}\ndata: ${message.string()}\n\n`);
  }
}
