// A hook that hears a stream of ssecast for as long as its component is shown. Copy this file; it needs nothing but React.
import { useEffect, useRef, useState } from "react";

export type StreamEvent = { id: string; name: string; data: string };
export type StreamState = "connecting" | "open" | "reconnecting";

/** Every event once. name: "message", "gap" (events are missing, data says which), or one of `names`, which publishers
 * give in the header Ssecast-Event. Another url or other names open another stream; no url opens none. */
export function useEvents(
  url: string | undefined,
  onEvent: (event: StreamEvent) => void,
  names: readonly string[] = [],
): StreamState {
  const [state, setState] = useState<StreamState>("connecting");
  const hear = useRef(onEvent);
  useEffect(() => { hear.current = onEvent; }); // each render brings a new function: no reason to open a new stream
  const heard = names.join(" ");
  useEffect(() => {
    if (url === undefined) return;
    setState("connecting");
    return follow(url, heard.split(" "), (event) => hear.current(event), setState);
  }, [url, heard]);
  return state;
}

/** The same without React; returns what ends it. An EventSource alone would give up for good after any HTTP error. */
export function follow(
  url: string,
  names: readonly string[],
  onEvent: (event: StreamEvent) => void,
  onState: (state: StreamState) => void,
): () => void {
  let source: EventSource;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let lastId = "";
  let failures = 0;

  function connect(): void {
    const address = new URL(url, document.baseURI);
    if (lastId) address.searchParams.set("last_event_id", lastId);
    source = new EventSource(address);
    source.onopen = () => onState("open");
    source.onerror = lost;
    for (const name of new Set(["message", "gap", "position", ...names])) if (name) source.addEventListener(name, take);
  }

  function take({ type, lastEventId, data }: MessageEvent<string>): void {
    failures = 0;
    lastId = lastEventId || lastId;
    if (type !== "position") onEvent({ id: lastId, name: type, data });
  }

  function lost(): void {
    onState("reconnecting");
    if (source.readyState !== EventSource.CLOSED) return; // it comes back by itself, when the pod said
    const most = Math.min(1000 * 2 ** failures++, 30_000);
    timer = setTimeout(connect, most * (0.5 + Math.random() / 2)); // spread, or all pages come back at once
  }

  connect();
  return () => {
    clearTimeout(timer);
    source.close();
  };
}
