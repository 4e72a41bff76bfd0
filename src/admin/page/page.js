// The live page. It follows /events, and shows what that says. Values that come from clients are only ever inserted as text.
"use strict";

const WINDOW_S = 300;
const RATE_SAMPLES = 10;
const SILENCE_MS = 5000;
const RETRY_MS = 2000;

const OUTCOMES = [
  { key: "served", label: "Served", note: "below 400" },
  { key: "refused", label: "Refused", note: "by a limit" },
  { key: "client_errors", label: "Client errors", note: "other 4xx" },
  { key: "server_errors", label: "Server errors", note: "5xx" },
];
const WOULD_REFUSE = { key: "would_refuse", label: "Would refuse", note: "dry run", dashed: true };
const QUANTILES = [
  { key: "p50_ms", label: "p50", colour: "served" },
  { key: "p95_ms", label: "p95", colour: "refused" },
  { key: "p99_ms", label: "p99", colour: "server_errors" },
];

// --- Text -----------------------------------------------------------------------------------------------------------

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const compact = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
const count = (n) => (n < 1e6 ? whole.format(n) : compact.format(n));
const rate = (n) => {
  if (n === null) return "–";
  if (n === 0) return "0";
  return n < 10 ? n.toFixed(1) : count(n);
};
const latency = (ms) => (ms === 0 ? "–" : milliseconds(ms));
const milliseconds = (ms) => {
  if (ms === 0) return "0";
  if (ms < 1) return `${Math.round(ms * 1000)} µs`;
  if (ms < 1000) return `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`;
  return `${(ms / 1000).toFixed(1)} s`;
};
const duration = (s) => {
  const units = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
  const at = Math.max(0, units.findIndex(([length]) => s >= length));
  const first = s < 1 ? 3 : at;
  const [length, unit] = units[first];
  const rest = first + 1 < units.length ? Math.floor((s % length) / units[first + 1][0]) : 0;
  return `${Math.floor(s / length)} ${unit}${rest ? ` ${rest} ${units[first + 1][1]}` : ""}`;
};
const clock = (time) => new Date(time).toLocaleTimeString("en-GB");
const moment = (time) => {
  const date = new Date(time);
  const today = date.toDateString() === new Date().toDateString();
  return today ? clock(time) : `${date.toLocaleDateString("en-CA")} ${clock(time)}`;
};

// --- Elements -------------------------------------------------------------------------------------------------------

const byId = (id) => document.getElementById(id);
const cssName = (key) => key.replace("_", "-");

/** An element with these classes and children; strings become text. */
function element(name, classes, ...children) {
  const made = document.createElement(name);
  if (classes) made.className = classes;
  made.append(...children);
  return made;
}

/** Sets what differs, so that nothing is announced or selected anew that stays as it is. */
function say(node, text, classes) {
  if (node.textContent !== text) node.textContent = text;
  if (classes !== undefined && node.className !== classes) node.className = classes;
}

/** Makes the children of a list those of `items`, in their order, keeping each that is there. */
function keep(list, items, make, update) {
  const known = new Map([...list.children].map((child) => [child.dataset.name, child]));
  items.forEach(([name, item], index) => {
    const child = known.get(name) ?? make(name, item);
    known.delete(name);
    child.dataset.name = name;
    if (list.children[index] !== child) list.insertBefore(child, list.children[index] ?? null);
    update(child, item, name);
  });
  known.forEach((child) => child.remove());
}

function swatch(key, shape) {
  const made = element("span", `swatch ${shape ?? ""}`);
  made.style.setProperty("--swatch", `var(--${cssName(key)})`);
  return made;
}

// --- What has been told ---------------------------------------------------------------------------------------------

let samples = [];
let lastEventAt = 0;
/** Requests of each route, and calls to the store of shared limits, at the last few events, for their rates. */
let counts = [];

function addSample(sample) {
  const last = samples.at(-1);
  if (!sample || (last && sample.at_ms <= last.at_ms)) return;
  samples.push(sample);
  if (samples.length > WINDOW_S) samples.shift();
}

const ratesOf = (key) => {
  const recent = samples.slice(-RATE_SAMPLES);
  return recent.length ? recent.reduce((sum, s) => sum + s.outcomes[key], 0) / recent.length : null;
};

function routeRate(name) {
  const [first, last] = [counts[0], counts.at(-1)];
  const seconds = (last.at - first.at) / 1000;
  if (seconds < 0.5 || !first.routes.has(name)) return null;
  return Math.max(0, last.routes.get(name) - first.routes.get(name)) / seconds;
}

/** Calls a second with this outcome, or what else is counted of shared limits. */
function sharedRate(key) {
  const [first, last] = [counts[0], counts.at(-1)];
  const seconds = (last.at - first.at) / 1000;
  if (seconds < 0.5 || !(key in first.shared)) return null;
  return Math.max(0, last.shared[key] - first.shared[key]) / seconds;
}

// --- Tiles ----------------------------------------------------------------------------------------------------------

function tile(id, label) {
  const big = element("dd", "big");
  const sub = element("dd", "sub");
  big.id = id;
  sub.id = `${id}-sub`;
  const made = element("div", "tile", element("dt", "", label), big, sub);
  byId("tiles").append(made);
  return made;
}

function makeTiles() {
  tile("requests", "Requests");
  for (const { key, label } of [...OUTCOMES, WOULD_REFUSE]) {
    tile(key, label).style.setProperty("--swatch", `var(--${cssName(key)})`);
  }
  tile("latency-p95", "Latency, 95 %");
  tile("in-flight", "In flight");
}

function perSecond(node, value) {
  node.replaceChildren(rate(value), element("small", "", value === null ? "" : " /s"));
}

function showTiles(now) {
  const total = now.stats.total;
  const outcomes = OUTCOMES.map(({ key }) => ratesOf(key));
  perSecond(byId("requests"), outcomes.includes(null) ? null : outcomes.reduce((a, b) => a + b));
  say(byId("requests-sub"), `${count(total.requests)} in all`);
  for (const { key, note } of [...OUTCOMES, WOULD_REFUSE]) {
    perSecond(byId(key), ratesOf(key));
    say(byId(`${key}-sub`), `${count(total.outcomes[key])} · ${note}`);
  }
  say(byId("latency-p95"), latency(now.latency.p95_ms));
  say(byId("latency-p95-sub"), `p50 ${latency(now.latency.p50_ms)} · p99 ${latency(now.latency.p99_ms)}`);
  say(byId("in-flight"), count(total.in_flight));
  say(byId("in-flight-sub"), "at this moment");
}

// --- Charts ---------------------------------------------------------------------------------------------------------

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
  constructor(id, series, axisText, legendText, columns) {
    Object.assign(this, { place: byId(id), legend: byId(`${id}-legend`), series, axisText, legendText, columns });
    for (const { key, label, colour: other, shape } of series) {
      this.legend.append(element("li", "", swatch(other ?? key, shape), `${label} `, element("b", "")));
    }
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
        y: { range: (_, __, most) => [0, Math.max(1, (most ?? 0) * 1.1)] },
      },
      axes: [
        { ...axis, size: 30, space: 70, values: (_, times) => times.map((time) => clock(time * 1000).slice(0, 5)), incrs: [60, 120, 300] },
        { ...axis, size: 62, values: (_, values) => values.map(this.axisText), incrs: this.columns.incrs },
      ],
      series: [{}, ...this.columns.style(this.series)],
      hooks: { setCursor: [(plot) => this.showLegend(plot.cursor.idx)] },
    }, this.data(), this.place);
  }

  data() {
    return [samples.map((s) => s.at_ms / 1000), ...this.columns.of(this.series)];
  }

  show() {
    this.plot.setData(this.data());
    this.showLegend(this.plot.cursor.idx);
    const values = this.series.map(({ key, label }) => `${label} ${this.legendText(key, samples.at(-1))}`);
    this.place.setAttribute("aria-label", samples.length ? `Now: ${values.join(", ")}` : "Nothing yet");
  }

  showLegend(index) {
    const sample = samples[index ?? samples.length - 1];
    [...this.legend.children].forEach((item, at) => {
      say(item.lastChild, sample ? this.legendText(this.series[at].key, sample) : "–");
    });
  }
}

/** Seconds without a sample are gaps: a line must not claim what nobody saw. */
const gapBefore = (index) => index > 0 && samples[index].at_ms - samples[index - 1].at_ms > 3000;

/** Steps of an axis that says whole numbers: 1, 2, 5, 10, 20, … */
const WHOLE_STEPS = Array.from({ length: 24 }, (_, at) => [1, 2, 5][at % 3] * 10 ** Math.floor(at / 3));

/** Outcomes that add up are areas on top of one another, the lowest painted last; the others are lines. */
const stacked = {
  incrs: WHOLE_STEPS,
  style: (series) => {
    const areas = series.filter((s) => !s.dashed).reverse().map(({ key }) => ({ stroke: colour(key), fill: colour(key), width: 1, points: { show: false } }));
    const lines = series.filter((s) => s.dashed).map(({ key }) => ({ stroke: colour(key), width: 2, dash: [6, 4], points: { show: false } }));
    return [...areas, ...lines];
  },
  of: (series) => {
    const sums = samples.map(() => 0);
    const areas = series.filter((s) => !s.dashed).map(({ key }) => samples.map((s, at) => (gapBefore(at) ? null : (sums[at] += s.outcomes[key]))));
    const lines = series.filter((s) => s.dashed).map(({ key }) => samples.map((s, at) => (gapBefore(at) ? null : s.outcomes[key])));
    return [...areas.reverse(), ...lines];
  },
};

/** Values without a neighbour, which no line would show. */
const alone = (plot, index) => plot.data[index].flatMap((value, at, all) => (value !== null && (all[at - 1] ?? all[at + 1] ?? null) === null ? [at] : []));

/** A second without requests has no latency. */
const lines = {
  style: (series) => series.map(({ key, colour: other }) => {
    const stroke = colour(other ?? key);
    return { stroke, width: 1.5, points: { show: true, filter: alone, size: 4, width: 0, fill: stroke } };
  }),
  of: (series) => series.map(({ key }) => samples.map((s, at) => (gapBefore(at) || s.latency[key] === 0 ? null : s.latency[key]))),
};

let charts = [];

function makeCharts() {
  const traffic = [...OUTCOMES, { ...WOULD_REFUSE, shape: "dash" }];
  const quantiles = QUANTILES.map((quantile) => ({ ...quantile, shape: "line" }));
  charts = [
    new Chart("traffic", traffic, count, (key, sample) => count(sample.outcomes[key]), stacked),
    new Chart("latency", quantiles, milliseconds, (key, sample) => latency(sample.latency[key]), lines),
  ];
}

// --- Routes, limits, upstreams --------------------------------------------------------------------------------------

const ROUTE_COLUMNS = [
  ["", (_, name) => rate(routeRate(name))],
  ["wide", (r) => count(r.requests)],
  ["wide", (r) => count(r.outcomes.served)],
  ["refused", (r) => count(r.outcomes.refused)],
  ["wide", (r) => count(r.outcomes.would_refuse)],
  ["client-errors", (r) => count(r.outcomes.client_errors)],
  ["server-errors", (r) => count(r.outcomes.server_errors)],
  ["wide", (r) => count(r.in_flight)],
  ["wide", (r) => latency(r.latency.p50_ms)],
  ["", (r) => latency(r.latency.p95_ms)],
  ["wide", (r) => latency(r.latency.p99_ms)],
];

function showRoutes(routes) {
  const busiest = Object.entries(routes).sort(([a, x], [b, y]) => y.requests - x.requests || a.localeCompare(b));
  const shown = busiest.filter(([name, route]) => name || route.requests);
  const make = (name) => {
    const head = element("th", "", name || "(no route)");
    head.scope = "row";
    return element("tr", "", head, ...ROUTE_COLUMNS.map(() => element("td")));
  };
  keep(document.querySelector("#routes tbody"), shown, make, (row, route, name) => {
    ROUTE_COLUMNS.forEach(([classes, text], at) => {
      const value = text(route, name);
      say(row.children[at + 1], value, `n ${classes} ${["0", "–"].includes(value) ? "zero" : "some"}`);
    });
  });
}

/** A card that is made anew from its parts, but only when they differ. */
function showCards(id, entries, nothing, parts) {
  const list = byId(id);
  const items = entries.length ? entries : [["", null]];
  keep(list, items, () => element("li"), (card, item, name) => {
    const said = JSON.stringify(item);
    if (card.dataset.said === said) return;
    card.dataset.said = said;
    card.className = item ? "card" : "none";
    card.replaceChildren(...(item ? parts(name, item) : [nothing]));
  });
}

function facts(pairs) {
  const list = element("dl");
  for (const [label, value, classes] of pairs) {
    list.append(element("div", "", element("dt", "", label), element("dd", classes ?? "", count(value))));
  }
  return list;
}

function table(label, rows) {
  const body = element("tbody");
  for (const cells of rows) body.append(element("tr", "", ...cells));
  const made = element("table", "", body);
  made.setAttribute("aria-label", label);
  return made;
}

function limitParts(name, limit) {
  const some = (n, classes) => (n ? `some ${classes}` : "zero");
  const parts = [
    element("header", "", element("h3", "", name), ...(limit.shared ? [element("span", "pill", "shared")] : [])),
    facts([
      ["Allowed", limit.allowed],
      ["Refused", limit.refused, some(limit.refused, "refused")],
      ["Would refuse", limit.would_refuse, some(limit.would_refuse, "refused")],
      ["Exempt", limit.exempt, some(limit.exempt, "")],
    ]),
  ];
  if (limit.capacity === null) {
    parts.push(element("p", "", `${count(limit.clients)} clients have requests running`));
  } else {
    const meter = element("meter");
    Object.assign(meter, { min: 0, max: limit.capacity, value: limit.clients });
    Object.assign(meter, { low: limit.capacity * 0.7, high: limit.capacity * 0.9, optimum: 0 });
    const share = `${count(limit.clients)} of ${count(limit.capacity)} buckets in use`;
    meter.setAttribute("aria-label", share);
    const overflow = limit.overflowed ? `; ${count(limit.overflowed)} requests shared an overflow bucket` : "";
    parts.push(meter, element("p", limit.overflowed ? "bad" : "", share + overflow));
  }
  if (limit.shared) {
    const { leased, spent, returned, alone } = limit.shared;
    parts.push(element("h4", "", "Tokens of this gateway"), facts([
      ["Leased", leased],
      ["Spent", spent],
      ["Returned", returned],
      ["Decided alone", alone, some(alone, "refused")],
    ]));
  }
  if (limit.offenders.length) {
    const isEnforced = limit.offenders.some((offender) => offender.refused_last_minute);
    const whom = `${isEnforced ? "Refused" : "Would have refused"} most in the last minute`;
    parts.push(element("h4", "", whom));
    parts.push(table(whom, limit.offenders.map((offender) => [
      element("td", "key", offender.key.join(" · ")),
      element("td", "n", count(offender.refused_last_minute + offender.would_refuse_last_minute)),
    ])));
  }
  return parts;
}

const STATES = {
  up: ["● up", "good"],
  trial: ["◐ on trial", ""],
  refusing: ["▲ refusing", "bad"],
  ejected: ["▲ ejected", "bad"],
  unhealthy: ["▲ unhealthy", "bad"],
  unresolved: ["▲ no address", "bad"],
};

function upstreamParts(name, upstream) {
  const parts = [element("header", "", element("h3", "", name),
    element("span", `pill ${upstream.usable ? "good" : "bad"}`, upstream.usable ? "usable" : "no usable server"))];
  parts.push(table(`Servers of ${name}`, upstream.servers.map(({ server, address, state, in_flight }) => {
    const [text, classes] = STATES[state] ?? [state, ""];
    const shown = address && address !== server ? `${server} (${address})` : server;
    return [element("td", "key", shown), element("td", classes, text), element("td", "n", `${count(in_flight)} running`)];
  })));
  const errors = Object.entries(upstream.errors).filter(([, n]) => n > 0).map(([kind, n]) => `${count(n)} ${kind}`);
  const failed = errors.length ? `Errors: ${errors.join(", ")}. ` : "No errors. ";
  parts.push(element("p", errors.length ? "bad" : "", `${failed}Retries: ${count(upstream.retries)}.`));
  return parts;
}

// --- The store of shared limits -------------------------------------------------------------------------------------

const CALLS = [
  ["answered", "answered"],
  ["timed_out", "not answered in time"],
  ["failed", "refused, or the connection was lost"],
  ["not_made", "not made, since it is down"],
];

/** Decisions about requests that shared limits have made without the store. */
const decidedAlone = (limits) => Object.values(limits).reduce((sum, limit) => sum + (limit.shared?.alone ?? 0), 0);

function storeParts(_, { up, gateways, latency: took, rows, alone, aloneRate }) {
  const parts = [element("header", "", element("h3", "", "Calls"), element("span", `pill ${up ? "good" : "bad"}`, up ? "● up" : "▲ down"))];
  parts.push(table("Calls to the store by outcome", rows.map(([label, perSecond, all, isBad]) => [
    element("td", "", label),
    element("td", `n ${isBad && all ? "bad" : ""}`, `${perSecond} /s`),
    element("td", "n", `${count(all)} in all`),
  ])));
  const times = `Half of the calls took at most ${latency(took.p50_ms)}, 95 % ${latency(took.p95_ms)}, 99 % ${latency(took.p99_ms)}.`;
  parts.push(element("p", "", took.p99_ms ? times : "No call has been made yet."));
  parts.push(element("p", "", gateways === 1 ? "One gateway uses it." : `${count(gateways)} gateways use it.`));
  parts.push(element("p", alone ? "bad" : "", `${count(alone)} decisions without it, ${aloneRate} a second.`));
  return parts;
}

function showStore({ shared_store: store, limits }) {
  byId("store-section").hidden = !store;
  if (!store) return;
  const { up, gateways, latency: took, calls } = store;
  const rows = CALLS.map(([key, label]) => [label, rate(sharedRate(key)), calls[key], key !== "answered"]);
  const shown = { up, gateways, latency: took, rows, alone: decidedAlone(limits), aloneRate: rate(sharedRate("alone")) };
  showCards("store", [["store", shown]], "", storeParts);
}

// --- State ----------------------------------------------------------------------------------------------------------

function showState(now) {
  say(byId("version"), now.version);
  say(byId("ready"), now.not_ready === null ? "● ready" : "▲ not ready", `pill ${now.not_ready === null ? "good" : "bad"}`);
  say(byId("uptime"), `up ${duration(now.stats.uptime_seconds)}`);
  const { loaded_at, last_reload } = now.config;
  const failed = last_reload?.outcome === "failure";
  say(byId("config"), `configuration of ${moment(loaded_at)}${failed ? ", last reload failed" : ""}`, failed ? "bad" : "");
  say(byId("left-out"), now.left_out ? `${count(now.left_out)} routes, limits and upstreams that are less busy are left out here.` : "");
  const alerts = [];
  if (now.not_ready !== null) alerts.push(["not-ready", { text: `Not ready: ${now.not_ready}.`, list: [] }]);
  if (now.stats.shared_store?.up === false) {
    alerts.push(["store", { text: "The store of shared limits does not answer: each shared limit does what its on_error says.", list: [] }]);
  }
  if (failed) {
    const text = `The configuration was read again at ${moment(last_reload.at)} and has problems: what was in force still is.`;
    alerts.push(["reload", { text, list: last_reload.problems }]);
  }
  showAlerts(alerts);
}

function showAlerts(alerts) {
  keep(byId("alerts"), alerts, () => element("div", "alert"), (node, { text, list }) => {
    const said = JSON.stringify([text, list]);
    if (node.dataset.said === said) return;
    node.dataset.said = said;
    const problems = element("ul", "", ...list.map((problem) => element("li", "", problem)));
    node.replaceChildren(text, ...(list.length ? [problems] : []));
  });
}

function show(now) {
  addSample(now.sample);
  const routes = new Map(Object.entries(now.stats.routes).map(([name, r]) => [name, r.requests]));
  const shared = { ...now.stats.shared_store?.calls, alone: decidedAlone(now.stats.limits) };
  counts.push({ at: performance.now(), routes, shared });
  if (counts.length > RATE_SAMPLES + 1) counts.shift();
  showState(now);
  showTiles(now);
  showRoutes(now.stats.routes);
  showCards("limits", Object.entries(now.stats.limits), "No limits are configured.", limitParts);
  showStore(now.stats);
  showCards("upstreams", Object.entries(now.stats.upstreams), "No upstreams are configured.", upstreamParts);
  charts.forEach((chart) => chart.show());
}

// --- Following ------------------------------------------------------------------------------------------------------

let source;
let retry;

function connected() {
  lastEventAt = Date.now();
  document.body.classList.remove("waiting", "lost");
  say(byId("connection"), "● live", "pill good");
}

function lost() {
  document.body.classList.add("lost");
  const since = lastEventAt ? `: numbers of ${clock(lastEventAt)}` : "";
  say(byId("connection"), `▲ no connection${since}, trying again`, "pill bad");
}

function follow() {
  clearTimeout(retry);
  source?.close();
  source = new EventSource("events");
  source.addEventListener("history", (event) => {
    samples = JSON.parse(event.data).samples;
    counts = [];
  });
  source.addEventListener("now", (event) => {
    connected();
    show(JSON.parse(event.data));
  });
  source.addEventListener("error", () => {
    lost();
    source.close();
    clearTimeout(retry);
    retry = setTimeout(follow, RETRY_MS);
  });
}

/** A connection may die without a word. */
function watch() {
  if (lastEventAt && Date.now() - lastEventAt > SILENCE_MS && source?.readyState === EventSource.OPEN) {
    lost();
    follow();
  }
}

// --- Theme ----------------------------------------------------------------------------------------------------------

function applyTheme(theme) {
  document.documentElement.dataset.theme = theme;
  charts.forEach((chart) => { chart.build(); chart.show(); });
}

function themes() {
  const select = byId("theme");
  // Without storage it holds until the page is left.
  const stored = { get: () => { try { return localStorage.getItem("theme") ?? ""; } catch { return ""; } }, set: (v) => { try { localStorage.setItem("theme", v); } catch { /* then not */ } } };
  select.value = stored.get();
  applyTheme(select.value);
  select.addEventListener("change", () => { stored.set(select.value); applyTheme(select.value); });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => applyTheme(select.value));
}

makeTiles();
themes();
makeCharts();
follow();
setInterval(watch, 1000);
