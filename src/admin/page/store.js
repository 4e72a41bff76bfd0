// The store of shared limits, where there is one.

import { showCards } from "./cards.js";
import { byId, element } from "./elements.js";
import { count, latency, rate } from "./text.js";
import { decidedAlone, growth } from "./told.js";

const CALLS = [
  ["answered", "answered"],
  ["timed_out", "not answered in time"],
  ["failed", "refused, or the connection was lost"],
  ["not_made", "not made, since it is down"],
];

function parts(_, { up, gateways, latency: took, rows, alone, aloneRate }) {
  const made = [element("header", "", element("h3", "", "Calls"), element("span", `pill ${up ? "good" : "bad"}`, up ? "● up" : "▲ down"))];
  const lines = rows.map(([label, perSecond, all, isBad]) => element("tr", "",
    element("td", "", label),
    element("td", `n ${isBad && all ? "bad" : ""}`, `${perSecond} /s`),
    element("td", "n", `${count(all)} in all`)));
  const table = element("table", "", element("tbody", "", ...lines));
  table.setAttribute("aria-label", "Calls to the store by outcome");
  made.push(table);
  const times = `Half of the calls took at most ${latency(took.p50_ms)}, 95 % ${latency(took.p95_ms)}, 99 % ${latency(took.p99_ms)}.`;
  made.push(element("p", "", took.p99_ms ? times : "No call has been made yet."));
  made.push(element("p", "", gateways === 1 ? "One gateway uses it." : `${count(gateways)} gateways use it.`));
  made.push(element("p", alone ? "bad" : "", `${count(alone)} decisions without it, ${aloneRate} a second.`));
  return made;
}

export function showStore({ shared_store: store, limits }) {
  byId("store-section").hidden = !store;
  if (!store) return;
  const { up, gateways, latency: took, calls } = store;
  const rows = CALLS.map(([key, label]) => [label, rate(growth(`call ${key}`)), calls[key], key !== "answered"]);
  showCards("store", [["store", { up, gateways, latency: took, rows, alone: decidedAlone(limits), aloneRate: rate(growth("alone")) }]], "", parts);
}
