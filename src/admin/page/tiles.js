// The numbers at the top. They are of the same time as the legends of the charts.

import { byId, cssName, element, say } from "./elements.js";
import { count, duration, latency, rate } from "./text.js";
import { OUTCOMES, RATE_S, WOULD_REFUSE, outcomeOfLate, outcomeRate, samples } from "./told.js";

function tile(id, label) {
  const big = element("dd", "big");
  const sub = element("dd", "sub");
  big.id = id;
  sub.id = `${id}-sub`;
  const made = element("div", "tile", element("dt", "", label), big, sub);
  byId("tiles").append(made);
  return made;
}

export function makeTiles() {
  tile("requests", "Requests");
  for (const { key, label } of [...OUTCOMES, WOULD_REFUSE]) {
    tile(key, label).style.setProperty("--swatch", `var(--${cssName(key)})`);
  }
  tile("latency-p95", "Latency, p95");
  tile("in-flight", "In flight");
}

function perSecond(node, value) {
  node.replaceChildren(rate(value), element("small", "", value === null ? "" : " /s"));
}

export function showTiles({ total }) {
  const outcomes = OUTCOMES.map(({ key }) => outcomeRate(key));
  perSecond(byId("requests"), outcomes.includes(null) ? null : outcomes.reduce((a, b) => a + b));
  say(byId("requests-sub"), `${count(total.requests)} in all`);
  for (const { key, note } of [...OUTCOMES, WOULD_REFUSE]) {
    perSecond(byId(key), outcomeRate(key));
    const all = count(total.outcomes[key]);
    const ofLate = `${count(outcomeOfLate(key))} in 5 min\n${all} in all`;
    say(byId(`${key}-sub`), key === "server_errors" ? ofLate : `${all} in all\n${note}`);
    byId(`${key}-sub`).classList.toggle("bad", key === "server_errors" && outcomeOfLate(key) > 0);
  }
  const times = samples.at(-1)?.latency;
  say(byId("latency-p95"), times?.requests ? latency(times.p95_ms) : "–");
  say(byId("latency-p95-sub"), times?.requests ? `p50 ${latency(times.p50_ms)}\np99 ${latency(times.p99_ms)}` : "nothing measured");
  say(byId("in-flight"), count(total.in_flight));
  say(byId("in-flight-sub"), "at this moment");
  const isLong = times?.requests && times.seconds > RATE_S;
  const reaches = isLong ? `, latency of ${count(times.requests)} requests in the last ${duration(times.seconds)}` : "";
  say(byId("windows"), `Rates${isLong ? "" : " and latency"} of the last ${RATE_S} seconds${reaches}.`);
}
