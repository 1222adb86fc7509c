// The end of a run: a few lines on the screen, and with SUMMARY=path the files path.json and path.html.

const FIGURES = [
  ['sse_streams_most', 'most streams open at once'],
  ['sse_opened', 'streams opened, reconnects included'],
  ['sse_reconnects', 'reconnects'],
  ['sse_reconnects_most', 'most of them in one second'],
  ['sse_storm', 'until all were back after a storm'],
  ['sse_turned_away', 'streams that a full pod turned away'],
  ['sse_published', 'events published'],
  ['sse_publish_retries', 'of those, tries that failed and were made again'],
  ['sse_publish_time', 'publishing'],
  ['sse_event', 'events delivered'],
  ['sse_replayed', 'of those, after a reconnect'],
  ['sse_lost', 'lost'],
  ['sse_duplicates', 'duplicated'],
  ['sse_out_of_order', 'out of order'],
  ['sse_gaps', 'gaps'],
  ['sse_gave_up', 'clients that gave up for good'],
  ['sse_never_begun', 'clients that never got a position'],
  ['sse_absent', 'clients without a stream at the end'],
  ['sse_unpublished', 'events that could not be published'],
  ['sse_refused', 'connections that brought no stream'],
  ['sse_first_byte', 'first byte'],
  ['sse_delay_p50', 'delivery, median'],
  ['sse_delay_p99', 'delivery, p99'],
  ['sse_delay_most', 'delivery, longest'],
  ['sse_delivery', 'delivery, of some at random'],
  ['uploads', 'uploads that were followed to their end'],
  ['polls', 'polls'],
  ['compared_cpu', 'CPU seconds of the servers'],
  ['http_reqs', 'HTTP requests'],
  ['data_received', 'received'],
  ['data_sent', 'sent'],
];

const grouped = (digits) => digits.replace(/\B(?=(\d{3})+$)/g, ',');
const rounded = (value) => (Number.isInteger(value) ? grouped(String(value)) : value.toFixed(value < 10 ? 2 : 1));

function shown(metric) {
  const unit = metric.contains === 'time' ? ' ms' : metric.contains === 'data' ? ' bytes' : '';
  const { values } = metric;
  if (metric.type === 'counter') return rounded(values.count) + unit;
  if (metric.type === 'gauge') return rounded(values.value) + unit;
  if (metric.type === 'rate') return `${(values.rate * 100).toFixed(2)} %`;
  return ['med', 'p(99)', 'max'].filter((name) => name in values).map((name) => `${name} ${rounded(values[name])}${unit}`).join(', ');
}

// Figures of a metric, and of its parts where thresholds name some: `sse_lost{scenario:live}`.
function rows(metrics) {
  const parts = (name) => Object.keys(metrics).filter((each) => each.startsWith(`${name}{`)).sort();
  return FIGURES.flatMap(([name, what]) => [name, ...parts(name)]
    .filter((each) => metrics[each])
    .map((each) => [`${what} ${each.slice(name.length)}`.trim(), shown(metrics[each]), each]));
}

function thresholds(metrics) {
  return Object.keys(metrics).sort().flatMap((name) => Object.entries(metrics[name].thresholds || {})
    .map(([threshold, { ok }]) => ({ metric: name, threshold, ok, value: shown(metrics[name]) })));
}

const escaped = (text) => String(text).replace(/[&<>"]/g, (char) => `&#${char.charCodeAt(0)};`);
const row = (...cells) => `<tr>${cells.map((cell) => `<td>${escaped(cell)}</td>`).join('')}</tr>`;

function page(result, figures) {
  const verdict = result.passed ? 'Passed' : 'Failed';
  return `<!doctype html>
<html lang="en"><meta charset="utf-8"><title>${escaped(result.scenario)}: ${verdict}</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse; margin: 1rem 0 2rem; width: 100% }
td { border-bottom: 1px solid #ccc; padding: .2rem .5rem; vertical-align: top }
.Passed { color: #1b5e20 } .Failed { color: #b71c1c }
</style>
<h1>${escaped(result.scenario)}: <span class="${verdict}">${verdict}</span></h1>
<p>${escaped(result.url)}, ${result.seconds.toFixed(0)} seconds</p>
<h2>Thresholds</h2>
<table>${result.thresholds.map((each) => row(each.ok ? '✓' : '✗', each.metric, each.threshold, each.value)).join('\n')}</table>
<h2>Figures</h2>
<table>${figures.map(([what, value, name]) => row(what, value, name)).join('\n')}</table>
</html>
`;
}

function lines(result, figures) {
  const failed = result.thresholds.filter((each) => !each.ok);
  const verdict = failed.length ? failed.map((each) => `${each.metric} ${each.threshold} (${each.value})`).join('; ') : 'every threshold was kept';
  const width = Math.max(...figures.map(([what]) => what.length));
  return [...figures.map(([what, value]) => `  ${what.padEnd(width)}  ${value}`), `${result.scenario}: ${verdict}`, ''].join('\n');
}

// A run that was ended before it began has no figures, and its one sentence is k6's last line.
export function summarise(scenario, url) {
  return (data) => {
    if (!data.metrics.sse_streams && !data.metrics.iterations) return { stdout: '' };
    const figures = rows(data.metrics);
    const judged = thresholds(data.metrics);
    const result = {
      scenario, url, seconds: data.state.testRunDurationMs / 1000, passed: judged.every((each) => each.ok), thresholds: judged,
      metrics: data.metrics,
    };
    const out = { stdout: lines(result, figures) };
    if (__ENV.SUMMARY) {
      out[`${__ENV.SUMMARY}.json`] = `${JSON.stringify(result, null, 1)}\n`;
      out[`${__ENV.SUMMARY}.html`] = page(result, figures);
    }
    return out;
  };
}
