"use strict";
// Draws the numbers of a replay. Everything that comes out of a log is set as text, never as markup.

const report = JSON.parse(document.getElementById("numbers").textContent);
const place = document.getElementById("report");
const SHARES = ["nobody", "0.1 %", "1 %"];
const SHARE_COLOURS = ["none", "most", "many"];

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

const colour = (name) => {
  const probe = element("span", { style: `color: var(--${name})` });
  document.body.append(probe);
  const value = getComputedStyle(probe).color;
  probe.remove();
  return value;
};
const grouped = (number) => number.toLocaleString("en");
function percent(part, whole) {
  const value = (100 * part) / Math.max(1, whole);
  if (value > 0 && value < 0.01) return "< 0.01 %";
  if (value < 100 && value > 99.99) return "> 99.99 %";
  return `${value.toFixed(value > 0 && value < 1 ? 2 : 1)} %`;
}
function duration(seconds) {
  if (seconds <= 0) return "0 s";
  if (seconds < 1) return `${Math.ceil(seconds * 1000)} ms`;
  if (seconds < 120) return `${Math.round(seconds * 10) / 10} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172800) return `${(seconds / 3600).toFixed(1)} h`;
  return `${(seconds / 86400).toFixed(1)} days`;
}
// The time of day in UTC, and the day where the axis spans more than one.
function clock(time, times) {
  const text = new Date(time * 1000).toISOString();
  const step = times.length > 1 ? times[1] - times[0] : 60;
  const days = times.length > 1 && times.at(-1) - times[0] > 86400;
  return `${days ? `${text.slice(5, 10)} ` : ""}${text.slice(11, step < 60 ? 19 : 16)}`;
}
const toSeconds = (time) => `${time.slice(0, 10)} ${time.slice(11, 19)}`;
// Two bounds, where the log tells whole seconds only.
function bounds(told, spread, show) {
  if (spread === null || spread === undefined || spread === told) return show(told);
  return `${show(Math.min(told, spread))} to ${show(Math.max(told, spread))}`;
}

function tile(name, told, spread, whole) {
  if (!told && !spread) return null;
  return element("div", { class: "tile" },
    element("dt", {}, name),
    element("dd", {}, bounds(told, spread, grouped),
      element("small", {}, bounds(told, spread, (count) => percent(count, whole)))));
}

function legend(items) {
  return element("ul", { class: "legend" }, ...items.map(([name, swatch]) =>
    element("li", { style: `--swatch: var(--${swatch})` }, name)));
}

// Plots are drawn again when their width or the theme changes.
const plots = [];
function plot(where, options, data) {
  plots.push({ where, options, data, drawn: null });
}
function draw() {
  const [faint, line] = [colour("faint"), colour("line")];
  const axis = { stroke: faint, grid: { stroke: line, width: 1 }, ticks: { stroke: line, width: 1, size: 4 }, font: "12px system-ui, sans-serif" };
  for (const each of plots) {
    each.drawn?.destroy();
    each.drawn = new uPlot({
      width: each.where.clientWidth, height: 220, legend: { show: false },
      cursor: { drag: { x: false, y: false }, points: { size: 7 } },
      ...each.options(axis),
    }, each.data, each.where);
  }
}

function overTime(limit) {
  const { seconds, intervals } = limit.timeline;
  const where = element("div", { class: "plot", role: "img", "aria-label": `Requests counted and refused over time by the limit ${limit.name}` });
  const times = intervals.map((_, index) => report.log.began + index * seconds);
  const data = [times, intervals.map((each) => each.asked / seconds), intervals.map((each) => each.refused / seconds)];
  plot(where, (axis) => ({
    tzDate: (time) => uPlot.tzDate(new Date(time * 1000), "UTC"),
    scales: { y: { range: (_, __, most) => [0, Math.max(0.1, (most ?? 0) * 1.1)] } },
    axes: [{ ...axis, space: 90, values: (_, times) => times.map((time) => clock(time, times)) }, { ...axis, size: 60 }],
    series: [{},
      { label: "counted", stroke: colour("asked"), width: 2, points: { show: intervals.length < 3 } },
      { label: "refused", stroke: colour("refused"), width: 2, points: { show: intervals.length < 3 } }],
  }), data);
  return element("div", {},
    element("h4", {}, `Requests a second, in intervals of ${duration(seconds)}, by UTC`),
    legend([["counted", "asked"], [limit.dry_run ? "would be refused" : "refused", "refused"]]), where);
}

function frontierPlot(limit) {
  const rows = limit.frontier;
  const where = element("div", { class: "plot", role: "img", "aria-label": `The smallest burst for each rate of the limit ${limit.name}; the table beside has the numbers` });
  const configured = rows.findIndex((row) => row.configured);
  const data = [rows.map((row) => row.per_second), ...SHARES.map((_, share) => rows.map((row) => row.bursts[share])),
    rows.map((_, index) => (index === configured ? limit.burst : null))];
  const logarithmic = { distr: 3, log: 10 };
  plot(where, (axis) => ({
    scales: { x: { ...logarithmic, time: false }, y: logarithmic },
    axes: [
      { ...axis, values: (_, values) => values.map((value) => (value === null ? "" : rate(value))) },
      { ...axis, size: 60, values: (_, values) => values.map((value) => (value === null ? "" : grouped(value))) },
    ],
    series: [{},
      ...SHARES.map((share, index) => ({ label: share, stroke: colour(SHARE_COLOURS[index]), width: 2, points: { show: true, size: 6 } })),
      { label: "configured", stroke: colour("text"), paths: () => null, points: { show: true, size: 11, width: 3, fill: "transparent" } }],
  }), data);
  return element("div", {},
    element("h4", {}, "Rate against burst (both axes logarithmic)"),
    legend([...SHARES.map((share, index) => [`refuses ${share}`, SHARE_COLOURS[index]]), ["configured", "text"]]), where);
}

function rate(perSecond) {
  for (const [unit, seconds] of [["s", 1], ["min", 60], ["h", 3600], ["d", 86400]]) {
    if (perSecond * seconds >= 0.999) return `${Math.round(perSecond * seconds * 100) / 100}/${unit}`;
  }
  return `${(perSecond * 86400).toPrecision(2)}/d`;
}

function table(head, rows) {
  return element("div", { class: "scroll" }, element("table", {},
    element("thead", {}, element("tr", {}, ...head.map((text) => element("th", { scope: "col" }, text)))),
    element("tbody", {}, ...rows)));
}

function frontierTable(limit) {
  const rows = limit.frontier.map((row) => element("tr", row.configured ? { class: "configured" } : {},
    element("td", {}, row.rate),
    ...row.bursts.map((burst) => element("td", {}, grouped(burst)))));
  return element("div", {},
    element("h4", {}, "The smallest burst at which this share of clients is ever refused"),
    table(["rate", "nobody", "0.1 %", "1 %"], rows));
}

function hardest(limit) {
  if (!limit.hardest.length) return null;
  const rows = limit.hardest.map((hit) => element("tr", {},
    element("td", { class: "client" }, hit.client),
    element("td", {}, grouped(hit.refused)),
    element("td", {}, hit.asked === null ? "" : grouped(hit.asked)),
    element("td", {}, duration(hit.longest_wait))));
  return element("div", {},
    element("h4", {}, "Refused most"),
    table(["client", "refused", "of", "longest wait"], rows),
    limit.hardest_missed ? element("p", { class: "faint" }, `Each may have been refused ${grouped(limit.hardest_missed)} times more.`) : null);
}

function advice(limit) {
  const row = limit.frontier.find((each) => each.configured);
  if (!row) return null;
  const [all, most] = row.bursts;
  let text;
  if (limit.burst >= all) text = `At ${row.rate} a burst of ${grouped(all)} refuses nobody. The burst is ${grouped(limit.burst)}.`;
  else if (most === all) text = `At ${row.rate} it takes a burst of ${grouped(all)} to refuse nobody. The burst is ${grouped(limit.burst)}.`;
  else text = `At ${row.rate} a burst of ${grouped(most)} refuses nobody in 99.9 % of the clients, and one of ${grouped(all)} refuses nobody at all. The burst is ${grouped(limit.burst)}.`;
  return element("p", { class: "advice" }, text);
}

function limitCard(limit, spread) {
  const mode = limit.dry_run ? ", in dry run" : "";
  const head = [element("h3", {}, limit.name), element("p", { class: "faint" }, `${limit.allows}, by ${limit.key}${mode}`)];
  if (limit.unjudged) {
    return element("section", { class: "card unjudged" }, ...head,
      element("p", {}, `This limit cannot be judged: the log does not tell ${limit.unjudged}.`));
  }
  if (!limit.asked) return element("section", { class: "card" }, ...head, element("p", {}, "It counted no request."));
  const about = limit.one_client_of > 1 ? "about " : "";
  const refused = bounds(limit.refused, spread?.refused, (count) => `${grouped(count)} (${percent(count, limit.asked)})`);
  const verb = limit.dry_run ? "It would have refused" : "It refused";
  const told = [`${verb} ${refused} of ${grouped(limit.asked)} requests`];
  if (limit.clients !== null) told.push(`at ${about}${grouped(limit.clients_refused)} of ${about}${grouped(limit.clients)} clients`);
  let rest = "";
  if (limit.exempt) rest += ` ${grouped(limit.exempt)} requests were of clients that are never limited.`;
  if (limit.spared) rest += ` ${grouped(limit.spared)} more were refused by another limit.`;
  return element("section", { class: "card" }, ...head,
    element("p", {}, `${told.join(", ")}.${rest}`),
    advice(limit),
    overTime(limit),
    limit.frontier.length ? element("div", { class: "two" }, frontierPlot(limit), frontierTable(limit)) : null,
    hardest(limit));
}

function configPart(config) {
  const { totals, agreement } = config;
  const spread = config.spread?.totals;
  const parts = [
    element("h2", {}, config.name),
    element("dl", { class: "tiles" }, ...[
      tile("admitted", totals.admitted, spread?.admitted, totals.requests),
      tile("refused", totals.refused, spread?.refused, totals.requests),
      tile("refused in dry run only", totals.would_refuse, spread?.would_refuse, totals.requests),
      tile("without a route", totals.without_route, spread?.without_route, totals.requests),
      tile("before any limit", totals.not_asked, spread?.not_asked, totals.requests),
    ].filter(Boolean)),
  ];
  if (agreement) {
    parts.push(element("p", { class: "faint" }, `${grouped(agreement.same)} decisions are those of the log; ${grouped(agreement.different)} are not; ` +
      `${grouped(agreement.close)} differ within the log's precision, ${grouped(agreement.swapped)} were taken in the other order.`));
  }
  parts.push(...config.limits.map((limit, index) => limitCard(limit, config.spread?.limits[index])));
  return parts;
}

function beside([first, second]) {
  if (!second) return [];
  const names = [...new Set([...first.limits, ...second.limits].map((limit) => limit.name))];
  const refused = (config, name) => config.limits.find((limit) => limit.name === name)?.refused;
  const row = (name, a, b) => element("tr", {}, element("td", {}, name), ...[a, b].map((count) => element("td", {}, count === undefined ? "–" : grouped(count))));
  return [element("h2", {}, "Beside each other"), element("section", { class: "card" }, table(["requests refused by", first.name, second.name],
    [row("all limits", first.totals.refused, second.totals.refused), ...names.map((name) => row(name, refused(first, name), refused(second, name)))]))];
}

function head() {
  const { log } = report;
  const parts = [element("h1", {}, "What the limits would have done")];
  const time = log.first ? ` from ${toSeconds(log.first)} to ${toSeconds(log.last)} UTC (${duration(log.seconds)})` : "";
  parts.push(element("p", {}, `${grouped(log.requests)} requests${time}`));
  parts.push(element("p", { class: "faint" }, `Read from ${log.files.join(", ")} (${log.formats.join(", ")}).`));
  if (log.unreadable) {
    parts.push(element("section", { class: "card unjudged" },
      element("p", {}, `${grouped(log.unreadable)} of ${grouped(log.lines)} lines could not be read, such as:`),
      ...log.unreadable_lines.map((line) => element("p", { class: "lines" }, line))));
  }
  return parts;
}

place.append(...head(), ...beside(report.configs), ...report.configs.flatMap(configPart));
if (report.notes.length) {
  place.append(element("h2", {}, "What this log does not know"),
    element("section", { class: "card" }, element("ul", { class: "notes" }, ...report.notes.map((note) => element("li", {}, note)))));
}
draw();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
let waiting;
addEventListener("resize", () => { clearTimeout(waiting); waiting = setTimeout(draw, 150); });
