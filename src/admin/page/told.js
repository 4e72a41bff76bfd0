// What the gateway has told: the last minutes second by second, and the counters at the last few events, for their rates.

export const WINDOW_S = 300;
export const RATE_S = 10;

export const OUTCOMES = [
  { key: "served", label: "Served", note: "below 400" },
  { key: "refused", label: "Refused", note: "by a limit" },
  { key: "client_errors", label: "Client errors", note: "other 4xx" },
  { key: "server_errors", label: "Server errors", note: "5xx" },
];
export const WOULD_REFUSE = { key: "would_refuse", label: "Would refuse", note: "dry run" };

export let samples = [];
let counts = [];

export function begin(history) {
  samples = history;
  counts = [];
}

export function tell(now) {
  const last = samples.at(-1);
  if (now.sample && !(last && now.sample.at_ms <= last.at_ms)) {
    samples.push(now.sample);
    if (samples.length > WINDOW_S) samples.shift();
  }
  counts.push({ at: performance.now(), of: counters(now.stats) });
  if (counts.length > RATE_S + 1) counts.shift();
}

/** Decisions about requests that shared limits have made without the store. */
export const decidedAlone = (limits) => Object.values(limits).reduce((sum, limit) => sum + (limit.shared?.alone ?? 0), 0);

const sum = (numbers) => Object.values(numbers).reduce((a, b) => a + b, 0);

/** The counters of which there are rates, by the name of each. */
function counters({ routes, limits, upstreams, shared_store: store }) {
  const of = new Map([["alone", decidedAlone(limits)]]);
  for (const [name, route] of Object.entries(routes)) of.set(`route ${name}`, route.requests);
  for (const [name, limit] of Object.entries(limits)) of.set(`overflowed ${name}`, limit.overflowed);
  for (const [name, calls] of Object.entries(store?.calls ?? {})) of.set(`call ${name}`, calls);
  for (const [name, upstream] of Object.entries(upstreams)) {
    for (const { server, answers } of upstream.servers) of.set(`server ${name} ${server}`, sum(answers));
  }
  return of;
}

/** How much a counter has grown a second of late; `null` if that is not known. */
export function growth(counter) {
  const [first, last] = [counts[0], counts.at(-1)];
  const seconds = (last.at - first.at) / 1000;
  if (seconds < 0.5 || !first.of.has(counter) || !last.of.has(counter)) return null;
  return Math.max(0, last.of.get(counter) - first.of.get(counter)) / seconds;
}

/** Requests a second with this outcome in the seconds before the sample with this index, or the newest. */
export function outcomeRate(key, index = samples.length - 1) {
  const recent = samples.slice(Math.max(0, index + 1 - RATE_S), index + 1);
  return recent.length ? recent.reduce((sum, sample) => sum + sample.outcomes[key], 0) / recent.length : null;
}

/** Requests with this outcome in all of the window. */
export const outcomeOfLate = (key) => samples.reduce((sum, sample) => sum + sample.outcomes[key], 0);
