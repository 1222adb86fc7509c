// EventSource that comes back. A bare one gives up for good after any HTTP error; Firefox also when first refused.

const AFTER_GIVING_UP = [500, 1000]; // ms

/** events: names to hear beside "message"; interval: ms; lastEventId: a position to go on from; refresh: runs before
 * each reconnect, gets a new token and may return a new URL; retry: [least, most] ms before a reconnect with refresh;
 * onState: connecting, open, reconnecting, waiting or closed. */
export function subscribe(url, {
  subjects = [], events = [], interval, latest, lastEventId = "", withCredentials = false,
  onEvent, onGap, onState, refresh, retry = [2000, 6000],
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
    source.onerror = () => lost(source.readyState === EventSource.CLOSED);
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

  function lost(gaveUp) {
    if (gaveUp) return wait("waiting", AFTER_GIVING_UP);
    if (!refresh) return enter("reconnecting");
    source.close(); // by itself it would come back with the old token, and nobody learns the `retry:` it goes by
    wait("reconnecting", retry);
  }

  function wait(next, [least, most]) {
    const times = Math.min(2 ** failures++, 30_000 / most);
    timer = setTimeout(reconnect, times * (least + Math.random() * (most - least)));
    enter(next);
  }

  async function reconnect() {
    try {
      url = (await refresh?.()) ?? url;
      if (state !== "closed") connect();
    } catch (error) {
      report(error);
      if (state !== "closed") wait("waiting", AFTER_GIVING_UP);
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
