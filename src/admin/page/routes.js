// The table of routes: what each takes, where it leads and how it does. A row opens to all that is known of its route.

import { byId, element, keep, links, remake, say } from "./elements.js";
import { Finder } from "./finder.js";
import { count, counted, latency, moment, percent, rate } from "./text.js";
import { growth } from "./told.js";

/** What requests without a route are called. */
const NO_ROUTE = "(no route)";

const open = new Set();
let sorted = { column: 5, descending: true };
let shownLast = () => {};

/** Where a route takes requests from: "GET api.example.com/users/*". */
const takes = ({ rule }) => {
  if (!rule) return "what no route takes";
  const methods = rule.methods.length ? `${rule.methods.join(", ")} ` : "";
  const more = rule.hosts.length > 1 ? ` and of ${counted(rule.hosts.length - 1, "more host")}` : "";
  return `${methods}${rule.hosts[0] ?? ""}${rule.path}${more}`;
};
/** What part of the requests an upstream gets, where there are several: " 95 %". */
const shareOf = ({ share }, { upstreams }) => (upstreams.length > 1 ? ` ${Number((100 * share).toFixed(2))}\u00a0%` : "");
const leads = ({ rule }) => {
  if (!rule) return "";
  return rule.action === "forward" ? rule.upstreams.map((part) => `${part.name}${shareOf(part, rule)}`).join(", ") : `${rule.action} ${rule.status}`;
};
const limitsOf = ({ rule }) => rule?.limits.join(", ") ?? "";

const by = (value) => ([a, x], [b, y]) => value(x, a) - value(y, b);
const byText = (value) => ([a, x], [b, y]) => value(x, a).localeCompare(value(y, b));

/** The title, the classes, the text, and by what it is sorted. */
const COLUMNS = [
  ["Route", "", (_, name) => name || NO_ROUTE, byText((_, name) => name)],
  ["Takes", "wide", takes, byText((route) => `${route.rule?.hosts[0] ?? ""}${route.rule?.path ?? ""}`)],
  ["Leads to", "wide short", leads, byText(leads)],
  ["Limits", "wide", limitsOf, byText(limitsOf)],
  ["Per s", "n", (_, name) => rate(growth(`route ${name}`)), by((_, name) => growth(`route ${name}`) ?? -1)],
  ["Requests", "n wide", (r) => count(r.requests), by((r) => r.requests)],
  ["Refused", "n wide refused", (r) => count(r.outcomes.refused), by((r) => r.outcomes.refused)],
  ["4xx", "n wide", (r) => count(r.outcomes.client_errors), by((r) => r.outcomes.client_errors)],
  ["5xx, 5 min", "n server-errors", (r) => count(r.of_late.server_errors), by((r) => r.of_late.server_errors)],
  ["5xx in all", "n wide", (r) => count(r.outcomes.server_errors), by((r) => r.outcomes.server_errors)],
  ["p95", "n", (r) => latency(r.latency.p95_ms), by((r) => r.latency.p95_ms)],
];

const TITLES = {
  "Per s": "Requests a second, of the last 10 seconds",
  "4xx": "Answered with 400 to 499, but not by a limit",
  "5xx, 5 min": "Answered with 500 or above in the last 5 minutes, but not by a limit",
  "5xx in all": "Answered with 500 or above since the start, but not by a limit",
  p95: "95 % are as fast or faster, since the start",
};

export const isOpen = (name) => open.has(name);
export const openRoute = (name) => open.add(name);

export function makeRoutes(onChange) {
  shownLast = onChange;
  const row = element("tr");
  COLUMNS.forEach(([title, classes, , compare], at) => {
    const button = element("button", "sort", title, element("span", "arrow", ""));
    if (TITLES[title]) button.title = TITLES[title];
    button.addEventListener("click", () => {
      const isNumber = classes.startsWith("n");
      sorted = { column: at, descending: sorted.column === at ? !sorted.descending : isNumber };
      onChange();
    });
    const head = element("th", classes, button);
    head.scope = "col";
    row.append(head);
  });
  document.querySelector("#routes thead").append(row);
  return new Finder("route", (name, route) => `${name || NO_ROUTE} ${takes(route)} ${route.rule?.hosts.join(" ") ?? ""} ${leads(route)} ${limitsOf(route)}`, onChange);
}

function makeRow(name) {
  const button = element("button", "opens", element("span", "arrow", "▸"), element("span", "", name || NO_ROUTE));
  button.addEventListener("click", () => {
    if (!open.delete(name)) open.add(name);
    shownLast();
  });
  const head = element("th", "", button, element("div", "narrow where", ""));
  head.scope = "row";
  return element("tr", "", head, ...COLUMNS.slice(1).map(() => element("td")));
}

function updateRow(row, route, name) {
  const [button, where] = row.firstChild.children;
  button.setAttribute("aria-expanded", String(open.has(name)));
  say(button.firstChild, open.has(name) ? "▾" : "▸");
  say(where, `${takes(route)}${leads(route) ? ` → ${leads(route)}` : ""}`);
  COLUMNS.slice(1).forEach(([, classes, text], at) => {
    const value = text(route, name);
    const weight = ["0", "–"].includes(value) ? "zero" : "some";
    say(row.children[at + 1], value, classes.startsWith("n") ? `${classes} ${weight}` : classes);
  });
}

/** All that is known of a route: [name, text or nodes]. */
function details(route) {
  const { rule, outcomes, latency: times, of_late: late } = route;
  const statuses = Object.entries(route.by_status).map(([status, n]) => `${status}: ${count(n)}`);
  const failing = late.server_errors ? ` of ${count(late.requests)} requests (${percent(late.server_errors, late.requests)}), since ${moment(late.failing_since)}` : "";
  const numbers = [
    ["Served", count(outcomes.served)],
    ["Refused", count(outcomes.refused)],
    ["Would refuse", count(outcomes.would_refuse)],
    ["4xx in all", count(outcomes.client_errors)],
    ["5xx in all", count(outcomes.server_errors)],
    ["5xx in the last 5 minutes", `${count(late.server_errors)}${failing}`],
    ["Answers by status", statuses.join(" · ") || "none yet"],
    ["In flight", count(route.in_flight)],
    ["Latency since the start", times.p50_ms ? `p50 ${latency(times.p50_ms)} · p95 ${latency(times.p95_ms)} · p99 ${latency(times.p99_ms)}` : "nothing measured"],
  ];
  if (!rule) return [["Takes", "requests that no route takes: they get 404 or 405, or have a head that cannot be read"], ...numbers];
  return [
    ["Hosts", rule.hosts.join(", ") || "any"],
    ["Path", rule.path],
    ["Methods", rule.methods.join(", ") || "any"],
    ...(rule.requirements.length ? [["Asks for", rule.requirements.join(", ")]] : []),
    ["Leads to", rule.upstreams.length ? ["upstream", rule.upstreams.map(({ name }) => name), rule.upstreams.map((part) => shareOf(part, rule))] : leads(route)],
    ["Limits", rule.limits.length ? ["limit", rule.limits] : "none"],
    ["Timeout", rule.timeout_seconds === null ? "none" : `${rule.timeout_seconds} s`],
    ["Configuration", `line ${rule.line}`],
    ...numbers,
  ];
}

function makeDetail() {
  const cell = element("td", "", element("dl", "details"));
  cell.colSpan = COLUMNS.length;
  return element("tr", "detail", cell);
}

function updateDetail(row, route) {
  const make = (label) => element("div", "", element("dt", "", label), element("dd"));
  keep(row.querySelector("dl"), details(route), make, (pair, value) => {
    if (typeof value === "string") say(pair.lastChild, value);
    else remake(pair.lastChild, value, () => links(...value));
  });
}

export function showRoutes(finder, routes, leftOut) {
  const entries = Object.entries(routes).filter(([name, route]) => name || route.requests);
  const compare = COLUMNS[sorted.column][3];
  const then = ([a], [b]) => a.localeCompare(b);
  const shown = finder.choose(entries, (a, b) => (sorted.descending ? -1 : 1) * compare(a, b) || then(a, b), leftOut);
  document.querySelectorAll("#routes thead th").forEach((head, at) => {
    const isSorted = sorted.column === at;
    if (isSorted) head.setAttribute("aria-sort", sorted.descending ? "descending" : "ascending");
    else head.removeAttribute("aria-sort");
    say(head.querySelector(".arrow"), isSorted ? (sorted.descending ? " ▾" : " ▴") : "");
  });
  const rows = shown.flatMap(([name, route]) => [[`row ${name}`, route], ...(open.has(name) ? [[`detail ${name}`, route]] : [])]);
  const make = (key) => (key.startsWith("row ") ? makeRow(key.slice(4)) : makeDetail());
  keep(document.querySelector("#routes tbody"), rows, make, (row, route, key) => {
    if (key.startsWith("row ")) updateRow(row, route, key.slice(4));
    else updateDetail(row, route);
  });
  byId("routes-none").hidden = shown.length > 0;
  say(byId("routes-none"), entries.length ? "No route has these words." : "No routes are configured: add a [[routes]] table to the configuration and reload it.");
}
