// To the capacity and beyond: more streams come than there is room for. Who is turned away must be so in a way after which
// browsers come back, and those that are in must not notice. CAPACITY says how many must fit.
import { NOTHING_WRONG, P99, SECONDS, TRENDS, BASE, begin, fleet, number, publish, vu } from './lib/run.js';
import { summarise } from './lib/summary.js';

const LASTS = SECONDS(5);
const STREAMS = number('STREAMS', 12000, 1);
const CAPACITY = number('CAPACITY', 0, 0, STREAMS);
const thresholds = { ...NOTHING_WRONG };
delete thresholds.sse_never_begun; // those that are turned away all the time
delete thresholds.sse_absent; // likewise, in the end

export const options = {
  ...TRENDS,
  scenarios: { publisher: vu('publisher', LASTS), live: vu('live', LASTS) },
  thresholds: { ...thresholds, sse_delay_p99: [`value<${P99}`], sse_streams_most: [`value>=${CAPACITY || 1}`] },
};

export const setup = begin;
export const publisher = ({ run }) => { publish(run, LASTS, number('RATE', 2, 0.1)); };
export const live = ({ run }) => { fleet(run, LASTS, STREAMS, { ramp: LASTS * 0.8 }); };
export const handleSummary = summarise('ramp', BASE);
