// What all scenarios share: the settings in the environment, how a VU is set up, and the thresholds that nobody may cross.
import exec from 'k6/execution';
import sse from 'k6/x/ssecast';

// A setting that is no number from least to most ends the run with a sentence.
export function number(name, fallback, least = 0, most = Infinity) {
  const text = __ENV[name];
  if (text === undefined || text === '') return fallback;
  const value = Number(text);
  if (!(value >= least && value <= most)) {
    exec.test.abort(`${name}=${text}: it must be a number from ${least} to ${most}`);
  }
  return value;
}

export const BASE = (__ENV.URL || 'http://127.0.0.1:8080').replace(/\/+$/, '');
export const SUBJECT = __ENV.SUBJECT || 'events.soak';
export const HEADERS = __ENV.TOKEN ? { Authorization: `Bearer ${__ENV.TOKEN}` } : {};
export const SECONDS = (minutes) => Math.round(number('MINUTES', minutes, 0.05, 60 * 24 * 30) * 60);
export const P99 = number('P99', 1000, 1);

export const SETTLE = number('SETTLE', 60, 1); // seconds, at most, in which everybody gets what is still owed
const SPARE = 120; // beside that, before k6 ends a VU that does not end by itself

// One VU that runs a function once: it holds thousands of streams, or publishes to all of them.
export function vu(run, seconds, more = {}) {
  return {
    executor: 'per-vu-iterations', vus: 1, iterations: 1, exec: run, maxDuration: `${seconds + SETTLE + SPARE}s`,
    gracefulStop: '30s', ...more,
  };
}

// Events on subjects below SUBJECT, one after the other, through the pods' own address. An answer after which nothing more can
// be published ends the run: the streams would go on, and lose nothing of nothing.
export function publish(run, seconds, rate, more = {}) {
  try {
    return sse.publish({ url: BASE, run, headers: HEADERS, duration: seconds, rate, subject: `${SUBJECT}.a`, ...more });
  } catch (wrong) {
    return exec.test.abort(wrong.message || String(wrong));
  }
}

// EventSources that ask for everything below SUBJECT, unless `query` says otherwise.
export function fleet(run, seconds, streams, { query = `subject=${SUBJECT}.%3E`, ...more } = {}) {
  return sse.fleet({
    url: `${BASE}/events?${query}`, run, headers: HEADERS, streams, duration: seconds, settle: SETTLE,
    ramp: Math.min(seconds / 4, streams / number('OPENS_PER_SECOND', 500, 1)), ...more,
  });
}

// Whether a pod is there that stores and sends what is published: if not, the run ends at once, with one sentence.
export function begin() {
  const wrong = sse.probe({
    url: BASE, path: `/events?subject=${SUBJECT}.probe`, subject: `${SUBJECT}.probe`, headers: HEADERS, publishHeaders: HEADERS,
  });
  if (wrong) exec.test.abort(wrong);
  return { run: Date.now().toString(36) };
}

// What must be zero wherever it is counted, and what must not be.
export const NOTHING_WRONG = {
  sse_lost: ['count==0'],
  sse_duplicates: ['count==0'],
  sse_out_of_order: ['count==0'],
  sse_malformed: ['count==0'],
  sse_gaps: ['count==0'],
  sse_gave_up: ['count==0'],
  sse_never_begun: ['count==0'],
  sse_absent: ['count==0'],
  sse_event: ['count>0'],
  sse_published: ['count>0'],
  sse_unpublished: ['count==0'],
};

export const TRENDS = { summaryTrendStats: ['count', 'med', 'p(99)', 'max'] };
