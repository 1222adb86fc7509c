// Everyone reconnects: all connections are reset at once, as when a proxy is restarted, again and again.
import { NOTHING_WRONG, SECONDS, TRENDS, BASE, begin, fleet, number, publish, vu } from './lib/run.js';
import { summarise } from './lib/summary.js';

const LASTS = SECONDS(3);
const STREAMS = number('STREAMS', 2000, 1);
const STORMS = number('STORMS', 2, 1, 100);
const BACK = number('BACK', 30, 1); // seconds after which the last one must be back: the pods' `retry:` spreads them over some

export const options = {
  ...TRENDS,
  scenarios: { publisher: vu('publisher', LASTS), live: vu('live', LASTS) },
  thresholds: {
    ...NOTHING_WRONG,
    sse_storm: [`max<${BACK * 1000}`, 'min>0'],
    sse_reconnects: [`count>=${Math.floor(STREAMS * STORMS * 0.9)}`],
  },
};

export const setup = begin;
export const publisher = ({ run }) => { publish(run, LASTS, number('RATE', 10, 0.1)); };
export const live = ({ run }) => {
  const storms = Array.from({ length: STORMS }, (_, n) => ({ at: (LASTS * (n + 1)) / (STORMS + 1), share: 1 }));
  fleet(run, LASTS, STREAMS, { storms });
};
export const handleSummary = summarise('storm', BASE);
