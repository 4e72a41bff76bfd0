// What is wrong just now: a line for each problem, the worst first, since when it is so, and what to do about it.

import { SOON_DAYS, daysLeft } from "./certificates.js";
import { byId, element, keep, link, remake, say } from "./elements.js";
import { count, counted, day, moment, percent, roughly } from "./text.js";
import { growth } from "./told.js";
import { errorText, serverName } from "./upstreams.js";

/** The most problems that are shown. */
const MOST = 30;

/** The share of a table of buckets from which on it is a problem. */
const FILLING = 0.75;

/** The share of a route's requests from which on its errors are a problem, and a grave one. */
const FAILING = 0.01;
const GRAVE = 0.1;

/** What is wrong with a server in each state, and what to do about it. */
const SERVER = {
  refusing: ["takes no connections", "Start it, or correct its address in the configuration."],
  unhealthy: ["fails its health checks", "See what its health path answers, and its own log."],
  ejected: ["failed too many requests in a row, and gets none for a while", "See its own log."],
  unresolved: ["has no address", "See whether its name is right and can be resolved from this machine."],
};

/** When this page first saw a problem whose beginning the gateway does not know. */
const firstSeen = new Map();

const isDown = ({ state }) => state in SERVER;

/** `grave` ones come first. `about` is [kind, name] of the entry it leads to. */
function problem(key, grave, about, text, todo, more = {}) {
  return { key, grave, about, text, todo, since: null, list: [], ...more };
}

function ofReload({ last_reload: last }) {
  if (last?.outcome !== "failure") return [];
  const text = `The configuration could not be loaded again: it has ${counted(last.problems.length, "problem")}. What was in force still is.`;
  return [problem("reload", true, null, text, "Correct the file and reload it (SIGHUP, or gateway -c FILE reload).", { since: last.at, list: last.problems })];
}

function ofStore({ shared_store: store }) {
  if (store?.up !== false) return [];
  const todo = "Start it, or see whether this machine reaches it: until then each shared limit does what its on_error says.";
  return [problem("store", true, null, "The store of shared limits does not answer.", todo)];
}

const latest = (times) => times.filter(Boolean).sort().at(-1) ?? null;

function ofUpstream([name, { usable, in_use: isUsed, servers }]) {
  const down = servers.filter(isDown);
  const why = (server) => `${serverName(server)} ${SERVER[server.state][0]}${server.last_error ? ` (${errorText(server.last_error)})` : ""}`;
  if (!usable && down.length) {
    const said = down.slice(0, 3).map(why).join("; ") + (down.length > 3 ? `; and ${down.length - 3} more` : "");
    return [problem(`upstream ${name}`, isUsed, ["upstream", name], `has no usable server${isUsed ? "" : ", and gets no requests"}: ${said}.`, SERVER[down[0].state][1], { since: latest(down.map((s) => s.since)) })];
  }
  return down.map((server) =>
    problem(`server ${name} ${serverName(server)}`, false, ["upstream", name], `works without one of its servers: ${why(server)}.`, SERVER[server.state][1], { since: server.since }));
}

function ofRoute([name, { of_late: late }]) {
  const share = late.server_errors / late.requests;
  if (!late.server_errors || share < FAILING) return [];
  const text = `fails: ${count(late.server_errors)} of ${counted(late.requests, "request")} in the last 5 minutes got a 5xx (${percent(late.server_errors, late.requests)}).`;
  return [problem(`route ${name}`, share >= GRAVE, ["route", name], text, "Open it to see its statuses; its upstream shows what failed last.", { since: late.failing_since })];
}

function ofLimit([name, limit]) {
  if (limit.capacity === null) return [];
  const overflows = (growth(`overflowed ${name}`) ?? 0) > 0;
  if (!overflows && limit.clients < FILLING * limit.capacity) return [];
  const used = `${count(limit.clients)} of ${counted(limit.capacity, "bucket")} are in use (${percent(limit.clients, limit.capacity)})`;
  const text = overflows ? `is full: ${used}, and new clients share one.` : `fills: ${used}.`;
  return [problem(`limit ${name}`, overflows, ["limit", name], text, "Raise its max_clients, or see whether somebody invents keys.")];
}

function ofCertificate(certificate) {
  const days = daysLeft(certificate);
  if (days >= SOON_DAYS) return [];
  const when = days < 0 ? `expired on ${day(certificate.expires_at)}` : `expires in ${counted(days, "day")}, on ${day(certificate.expires_at)}`;
  const more = { since: days < 0 ? certificate.expires_at : null, isDated: true };
  return [problem(`certificate ${certificate.path}`, days < 7, null, `The certificate ${certificate.path} ${when}.`, "Renew it and reload.", more)];
}

/** All of them, the worst first. */
function problemsOf({ stats, config, not_ready: notReady }) {
  const draining = stats.draining
    ? [problem("draining", true, null, "The gateway is on its way out: it finishes what runs, and takes nothing new.", "Nothing, if you have stopped it.")] : [];
  const of = (map, make) => Object.entries(map).flatMap(make);
  const all = [
    ...draining, ...ofReload(config), ...ofStore(stats), ...of(stats.upstreams, ofUpstream), ...of(stats.routes, ofRoute),
    ...stats.certificates.flatMap(ofCertificate), ...of(stats.limits, ofLimit),
  ];
  const isToldOf = stats.draining || Object.values(stats.upstreams).some(({ usable, in_use: isUsed }) => isUsed && !usable);
  if (notReady !== null && !isToldOf) all.unshift(problem("ready", true, null, `Not ready: ${notReady}.`, "See /ready."));
  return [...all.filter(({ grave }) => grave), ...all.filter(({ grave }) => !grave)];
}

const KINDS = { upstream: "Upstream", route: "Route", limit: "Limit" };

function show(item, { grave, about, text, todo, list }) {
  item.classList.toggle("grave", grave);
  remake(item, [grave, about, text, todo, list], () => {
    const subject = about ? [`${KINDS[about[0]]} `, about[1] ? link(...about) : "(no route)", " "] : [];
    const lines = list.length > MOST ? [...list.slice(0, MOST), `and ${count(list.length - MOST)} more`] : list;
    const problems = element("ul", "", ...lines.map((line) => element("li", "", line)));
    return [
      element("p", "", element("span", "mark", grave ? "▲ " : "△ "), element("span", "sr", grave ? "Grave: " : "Minor: "), ...subject, text),
      element("p", "todo", element("span", "since"), todo),
      ...(list.length ? [problems] : []),
    ];
  });
}

export function showProblems(now) {
  const problems = problemsOf(now);
  const keys = new Set(problems.map(({ key }) => key));
  for (const key of firstSeen.keys()) if (!keys.has(key)) firstSeen.delete(key);
  for (const { key } of problems) if (!firstSeen.has(key)) firstSeen.set(key, Date.now());
  keep(byId("problems"), problems.slice(0, MOST).map((problem) => [problem.key, problem]), () => element("li"), (item, problem, key) => {
    show(item, problem);
    const since = problem.since ?? (problem.isDated ? null : firstSeen.get(key));
    const seconds = since ? Math.max(0, (Date.now() - new Date(since)) / 1000) : 0;
    const said = problem.since ? `Since ${moment(since)} (${roughly(seconds)}).` : `Seen for ${roughly(seconds)}.`;
    say(item.querySelector(".since"), since ? `${said} ` : "");
  });
  const grave = problems.filter(({ grave }) => grave).length;
  const more = problems.length > MOST ? `, the ${MOST} worst of them here` : "";
  const some = `▲ ${counted(problems.length, "problem")}${grave && grave < problems.length ? `, ${grave} grave` : ""}${more}`;
  say(byId("problems-told"), problems.length ? some : "● No problems", `pill ${problems.length ? "bad" : "good"}`);
}
