// Numbers and times as people read them.

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const STEPS = [[1e9, "G"], [1e6, "M"], [1e3, "k"]];

/** 1234567 is 1.2M. */
function compact(n) {
  const [size, letter] = STEPS.find(([size]) => n >= size);
  return `${(n / size).toFixed(n / size < 99.95 ? 1 : 0)}${letter}`;
}

export const count = (n) => (n < 1e5 ? whole.format(n) : compact(n));

/** So many, with the noun in its form: "1 route", "2 routes". */
export const counted = (n, noun) => `${count(n)} ${noun}${n === 1 ? "" : "s"}`;

/** Of something a second; `null` is not known. */
export const rate = (n) => {
  if (n === null) return "–";
  if (n === 0) return "0";
  if (n < 10) return n.toFixed(1);
  return n < 1000 ? whole.format(n) : compact(n);
};

export const milliseconds = (ms) => {
  if (ms === 0) return "0";
  if (ms < 1) return `${Math.round(ms * 1000)} µs`;
  if (ms < 1000) return `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`;
  return `${(ms / 1000).toFixed(ms < 10_000 ? 1 : 0)} s`;
};

/** Where nothing was measured there is no latency. */
export const latency = (ms) => (ms === 0 ? "–" : milliseconds(ms));

const UNITS = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];

/** "3 min 12 s" */
export const duration = (s) => {
  const at = s < 1 ? 3 : UNITS.findIndex(([length]) => s >= length);
  const [length, unit] = UNITS[at];
  const rest = at + 1 < UNITS.length ? Math.floor((s % length) / UNITS[at + 1][0]) : 0;
  return `${Math.floor(s / length)} ${unit}${rest ? ` ${rest} ${UNITS[at + 1][1]}` : ""}`;
};

/** The same in one unit, for what goes on and is looked at once a second: "3 min". */
export const roughly = (s) => {
  if (s < 10) return "a few seconds";
  const [length, unit] = UNITS.find(([length]) => s >= length);
  return `${Math.floor(s / length / (unit === "s" ? 10 : 1)) * (unit === "s" ? 10 : 1)} ${unit}`;
};

export const clock = (time) => new Date(time).toLocaleTimeString("en-GB");
export const day = (time) => new Date(time).toLocaleDateString("en-CA");
export const moment = (time) => (day(time) === day(Date.now()) ? clock(time) : `${day(time)} ${clock(time)}`);

const PERIODS = [[1, "s"], [60, "min"], [3600, "h"], [86400, "day"], [604800, "week"]];

/** A rate as a configuration has it: 10/s, 600/h. */
export const tokens = (perSecond) => {
  const isWhole = (n) => n > 0.9 && Math.abs(n - Math.round(n)) < 1e-6 * n;
  const whole = PERIODS.find(([seconds]) => isWhole(perSecond * seconds));
  if (whole) return `${count(Math.round(perSecond * whole[0]))}/${whole[1]}`;
  const [seconds, unit] = PERIODS.find(([seconds]) => perSecond * seconds >= 1) ?? PERIODS.at(-1);
  return `${(perSecond * seconds).toFixed(2)}/${unit}`;
};

/** A share of a whole. */
export const percent = (part, all) => {
  const share = (100 * part) / all;
  return `${share < 10 ? share.toFixed(1) : Math.round(share)}\u00a0%`;
};
