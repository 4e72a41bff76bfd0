// The charts of the last minutes.

/* global uPlot */
import { byId, cssName, element, say, swatch } from "./elements.js";
import { clock, count, latency, milliseconds, rate } from "./text.js";
import { OUTCOMES, WINDOW_S, WOULD_REFUSE, outcomeRate, samples } from "./told.js";

const QUANTILES = [
  { key: "p50_ms", label: "p50", colour: "served", shape: "line" },
  { key: "p95_ms", label: "p95", colour: "refused", shape: "line" },
  { key: "p99_ms", label: "p99", colour: "server_errors", shape: "line" },
];

const colour = (key) => {
  // Resolved by the browser, so that the canvas gets what the page shows.
  const probe = element("span");
  probe.style.color = `var(--${cssName(key)})`;
  document.body.append(probe);
  const resolved = getComputedStyle(probe).color;
  probe.remove();
  return resolved;
};

/** A chart with a legend that shows the values under the cursor, or the newest. */
class Chart {
  constructor(id, series, kind) {
    Object.assign(this, { place: byId(id), legend: byId(`${id}-legend`), series, kind });
    this.when = element("li", "when");
    for (const { key, label, colour: other, shape } of series) {
      this.legend.append(element("li", "", swatch(other ?? key, shape), `${label} `, element("b", "")));
    }
    this.legend.append(this.when);
    this.build();
    new ResizeObserver(() => this.plot.setSize(this.size())).observe(this.place);
  }

  size() {
    return { width: this.place.clientWidth, height: this.place.clientHeight };
  }

  build() {
    this.plot?.destroy();
    const [faint, line] = [colour("faint"), colour("line")];
    const axis = { stroke: faint, grid: { stroke: line, width: 1 }, ticks: { stroke: line, width: 1, size: 4 }, font: "12px system-ui, sans-serif" };
    this.plot = new uPlot({
      ...this.size(),
      legend: { show: false },
      cursor: { y: false, points: { show: false }, drag: { x: false, y: false } },
      scales: {
        x: { range: () => { const end = samples.at(-1)?.at_ms / 1000 || Date.now() / 1000; return [end - WINDOW_S, end]; } },
        y: this.kind.scale,
      },
      axes: [
        { ...axis, size: 30, space: 70, values: (_, times) => times.map((time) => clock(time * 1000).slice(0, 5)), incrs: [60, 120, 300] },
        { ...axis, size: 62, ...this.kind.axis, grid: { ...axis.grid, ...this.kind.steps }, ticks: { ...axis.ticks, ...this.kind.steps } },
      ],
      series: [{}, ...this.kind.style(this.series)],
      hooks: { setCursor: [(plot) => this.showLegend(plot.cursor.idx)] },
    }, this.data(), this.place);
  }

  data() {
    return [samples.map((s) => s.at_ms / 1000), ...this.kind.of(this.series)];
  }

  show() {
    this.plot.setData(this.data());
    this.showLegend(this.plot.cursor.idx);
    const values = this.series.map(({ key, label }) => `${label} ${this.kind.text(key, samples.length - 1)}`);
    this.place.setAttribute("aria-label", samples.length ? `Now: ${values.join(", ")}` : "Nothing yet");
  }

  showLegend(index) {
    const at = index ?? samples.length - 1;
    this.series.forEach(({ key }, of) => say(this.legend.children[of].lastChild, samples[at] ? this.kind.text(key, at) : "–"));
    say(this.when, index == null || !samples[at] ? "" : `at ${clock(samples[at].at_ms)}`);
  }
}

/** Seconds without a sample are gaps: a line must not claim what nobody saw. */
const gapBefore = (index) => index > 0 && samples[index].at_ms - samples[index - 1].at_ms > 3000;

/** Steps of an axis that says whole numbers: 1, 2, 5, 10, 20, … */
const WHOLE_STEPS = Array.from({ length: 24 }, (_, at) => [1, 2, 5][at % 3] * 10 ** Math.floor(at / 3));

/** Outcomes that add up are areas on top of one another, the lowest painted last; the others are lines. */
const stacked = {
  scale: { range: (_, __, most) => [0, Math.max(1, (most ?? 0) * 1.1)] },
  axis: { incrs: WHOLE_STEPS, values: (_, values) => values.map(count) },
  text: (key, index) => `${rate(outcomeRate(key, index))} /s`,
  style: (series) => {
    const areas = series.filter((s) => !s.shape).reverse().map(({ key }) => ({ stroke: colour(key), fill: colour(key), width: 1, points: { show: false } }));
    const lines = series.filter((s) => s.shape).map(({ key }) => ({ stroke: colour(key), width: 2, dash: [6, 4], points: { show: false } }));
    return [...areas, ...lines];
  },
  of: (series) => {
    const sums = samples.map(() => 0);
    const areas = series.filter((s) => !s.shape).map(({ key }) => samples.map((s, at) => (gapBefore(at) ? null : (sums[at] += s.outcomes[key]))));
    const lines = series.filter((s) => s.shape).map(({ key }) => samples.map((s, at) => (gapBefore(at) ? null : s.outcomes[key])));
    return [...areas.reverse(), ...lines];
  },
};

/** Values without a neighbour, which no line would show. */
const alone = (plot, index) => plot.data[index].flatMap((value, at, all) => (value !== null && (all[at - 1] ?? all[at + 1] ?? null) === null ? [at] : []));

/** Whole powers of ten around the values, at least one of them. */
const powers = (least, most) => {
  if (!(least > 0)) return [1, 1000];
  const [low, high] = [Math.floor(Math.log10(least)), Math.ceil(Math.log10(most))];
  return [10 ** low, 10 ** Math.max(high, low + 1)];
};

const isPower = (value) => Number.isInteger(Math.round(Math.log10(value) * 1e6) / 1e6);
const onlyPowers = (_, values) => values.map((value) => (isPower(value) ? value : null));

/** Latencies differ by powers of ten. Where nothing was measured there is none. */
const logarithmic = {
  scale: { distr: 3, range: (_, least, most) => powers(least, most) },
  steps: { filter: onlyPowers },
  axis: {
    filter: onlyPowers,
    values: (_, values) => values.map((value) => (value === null ? "" : milliseconds(value))),
  },
  text: (key, index) => (samples[index].latency.requests ? latency(samples[index].latency[key]) : "–"),
  style: (series) => series.map(({ key, colour: other }) => {
    const stroke = colour(other ?? key);
    return { stroke, width: 1.5, points: { show: true, filter: alone, size: 4, width: 0, fill: stroke } };
  }),
  of: (series) => series.map(({ key }) => samples.map((s, at) => (gapBefore(at) || s.latency[key] === 0 ? null : s.latency[key]))),
};

let charts = [];

export function makeCharts() {
  charts = [
    new Chart("traffic", [...OUTCOMES, { ...WOULD_REFUSE, shape: "dash" }], stacked),
    new Chart("latency", QUANTILES, logarithmic),
  ];
}

export const showCharts = () => charts.forEach((chart) => chart.show());

/** In the colours that are now those of the page. */
export const rebuildCharts = () => charts.forEach((chart) => { chart.build(); chart.show(); });
