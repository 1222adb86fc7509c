// Many short streams, one subject each: a browser uploads a file, and watches how far the server has come with it. Each
// upload opens its stream, and each step is published only when the one before has been seen.
import exec from 'k6/execution';
import http from 'k6/http';
import { sleep } from 'k6';
import { Counter, Trend } from 'k6/metrics';
import sse from 'k6/x/ssecast';
import { HEADERS, P99, SECONDS, SUBJECT, TRENDS, BASE, begin, number } from './lib/run.js';
import { summarise } from './lib/summary.js';

const LASTS = SECONDS(2);
const UPLOADS = number('UPLOADS', 50, 1, 5000);
const STEPS = number('STEPS', 20, 1, 1000);
const PACE = number('PACE', 0.1, 0); // seconds between two steps
const PATIENCE = 30; // seconds that an upload may take beside its steps

const uploads = new Counter('uploads');
const lost = new Counter('sse_lost');
const duplicates = new Counter('sse_duplicates');
const gaveUp = new Counter('sse_gave_up');
const published = new Counter('sse_published');
const delivery = new Trend('sse_delivery', true);

export const options = {
  ...TRENDS,
  scenarios: { uploads: { executor: 'constant-vus', vus: UPLOADS, duration: `${LASTS}s`, gracefulStop: `${PATIENCE + STEPS * PACE}s` } },
  thresholds: {
    uploads: ['count>0'],
    sse_lost: ['count==0'],
    sse_duplicates: ['count==0'],
    sse_gave_up: ['count==0'],
    sse_delivery: [`p(99)<${P99}`],
  },
};

export const setup = begin;

// Until it is stored, as any publisher that means it: a pod that is just ending answers with an error.
function publish(subject, step) {
  const body = `${step} ${Date.now()}`;
  const headers = { ...HEADERS, 'Content-Type': 'text/plain', 'Idempotency-Key': `${subject}-${step}` };
  const until = Date.now() + PATIENCE * 1000;
  while (http.post(`${BASE}/publish/${subject}`, body, { headers, tags: { name: 'publish' } }).status !== 202) {
    if (Date.now() > until) return;
    sleep(0.1);
  }
  published.add(1);
}

export default function ({ run }) {
  if (exec.vu.iterationInScenario === 0) sleep((exec.vu.idInTest / UPLOADS) * Math.min(5, LASTS / 4)); // not all at once
  const subject = `${SUBJECT}.${run}-${exec.vu.idInTest}-${exec.vu.iterationInScenario}`;
  let seen = 0;
  let begun = false;
  const response = sse.open(
    `${BASE}/events?subject=${subject}`, { headers: HEADERS, reconnect: true, timeout: PATIENCE + STEPS * PACE, tags: { url: 'upload' } },
    (client) => client.on('event', (event) => {
      if (event.name === 'position' && !begun) {
        begun = true;
        publish(subject, 1);
      }
      if (event.name || !event.data) return;
      const [step, sent] = event.data.split(' ').map(Number);
      delivery.add(Date.now() - sent);
      if (step <= seen) duplicates.add(1);
      if (step > seen + 1) lost.add(step - seen - 1);
      seen = Math.max(seen, step);
      if (seen >= STEPS) {
        client.close();
        return;
      }
      sleep(PACE);
      publish(subject, seen + 1);
    }),
  );
  lost.add(STEPS - seen);
  duplicates.add(0);
  gaveUp.add(response.error ? 1 : 0);
  uploads.add(seen >= STEPS ? 1 : 0);
}

export const handleSummary = summarise('upload-progress', BASE);
