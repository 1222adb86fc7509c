// Hours of ordinary life: events at a steady rate, some clients whose network fails, some that read slowly.
import { NOTHING_WRONG, P99, SECONDS, TRENDS, BASE, begin, fleet, number, publish, vu } from './lib/run.js';
import { summarise } from './lib/summary.js';

const LASTS = SECONDS(60);
const STREAMS = number('STREAMS', 2000, 1);
const SLOW = Math.max(1, Math.round(STREAMS * number('SLOW', 0.02, 0, 1)));
const CHURN = number('CHURN', 5, 0, 6000) / 100; // percent of the streams that are cut within a minute
const RATE = number('RATE', 10, 0.1);
const SIZE = number('SIZE', 200, 0, 100000);

export const options = {
  ...TRENDS,
  scenarios: { publisher: vu('publisher', LASTS), live: vu('live', LASTS), slow: vu('slow', LASTS) },
  thresholds: {
    ...NOTHING_WRONG,
    'sse_delay_p99{scenario:live}': [`value<${P99}`],
    'sse_streams_most{scenario:live}': [`value>=${STREAMS}`],
  },
};

export const setup = begin;
export const publisher = ({ run }) => { publish(run, LASTS, RATE, { size: SIZE }); };
export const live = ({ run }) => { fleet(run, LASTS, STREAMS, { churn: CHURN }); };
// They read three times what they are sent, in small portions: behind after each burst, and never so for long.
export const slow = ({ run }) => { fleet(run, LASTS, SLOW, { slow: RATE * (SIZE + 100) * 3, receiveBuffer: 8192 }); };
export const handleSummary = summarise('soak', BASE);
