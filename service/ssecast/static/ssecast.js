// EventSource that comes back. A bare one gives up for good after any HTTP error; Firefox also when first refused.

/** events: names to hear beside "message"; interval: ms; lastEventId: a position to go on from; refresh: runs before
 * each reconnect of our own and may return a new URL; onState: connecting, open, reconnecting, waiting or closed. */
export function subscribe(url, {
  subjects = [], events = [], interval, latest, lastEventId = "", withCredentials = false,
  onEvent, onGap, onState, refresh,
} = {}) {
  let source, state, timer, failures = 0;

  function address() {
    const full = new URL(url, globalThis.document?.baseURI ?? globalThis.location?.href);
    const query = full.searchParams;
    for (const subject of [].concat(subjects)) query.append("subject", subject);
    query.set("format", "json");
    if (interval) query.set("interval", interval);
    if (latest) query.set("latest", "true");
    if (lastEventId) query.set("last_event_id", lastEventId);
    return full;
  }

  function connect() {
    source = new EventSource(address(), { withCredentials });
    source.onopen = () => enter("open");
    source.onerror = () => (source.readyState === EventSource.CLOSED ? wait() : enter("reconnecting"));
    for (const name of new Set(["message"].concat(events))) listen(name, show);
    listen("gap", ({ data }) => call(onGap, JSON.parse(data)));
    listen("position");
    enter(state ? "reconnecting" : "connecting");
  }

  function listen(name, then) {
    source.addEventListener(name, (message) => {
      failures = 0; // not in onopen: a full server opens the stream too, and ends it
      lastEventId = message.lastEventId || lastEventId;
      then?.(message);
    });
  }

  const show = ({ data, lastEventId: id, type }) => call(onEvent, { ...JSON.parse(data), id, event: type });

  function wait() {
    const longest = Math.min(30_000, 1000 * 2 ** failures++);
    timer = setTimeout(reconnect, longest * (0.5 + Math.random() / 2));
    enter("waiting");
  }

  async function reconnect() {
    try {
      url = (await refresh?.()) ?? url;
      if (state !== "closed") connect();
    } catch (error) {
      report(error);
      if (state !== "closed") wait();
    }
  }

  function enter(next) {
    if (next === state || state === "closed") return;
    state = next;
    call(onState, state);
  }

  function close() {
    clearTimeout(timer);
    source.close();
    enter("closed");
  }

  connect();
  return { close, get lastEventId() { return lastEventId; }, get state() { return state; } };
}

function call(callback, value) {
  try {
    callback?.(value);
  } catch (error) {
    report(error);
  }
}

const report = (error) => queueMicrotask(() => { throw error; }); // reaches window.onerror, not our own frames
