// The live page. It follows /events, and shows what that says.

import { showCertificates } from "./certificates.js";
import { makeCharts, rebuildCharts, showCharts } from "./charts.js";
import { byId, say } from "./elements.js";
import { showEmpty } from "./empty.js";
import { finders } from "./finder.js";
import { makeLimits, showLimits } from "./limits.js";
import { showProblems } from "./problems.js";
import { makeRoutes, openRoute, showRoutes } from "./routes.js";
import { showStore } from "./store.js";
import { clock, duration, moment } from "./text.js";
import { applyTheme, followTheme } from "./theme.js";
import { makeTiles, showTiles } from "./tiles.js";
import { begin, tell } from "./told.js";
import { makeUpstreams, showUpstreams } from "./upstreams.js";

const SILENCE_MS = 5000;
const RETRY_MS = 2000;
/** How often all is asked for while something is looked for that events leave out. */
const ASK_MS = 5000;

/** What the last event said. */
let now = null;
/** All that `/stats` has, when something is looked for that events leave out. */
let whole = { at: 0, stats: null };
let isAsking = false;

function showState() {
  say(byId("version"), now.version);
  say(byId("ready"), now.not_ready === null ? "● ready" : "▲ not ready", `pill ${now.not_ready === null ? "good" : "bad"}`);
  say(byId("uptime"), `up ${duration(now.stats.uptime_seconds)}`);
  const { loaded_at, last_reload } = now.config;
  const failed = last_reload?.outcome === "failure";
  say(byId("config"), `configuration of ${moment(loaded_at)}${failed ? ", last reload failed" : ""}`, failed ? "bad" : "");
}

/** Whether a link waits for what it leads to. */
let isAwaited = false;

/** Asks for all there is, since it is looked for. */
async function askForAll() {
  if (isAsking || Date.now() - whole.at < ASK_MS) return;
  isAsking = true;
  try {
    whole.stats = await (await fetch("stats")).json();
  } catch {
    // Then what events say has to do.
    return;
  } finally {
    isAsking = false;
    whole.at = Date.now();
  }
  showLists();
  if (isAwaited) reveal();
}

function showLists() {
  const { route, limit, upstream } = finders;
  const of = { routes: now.stats.routes, limits: now.stats.limits, upstreams: now.stats.upstreams };
  const isLooking = [route, limit, upstream].some((finder) => finder.isLooking(of[`${finder.kind}s`]));
  const isCut = Object.values(now.left_out).some((n) => n > 0);
  const hasAll = isCut && isLooking && whole.stats !== null;
  const leftOut = (kind) => (hasAll ? 0 : now.left_out[kind]);
  if (isCut && isLooking) askForAll();
  if (hasAll) for (const kind of Object.keys(of)) of[kind] = { ...whole.stats[kind], ...of[kind] };
  showRoutes(route, of.routes, leftOut("routes"));
  showLimits(limit, of.limits, leftOut("limits"));
  showUpstreams(upstream, of.upstreams, leftOut("upstreams"));
}

function show(event) {
  now = event;
  tell(now);
  showState();
  showProblems(now);
  showEmpty(now.stats);
  showTiles(now.stats);
  showLists();
  showStore(now.stats);
  showCertificates(now.stats.certificates);
  showCharts();
}

// --- Links to routes, limits and upstreams --------------------------------------------------------------------------

/** Shows what a link leads to, wherever it is in its list. */
function reveal() {
  const [, kind, name] = /^#(route|limit|upstream)=(.*)$/.exec(location.hash) ?? [];
  if (!kind || !now) return;
  const finder = finders[kind];
  try { finder.pinned = decodeURIComponent(name); } catch { return; }
  finder.field.value = "";
  if (kind === "route") openRoute(finder.pinned);
  showLists();
  const key = kind === "route" ? `row ${finder.pinned}` : finder.pinned;
  const found = [...document.querySelectorAll(`#${kind}s [data-name]`)].find((node) => node.dataset.name === key);
  isAwaited = !found && Object.values(now.left_out).some((n) => n > 0) && whole.stats === null;
  if (!found) return;
  const target = found.querySelector("button") ?? found;
  if (target === found) found.tabIndex = -1;
  found.scrollIntoView({ block: "center" });
  target.focus({ preventScroll: true });
}

function followLinks() {
  addEventListener("hashchange", reveal);
  document.addEventListener("click", (event) => {
    const to = event.target.closest?.('a[href^="#"]')?.getAttribute("href");
    // The same place once more is no change.
    if (to?.includes("=") && to === location.hash) reveal();
  });
}

// --- Following ------------------------------------------------------------------------------------------------------

let source;
let retry;
let lastEventAt = 0;

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
    begin(JSON.parse(event.data).samples);
    whole = { at: 0, stats: null };
  });
  source.addEventListener("now", (event) => {
    const isFirst = !lastEventAt;
    connected();
    show(JSON.parse(event.data));
    if (isFirst) reveal();
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

const onChange = () => now && showLists();

makeTiles();
makeRoutes(onChange);
makeLimits(onChange);
makeUpstreams(onChange);
applyTheme();
makeCharts();
followTheme(byId("theme"), rebuildCharts);
followLinks();
follow();
setInterval(watch, 1000);
