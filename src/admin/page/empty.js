// What to do as long as there has been no request.

import { byId, say } from "./elements.js";

/** A path that this route takes: /users/{id}/orders takes /users/1/orders. */
const examplePath = (path) => path.replace(/\{[^}]*\}/g, "1").replace(/\/\*$/, "") || "/";

/** Where a client on this machine reaches a listener; `null` if the page cannot say. */
function reachable({ address, tls }) {
  const [, host, port] = /^(.*):(\d+)$/.exec(address) ?? [];
  if (!host || port === "0") return null;
  const isAny = host === "0.0.0.0" || host === "[::]";
  return `${tls ? "https" : "http"}://${isAny ? location.hostname : host}:${port}`;
}

const quoted = (text) => (/^[\w./:@%+=,[\]-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);

/** A request that a route takes, as curl sends it; `null` if there is none. */
function example({ listeners, routes }) {
  const takes = ([, { rule }]) => rule && !rule.requirements.length && (!rule.methods.length || rule.methods.includes("GET"));
  const [, route] = Object.entries(routes).filter(takes).sort(([, a], [, b]) => a.rule.hosts.length - b.rule.hosts.length || a.rule.line - b.rule.line)[0] ?? [];
  const base = listeners.map(reachable).find(Boolean);
  if (!route || !base) return null;
  const host = route.rule.hosts[0]?.replace("*", "www");
  return `curl -i ${host ? `-H ${quoted(`Host: ${host}`)} ` : ""}${quoted(base + examplePath(route.rule.path))}`;
}

export function showEmpty(stats) {
  const isEmpty = stats.total.requests === 0;
  byId("empty").hidden = !isEmpty;
  byId("charts").hidden = isEmpty;
  if (!isEmpty) return;
  const command = example(stats);
  const hasRoutes = Object.values(stats.routes).some(({ rule }) => rule);
  const where = stats.listeners.map(({ address }) => address).join(", ");
  say(byId("empty-said"), hasRoutes ? `No requests yet: the gateway listens on ${where}.${command ? " Try:" : " Send one, and it is shown here."}` : "No requests yet, and no routes are configured: add a [[routes]] table to the configuration and reload it.");
  byId("empty-command").hidden = !command;
  say(byId("empty-command"), command ?? "");
}
