// The same information twice: pushed to open streams, and asked for every five seconds by as many clients. First the one and
// then the other, at the same rate of events. The polled server is loadtest/peers/polling.py (POLL_URL); both tell their CPU
// time as Prometheus metrics (METRICS, POLL_METRICS: addresses, separated by commas).
import exec from 'k6/execution';
import http from 'k6/http';
import { sleep } from 'k6';
import { Counter, Trend } from 'k6/metrics';
import { BASE, HEADERS, NOTHING_WRONG, P99, SECONDS, SETTLE, SUBJECT, TRENDS, begin, fleet, number, publish, vu } from './lib/run.js';
import { summarise } from './lib/summary.js';

const LASTS = SECONDS(2); // of each
const CLIENTS = number('STREAMS', 500, 1);
const EVERY = number('EVERY', 5, 0.1); // seconds between two polls of a client
const RATE = number('RATE', 2, 0.01);
const POLLERS = Math.min(50, CLIENTS); // VUs, each of which asks for many clients
const POLL = (__ENV.POLL_URL || 'http://127.0.0.1:8090').replace(/\/+$/, '');

const polls = new Counter('polls');
const missed = new Counter('polls_missed');
const freshness = new Trend('delivery_polled', true);
const cpu = new Counter('compared_cpu');

// When the streams are gone.
const afterwards = { startTime: `${LASTS + SETTLE + 5}s` };

export const options = {
  ...TRENDS,
  scenarios: {
    publisher: vu('publisher', LASTS, { tags: { side: 'publisher' } }),
    streams: vu('streams', LASTS, { tags: { side: 'streams' } }),
    meter: vu('meter', LASTS, { tags: { side: 'meter' } }),
    publisherPolled: vu('publisherPolled', LASTS, { ...afterwards, tags: { side: 'publisher' } }),
    polling: vu('polling', LASTS, { ...afterwards, vus: POLLERS, tags: { side: 'polling' } }),
    meterPolled: vu('meterPolled', LASTS, { ...afterwards, tags: { side: 'meter' } }),
  },
  thresholds: {
    ...NOTHING_WRONG,
    sse_delay_p99: [`value<${P99}`],
    polls_missed: ['count==0'],
    polls: ['count>0'],
    // Nothing can cross these: k6 tells the parts of a metric only where a threshold names them.
    'sse_opened{side:streams}': ['count>0'],
    'http_reqs{side:polling}': ['count>0'],
    'data_received{side:streams}': ['count>0'],
    'data_received{side:polling}': ['count>0'],
    'data_sent{side:streams}': ['count>0'],
    'data_sent{side:polling}': ['count>0'],
    'compared_cpu{side:streams}': ['count>=0'],
    'compared_cpu{side:polling}': ['count>=0'],
  },
};

export function setup() {
  const data = begin();
  const answer = http.get(`${POLL}/events/since/0`);
  if (answer.status !== 200 && answer.status !== 204) {
    exec.test.abort(`${POLL}: nothing can be polled there (${answer.error || `it answers ${answer.status}`}): start loadtest/peers/polling.py`);
  }
  return data;
}

function cpuSeconds(addresses) {
  return (addresses || '').split(',').filter(Boolean).map((address) => {
    const found = /^process_cpu_seconds_total (\S+)/m.exec(http.get(address).body || '');
    return found ? Number(found[1]) : 0;
  }).reduce((sum, each) => sum + each, 0);
}

export const publisher = ({ run }) => { publish(run, LASTS, RATE); };
export const publisherPolled = ({ run }) => { publish(`${run}p`, LASTS, RATE, { subject: `${SUBJECT}.polled` }); };

export const streams = ({ run }) => { fleet(run, LASTS, CLIENTS); };
export const meter = () => measure('streams', __ENV.METRICS);
export const meterPolled = () => measure('polling', __ENV.POLL_METRICS);

// What a side costs its servers, from its beginning to its end; those of the streams also take what is published.
function measure(side, addresses) {
  const before = cpuSeconds(addresses);
  sleep(LASTS);
  cpu.add(cpuSeconds(addresses) - before, { side });
}

// One of these asks for CLIENTS / POLLERS clients, one after the other, each as often as it should be.
export function polling({ run }) {
  const clients = [];
  for (let n = exec.scenario.iterationInTest; n < CLIENTS; n += POLLERS) clients.push({ after: 'now', had: 0 });
  missed.add(0);
  const until = Date.now() + LASTS * 1000;
  for (let round = Date.now(); round < until; round += EVERY * 1000) {
    clients.forEach((client, n) => {
      sleep(Math.max(0, (round + (EVERY * 1000 * n) / clients.length - Date.now()) / 1000));
      poll(client, run);
    });
  }
}

function poll(client, run) {
  const answer = http.get(`${POLL}/events/since/${client.after}`, { headers: HEADERS, tags: { name: 'poll' } });
  polls.add(1);
  if (answer.status === 204) return;
  if (answer.status !== 200) {
    missed.add(1);
    return;
  }
  const { last, events } = answer.json();
  client.after = last;
  events.map((event) => event.split(' ')).filter(([name]) => name === `${run}p`).forEach(([, count, , sent]) => {
    freshness.add(Date.now() - Number(sent) / 1000);
    if (client.had && Number(count) !== client.had + 1) missed.add(1);
    client.had = Number(count);
  });
}

export const handleSummary = summarise('polling', BASE);
