// The cards of limits: what each allows to whom, where it applies, and what it decided.

import { showCards } from "./cards.js";
import { element, facts, links } from "./elements.js";
import { Finder, MOST } from "./finder.js";
import { count, counted, tokens } from "./text.js";

/** How far the clock of a calendar is ahead of UTC: "UTC", "UTC+5:30". */
function zone(minutes) {
  if (!minutes) return "UTC";
  const [hours, rest] = [Math.floor(Math.abs(minutes) / 60), Math.abs(minutes) % 60];
  return `UTC${minutes < 0 ? "−" : "+"}${hours}${rest ? `:${String(rest).padStart(2, "0")}` : ""}`;
}

/** What it allows: "10/s, burst 20", "1,000 a day (UTC)". */
export function allows({ rule }) {
  if (rule.max_in_flight !== undefined) return `${count(rule.max_in_flight)} at a time`;
  const cost = rule.cost > 1 ? `, ${count(rule.cost)} a request` : "";
  if (rule.quota !== undefined) return `${count(rule.quota)} ${rule.period === "hour" ? "an" : "a"} ${rule.period} (${zone(rule.utc_offset_minutes)})${cost}`;
  return `${tokens(rule.tokens_per_second)}, burst ${count(rule.burst)}${cost}`;
}

/** Each of whom has so much: "client_ip", "header:x-api-key and route". */
const whom = ({ rule }) => (rule.key.join() === "global" ? "all together" : `each ${rule.key.join(" and ")}`);

const isDryRun = ({ rule }) => rule.mode === "dry_run";

export const makeLimits = (onChange) =>
  new Finder("limit", (name, limit) => `${name} ${allows(limit)} ${limit.rule.key.join(" ")} ${limit.rule.mode} ${limit.routes.join(" ")}`, onChange);

function where(limit) {
  if (!limit.route_count) return ["applies nowhere"];
  if (limit.everywhere && limit.route_count > 1) return [`on every route (${count(limit.route_count)})`];
  const more = limit.route_count - limit.routes.length;
  return ["on ", ...links("route", limit.routes), more ? ` and ${count(more)} more` : ""];
}

/** A clock, by its minutes ahead of UTC: "UTC", "UTC+02:00". */
function clock(minutes) {
  if (!minutes) return "UTC";
  const two = (n) => String(Math.trunc(Math.abs(n))).padStart(2, "0");
  return `UTC${minutes < 0 ? "-" : "+"}${two(minutes / 60)}:${two(minutes % 60)}`;
}

/** What else it goes by. */
function terms({ rule }) {
  const said = [];
  if (rule.quota !== undefined) said.push(`each ${rule.period} of the calendar at ${clock(rule.utc_offset_minutes)}`);
  if (rule.charge === "on_failure") said.push("only failures take tokens");
  if (rule.charge === "cost_header") said.push("answers name the cost");
  if (rule.methods.length) said.push(`only ${rule.methods.join(", ")}`);
  if (rule.exempt.length) said.push(`${counted(rule.exempt.length, "network")} exempt`);
  if (rule.overrides) said.push(counted(rule.overrides, "override"));
  return said.join(" · ");
}

function table(label, rows) {
  const made = element("table", "", element("tbody", "", ...rows.map((cells) => element("tr", "", ...cells))));
  made.setAttribute("aria-label", label);
  return made;
}

function fill(limit) {
  const meter = element("meter");
  Object.assign(meter, { min: 0, max: limit.capacity, value: limit.clients });
  Object.assign(meter, { low: limit.capacity * 0.75, high: limit.capacity * 0.9, optimum: 0 });
  const share = `${count(limit.clients)} of ${counted(limit.capacity, "bucket")} in use`;
  meter.setAttribute("aria-label", share);
  const overflow = limit.overflowed ? `; ${counted(limit.overflowed, "request")} shared an overflow bucket` : "";
  return [meter, element("p", limit.overflowed ? "bad" : "", share + overflow)];
}

function parts(name, limit) {
  const some = (n, classes) => (n ? `some ${classes}` : "zero");
  const number = (label, n, classes = "") => [label, count(n), some(n, classes)];
  const pills = [
    ...(limit.shared ? [element("span", "pill", "shared")] : []),
    element("span", `pill ${isDryRun(limit) ? "dry" : ""}`, isDryRun(limit) ? "dry run" : "enforced"),
  ];
  const made = [
    element("header", "", element("h3", "", name), element("span", "pills", ...pills)),
    element("p", "terms", element("b", "", allows(limit)), `, ${whom(limit)}`),
    element("p", "", ...where(limit)),
    ...(terms(limit) ? [element("p", "", terms(limit))] : []),
    facts([
      number("Allowed", limit.allowed),
      number("Refused", limit.refused, "refused"),
      number("Would refuse", limit.would_refuse, "refused"),
      number("Exempt", limit.exempt),
    ]),
  ];
  if (limit.capacity === null) made.push(element("p", "", `${counted(limit.clients, "client")} ${limit.clients === 1 ? "has" : "have"} requests running`));
  else made.push(...fill(limit));
  if (limit.shared) {
    const { leased, spent, returned, alone } = limit.shared;
    made.push(element("h4", "", "Tokens of this gateway"), facts([
      ["Leased", count(leased)],
      ["Spent", count(spent)],
      ["Returned", count(returned)],
      number("Decided alone", alone, "refused"),
    ]));
  }
  if (limit.offenders.length) {
    const title = `${isDryRun(limit) ? "Would have refused" : "Refused"} most in the last minute`;
    made.push(element("h4", "", title));
    made.push(table(title, limit.offenders.map((offender) => [
      element("td", "key", offender.key.join(" · ")),
      element("td", "n", count(offender.refused_last_minute + offender.would_refuse_last_minute)),
    ])));
  }
  return made;
}

const decided = (limit) => limit.refused + limit.would_refuse + limit.allowed;

export function showLimits(finder, limits, leftOut) {
  const entries = Object.entries(limits);
  // The busiest where not all can be shown; cards that change their places would be hard to read.
  const isLong = entries.length + leftOut > MOST;
  const compare = ([a, x], [b, y]) => (isLong && decided(y) - decided(x)) || a.localeCompare(b);
  const shown = finder.choose(entries, compare, leftOut);
  const nothing = entries.length ? "No limit has these words." : "No limits are configured: every client may have as much as it likes.";
  showCards("limits", shown, nothing, parts);
}
