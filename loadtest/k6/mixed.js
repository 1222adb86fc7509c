// All kinds of clients at once: plain ones, slow ones, stalled ones, some that are away for a while and come back, and many
// that ask for one subject of many.
import { NOTHING_WRONG, P99, SECONDS, SUBJECT, TRENDS, BASE, begin, fleet, number, publish, vu } from './lib/run.js';
import { summarise } from './lib/summary.js';

const LASTS = SECONDS(5);
const STREAMS = number('STREAMS', 1000, 20);
const SUBJECTS = number('SUBJECTS', 50, 1, 100000);
const RATE = number('RATE', 20, 0.1);
const SIZE = number('SIZE', 200, 0, 100000);
const share = (part) => Math.max(1, Math.round(STREAMS * part));

export const options = {
  ...TRENDS,
  scenarios: {
    publisher: vu('publisher', LASTS),
    plain: vu('plain', LASTS),
    slow: vu('slow', LASTS),
    stalled: vu('stalled', LASTS),
    resuming: vu('resuming', LASTS),
    subjects: vu('subjects', LASTS),
  },
  thresholds: {
    ...NOTHING_WRONG,
    'sse_delay_p99{scenario:plain}': [`value<${P99}`],
    'sse_delay_p99{scenario:subjects}': [`value<${P99}`],
    'sse_replayed{scenario:resuming}': ['count>0'],
    'sse_event{scenario:slow}': ['count>0'],
    'sse_event{scenario:stalled}': ['count>0'],
    'sse_event{scenario:subjects}': ['count>0'],
  },
};

export const setup = begin;
export const publisher = ({ run }) => {
  publish(run, LASTS, RATE, { subject: `${SUBJECT}.{i}`, subjects: SUBJECTS, size: SIZE });
};
export const plain = ({ run }) => { fleet(run, LASTS, share(0.4), { churn: 0.05 }); };
export const slow = ({ run }) => { fleet(run, LASTS, share(0.05), { slow: RATE * (SIZE + 100) * 3, receiveBuffer: 8192 }); };
export const stalled = ({ run }) => { fleet(run, LASTS, share(0.05), { stalls: 4, stallFor: 5, receiveBuffer: 8192 }); };
export const resuming = ({ run }) => { fleet(run, LASTS, share(0.1), { churn: 2, away: 10 }); };
export const subjects = ({ run }) => {
  fleet(run, LASTS, share(0.4), { query: `subject=${SUBJECT}.{i}`, subjects: SUBJECTS, count: 'subject' });
};
export const handleSummary = summarise('mixed', BASE);
