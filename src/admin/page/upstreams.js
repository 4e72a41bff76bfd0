// The cards of upstreams: how each of their servers does, and since when.

import { showCards } from "./cards.js";
import { element } from "./elements.js";
import { Finder } from "./finder.js";
import { count, counted, latency, moment, rate } from "./text.js";
import { growth } from "./told.js";

/** The most servers that a card shows. */
const MOST = 50;

const STATES = {
  up: ["● up", "good"],
  trial: ["◐ on trial", ""],
  refusing: ["▲ refusing", "bad"],
  ejected: ["▲ ejected", "bad"],
  unhealthy: ["▲ unhealthy", "bad"],
  unresolved: ["▲ no address", "bad"],
};

export const makeUpstreams = (onChange) =>
  new Finder("upstream", (name, { servers }) => `${name} ${servers.map(({ server, address, state }) => `${server} ${address} ${state}`).join(" ")}`, onChange);

/** "127.0.0.1:9000", or with the address of a name. */
export const serverName = ({ server, address }) => (address && address !== server ? `${server} (${address})` : server);

/** A failure without the number that the system has for it. */
export const errorText = ({ what }) => what.replace(/ \(os error \d+\)$/, "");

const isUp = ({ state }) => state === "up" || state === "trial";

/** Those with problems first, otherwise as in the configuration. */
const troubledFirst = (servers) => [...servers.filter((server) => !isUp(server)), ...servers.filter(isUp)];

/** The title, the classes, and what it shows of a server. */
const COLUMNS = [
  ["Server", "key", (server) => serverName(server)],
  ["State", "", ({ state }) => STATES[state]?.[0] ?? state],
  ["Since", "", ({ since }) => (since ? moment(since) : "–")],
  ["Weight", "n", ({ weight }) => count(weight)],
  ["Per s", "n", ({ perSecond }) => perSecond],
  ["p95", "n", ({ latency: took }) => latency(took.p95_ms)],
  ["Running", "n", ({ in_flight: running }) => count(running)],
  ["5xx in all", "n", ({ answers }) => count(answers["5xx"] ?? 0)],
  ["Last error", "error", ({ last_error: error }) => (error ? `${moment(error.at)} ${errorText(error)}` : "none")],
];

function cell(server, [title, classes, text]) {
  const value = text(server);
  const state = title === "State" ? STATES[server.state]?.[1] ?? "" : "";
  const made = element("td", `${classes} ${state} ${["0", "–", "none"].includes(value) ? "zero" : ""}`, value);
  made.setAttribute("role", "cell");
  made.dataset.title = title;
  return made;
}

/** A table that becomes a list of cards on a phone; with its roles it stays a table for those who do not see it. */
function table(name, servers) {
  const role = (made, role) => { made.setAttribute("role", role); return made; };
  const heads = COLUMNS.map(([title, classes]) => {
    const head = role(element("th", classes === "n" ? "n" : "", title), "columnheader");
    head.scope = "col";
    return head;
  });
  const rows = servers.map((server) => role(element("tr", "", ...COLUMNS.map((column) => cell(server, column))), "row"));
  const made = role(element("table", "servers",
    role(element("thead", "", role(element("tr", "", ...heads), "row")), "rowgroup"),
    role(element("tbody", "", ...rows), "rowgroup")), "table");
  made.setAttribute("aria-label", `Servers of ${name}`);
  return made;
}

function parts(name, { usable, servers, errors, retries }) {
  const failed = Object.entries(errors).filter(([, n]) => n > 0).map(([kind, n]) => `${count(n)} ${kind}`);
  const shown = troubledFirst(servers).slice(0, MOST);
  const more = servers.length - shown.length;
  return [
    element("header", "", element("h3", "", name), element("span", `pill ${usable ? "good" : "bad"}`, usable ? "● usable" : "▲ no usable server")),
    table(name, shown),
    ...(more ? [element("p", "", `${counted(more, "server")} more without a problem that is worse`)] : []),
    element("p", failed.length ? "bad" : "", `${failed.length ? `Failed requests since the start: ${failed.join(", ")}. ` : "No failed requests. "}Retries: ${count(retries)}.`),
  ];
}

/** The upstream with the rates of its servers, of which each has one, however many addresses. */
function withRates(name, upstream) {
  const told = new Set();
  const servers = upstream.servers.map((server) => {
    const isFirst = !told.has(server.server);
    told.add(server.server);
    return { ...server, perSecond: isFirst ? rate(growth(`server ${name} ${server.server}`)) : "″" };
  });
  return { ...upstream, servers };
}

export function showUpstreams(finder, upstreams, leftOut) {
  const entries = Object.entries(upstreams);
  const deadFirst = ([a, x], [b, y]) => x.usable - y.usable || y.servers.some((s) => !isUp(s)) - x.servers.some((s) => !isUp(s)) || a.localeCompare(b);
  const shown = finder.choose(entries, deadFirst, leftOut);
  const nothing = entries.length ? "No upstream has these words." : "No upstreams are configured: the gateway answers by itself.";
  showCards("upstreams", shown.map(([name, upstream]) => [name, withRates(name, upstream)]), nothing, parts);
}
