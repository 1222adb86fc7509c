// Is everything in place? A few streams for a few seconds: make a habit of it after each deployment.
import { NOTHING_WRONG, P99, SECONDS, TRENDS, BASE, begin, fleet, number, publish, vu } from './lib/run.js';
import { summarise } from './lib/summary.js';

const LASTS = SECONDS(1 / 6);
const STREAMS = number('STREAMS', 50, 1);

export const options = {
  ...TRENDS,
  scenarios: { publisher: vu('publisher', LASTS), live: vu('live', LASTS) },
  thresholds: { ...NOTHING_WRONG, sse_delay_p99: [`value<${P99}`], sse_streams_most: [`value>=${STREAMS}`] },
};

export const setup = begin;
export const publisher = ({ run }) => { publish(run, LASTS, number('RATE', 10, 0.1)); };
export const live = ({ run }) => { fleet(run, LASTS, STREAMS); };
export const handleSummary = summarise('smoke', BASE);
