// The pages of the side port, in a real browser: scripts/check-page runs this.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { chromium } from "playwright-core";

const { CHROMIUM, GATEWAY, MOCK_BACKEND } = process.env;
const PATIENCE_MS = 30_000;
const EVIL = "<img src=x onerror=window.pwned=1>";
const LAPTOP = { width: 1280, height: 800 };
const PHONE = { width: 390, height: 844 };
const axe = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

let folder, backend, gateway, browser;

/** Waits until something comes of it. */
async function eventually(what, ask) {
  const end = Date.now() + PATIENCE_MS;
  for (;;) {
    const found = await ask();
    if (found) return found;
    assert.ok(Date.now() < end, `still not: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** Starts a program, and waits until it says what these look for. */
async function start(program, args, ...patterns) {
  const child = spawn(program, args);
  let said = "";
  child.stdout.on("data", (text) => { said += text; });
  child.stderr.on("data", (text) => { said += text; });
  const found = await eventually(`${program} has started`, () => {
    assert.equal(child.exitCode, null, said);
    const matches = patterns.map((pattern) => pattern.exec(said));
    return matches.every(Boolean) && matches.map((match) => match[1]);
  });
  return { child, found };
}

const end = (child) => new Promise((resolve) => {
  if (child.exitCode !== null || child.signalCode !== null) return resolve();
  child.once("exit", resolve);
  child.kill("SIGTERM");
});

const config = (listen, admin, shared) => `
[server]
listen = "${listen}"
threads = 2
[admin]
listen = "${admin}"
[access_log]
path = "off"
[limits.per_key]
rate = "1/h"
burst = 4
key = "header:X-Api-Key"
show_keys = true
[limits.trial]
rate = "1/h"
burst = 2
mode = "dry_run"
[limits.slots]
max_in_flight = 10
[limits.daily]
quota = "1000/day"
${shared}
[upstreams.users]
servers = ["${backend.found[0]}"]
[upstreams.nobody]
servers = ["127.0.0.1:1"]
[[routes]]
name = "users"
path = "/users"
upstream = "users"
limits = ["per_key", "trial"]
[[routes]]
name = "answers"
path = "/status/*"
upstream = "users"
limits = ["slots"]
[[routes]]
name = "nowhere"
path = "/nowhere"
upstream = "nobody"
`;

const SHARED = `
[limiter.shared]
url = "redis+unix:///nonexistent/redis.sock"
secret = "0123456789abcdef"
[limits.together]
rate = "1/h"
burst = 2
shared = true
[[routes]]
name = "together"
path = "/together"
limits = ["together"]
respond = {}
`;

async function startGateway(listen, admin, shared = "") {
  await writeFile(join(folder, "gateway.toml"), config(listen, admin, shared));
  const says = [/listening on http:\/\/(\S+)/, /side port on http:\/\/(\S+)/, /(ready)\n/];
  gateway = await start(GATEWAY, ["--config", join(folder, "gateway.toml")], ...says);
}

const admin = () => `http://${gateway.found[1]}`;

/** The sum of the series of a family that have these labels. */
function sum(metrics, family, labels = {}) {
  const has = (line) => Object.entries(labels).every(([name, value]) => line.includes(`${name}="${value}"`));
  const series = metrics.split("\n").filter((line) => line.startsWith(`${family}{`) && has(line));
  return series.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(" "))), 0);
}

/** A page that may do nothing but what a visitor's would, and must not complain. */
async function open(path, options = {}) {
  const context = await browser.newContext({ viewport: LAPTOP, ...options });
  const page = await context.newPage();
  page.complaints = [];
  page.setDefaultTimeout(PATIENCE_MS);
  page.on("console", (message) => message.type() === "error" && page.complaints.push(message.text()));
  page.on("pageerror", (error) => page.complaints.push(String(error)));
  page.on("request", (request) => {
    const url = new URL(request.url());
    if (url.protocol !== "data:" && url.origin !== admin()) page.complaints.push(`asked for ${url}`);
  });
  await page.goto(admin() + path);
  return page;
}

const text = (page, selector) => page.locator(selector).innerText();
const number = (text) => Number(/[\d,]+/.exec(text)[0].replaceAll(",", ""));
/** By how many pixels it is too wide. */
// By how much the page is wider than its window, once what follows the size of the window, such as the charts, has done so.
const excess = async (page) => {
  const measure = () => page.evaluate(() => Math.max(0, document.documentElement.scrollWidth - innerWidth));
  for (let tries = 0; tries < 50 && (await measure()) > 0; tries++) await page.waitForTimeout(100);
  return measure();
};
const isLive = (page) => page.locator("#connection", { hasText: "live" }).waitFor();

before(async () => {
  folder = await mkdtemp(join(tmpdir(), "page-"));
  backend = await start(MOCK_BACKEND, ["--listen", "127.0.0.1:0"], /(127\.0\.0\.1:\d+)/);
  await startGateway("127.0.0.1:0", "127.0.0.1:0");
  browser = await chromium.launch({ executablePath: CHROMIUM, args: ["--no-sandbox"] });
  const get = async (path, key) => {
    const answer = await fetch(`http://${gateway.found[0]}${path}`, { headers: { "X-Api-Key": key } });
    await answer.arrayBuffer();
    return answer.status;
  };
  for (let i = 0; i < 9; i++) await get("/users", "good");
  for (let i = 0; i < 6; i++) await get("/users", EVIL);
  for (const path of ["/status/200", "/status/404", "/status/503", "/nowhere", "/none"]) await get(path, "x");
});

after(async () => {
  await browser?.close();
  if (gateway) await end(gateway.child);
  if (backend) await end(backend.child);
  await rm(folder, { recursive: true });
});

test("the numbers on the page are those of /metrics", async () => {
  const page = await open("/");
  const isCounted = () => page.locator("#requests-sub", { hasText: "20 in all" }).waitFor();
  await isCounted();
  // The tables follow more slowly than the tiles; a page that opens has both anew.
  await page.reload();
  await isCounted();
  const metrics = await (await fetch(`${admin()}/metrics`)).text();
  assert.equal(sum(metrics, "gateway_requests_total"), 20);
  const tiles = {};
  for (const key of ["served", "refused", "client_errors", "server_errors", "would_refuse"]) {
    tiles[key] = number(await text(page, `#${key}-sub`));
  }
  assert.deepEqual(tiles, {
    served: sum(metrics, "gateway_requests_total", { code: 200 }),
    refused: sum(metrics, "gateway_limit_decisions_total", { decision: "refused" }),
    client_errors: sum(metrics, "gateway_requests_total", { code: 404 }),
    server_errors: sum(metrics, "gateway_requests_total", { code: 502 }) + sum(metrics, "gateway_requests_total", { code: 503 }),
    would_refuse: sum(metrics, "gateway_limit_decisions_total", { decision: "would_refuse" }),
  });
  assert.deepEqual(tiles, { served: 9, refused: 7, client_errors: 2, server_errors: 2, would_refuse: 6 });

  const rows = await page.locator("#routes tbody tr").evaluateAll((rows) => rows.map((row) => {
    const shown = [...row.children].map((cell) => cell.textContent);
    return { ...shown, 0: row.querySelector(".opens span:last-child").textContent };
  }));
  assert.equal(rows.length, 4);
  for (const { 0: name, 5: requests, 9: errors } of rows) {
    const route = name === "(no route)" ? "" : name;
    assert.equal(number(requests), sum(metrics, "gateway_requests_total", { route }), name);
    const failed = ["502", "503"].map((code) => sum(metrics, "gateway_requests_total", { route, code }));
    assert.equal(number(errors), failed[0] + failed[1], name);
  }
  for (const card of await page.locator("#limits > li").all()) {
    const limit = await card.locator("h3").innerText();
    const shown = (await card.locator("dd").allInnerTexts()).map(number);
    const decided = ["allowed", "refused", "would_refuse", "exempt"].map((decision) => sum(metrics, "gateway_limit_decisions_total", { limit, decision }));
    assert.deepEqual(shown, decided, limit);
  }
  const errors = await text(page, "#upstreams > li:has(h3:text-is('nobody')) > p");
  assert.equal(number(errors), sum(metrics, "gateway_upstream_errors_total", { upstream: "nobody" }));
  assert.match(await text(page, "#upstreams > li:has(h3:text-is('users'))"), /● up/);
  assert.match(await text(page, "#upstreams > li:has(h3:text-is('nobody'))"), /▲ refusing[^]*connect: Connection refused/);
  assert.match(await text(page, "#limits > li:has(h3:text-is('trial'))"), /dry run\s+1\/h, burst 2, each client_ip\s+on users/);
  assert.match(await text(page, "#limits > li:has(h3:text-is('daily'))"), /1,000 a day \(UTC\), each client_ip\s+applies nowhere/);
  assert.deepEqual(page.complaints, []);
  await page.context().close();
});

test("what clients send is text and nothing else", async () => {
  const page = await open("/");
  const key = page.locator("#limits .key", { hasText: EVIL });
  await key.waitFor();
  assert.equal(await key.innerText(), EVIL);
  assert.equal(await page.locator("main img").count(), 0);
  assert.equal(await page.evaluate(() => window.pwned), undefined);
  await page.context().close();
});

test("the charts have the last minutes as soon as the page opens", async () => {
  const page = await open("/");
  await isLive(page);
  for (const id of ["traffic", "latency"]) {
    // All of it was in one second or two: a point, of which few pixels have the pure colour.
    const drawn = await page.locator(`#${id} canvas`).evaluate((canvas, swatch) => {
      const colour = getComputedStyle(document.querySelector(swatch)).backgroundColor.match(/\d+/g).map(Number);
      const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
      const is = (at) => data[at + 3] === 255 && colour.every((part, of) => Math.abs(data[at + of] - part) < 9);
      return Array.from({ length: data.length / 4 }, (_, at) => at * 4).filter(is).length;
    }, `#${id}-legend .swatch`);
    assert.ok(drawn > 0, `${id} shows nothing in its first colour`);
    assert.match(await page.locator(`#${id}`).getAttribute("aria-label"), id === "traffic" ? /^Now: Served \d+/ : /^Now: p50 /);
  }
  await page.context().close();
});

test("a reload that fails is shown with its problems until one succeeds", async () => {
  const page = await open("/");
  await isLive(page);
  const good = await readFile(join(folder, "gateway.toml"), "utf8");
  await writeFile(join(folder, "gateway.toml"), good.replace("burst = 4", "brst = 4"));
  gateway.child.kill("SIGHUP");
  const alert = page.locator("#problems li li", { hasText: "did you mean `burst`?" });
  await alert.waitFor();
  assert.match(await text(page, "#problems > li:has(li)"), /could not be loaded again: it has 1 problem\.[^]*Since \d\d:\d\d:\d\d[^]*Correct the file/);
  assert.match(await text(page, "#config"), /last reload failed/);
  await writeFile(join(folder, "gateway.toml"), good);
  gateway.child.kill("SIGHUP");
  await alert.waitFor({ state: "detached" });
  await page.context().close();
});

test("problems come first, each with what to do, and lead to what they are about", async () => {
  const page = await open("/");
  await isLive(page);
  assert.match(await text(page, "#problems-told"), /^▲ \d problems/);
  const dead = page.locator("#problems > li", { hasText: "nobody" });
  assert.match(await dead.innerText(), /Upstream nobody has no usable server: 127\.0\.0\.1:1 takes no connections \(connect: Connection refused.*\)\.\s+Since .*Start it/);
  const failing = page.locator("#problems > li", { hasText: "Route nowhere fails" });
  assert.match(await failing.innerText(), /1 of 1 request in the last 5 minutes got a 5xx \(100\s%\)\.\s+Since /);
  await failing.locator("a").click();
  const opened = page.locator("#routes tr:has(.opens[aria-expanded=true])");
  assert.match(await opened.innerText(), /nowhere/);
  assert.match(await page.evaluate(() => document.activeElement.textContent), /nowhere/);
  assert.match(await text(page, "#routes .detail"), /502: 1/);
  await page.locator("#routes .detail a", { hasText: "nobody" }).click();
  assert.match(await page.evaluate(() => document.activeElement.textContent), /^nobody/);
  assert.deepEqual(page.complaints, []);
  await page.context().close();
});

test("routes are found, sorted and opened with the keyboard", async () => {
  const page = await open("/");
  await isLive(page);
  const names = () => page.locator("#routes .opens span:last-child").allInnerTexts();
  await page.locator("#routes-find").fill("NOBODY /no");
  assert.deepEqual(await names(), ["nowhere"]);
  assert.match(await text(page, "#routes-told"), /^1 of 4 routes/);
  await page.locator("#routes-find").fill("no such word");
  assert.match(await text(page, "#routes-none"), /No route has these words/);
  await page.locator("#routes-find").fill("");
  await page.locator("#routes .sort", { hasText: "Route" }).press("Enter");
  assert.deepEqual(await names(), ["(no route)", "answers", "nowhere", "users"]);
  assert.equal(await page.locator("#routes th").first().getAttribute("aria-sort"), "ascending");
  await page.locator("#routes .sort", { hasText: "Requests" }).press("Enter");
  assert.equal((await names())[0], "users");
  const users = page.locator("#routes .opens", { hasText: "users" });
  await users.press("Enter");
  assert.equal(await users.getAttribute("aria-expanded"), "true");
  const detail = await text(page, "#routes .detail");
  for (const shown of [/Path\s+\/users/, /Leads to\s+users/, /Limits\s+per_key, trial/, /200: 8 · 429: 7/]) assert.match(detail, shown);
  // It stays where it is while the numbers change.
  await page.waitForTimeout(1500);
  assert.match(await page.evaluate(() => document.activeElement.textContent), /users/);
  await users.press("Enter");
  assert.equal(await page.locator("#routes .detail").count(), 0);
  await page.context().close();
});

for (const [device, viewport] of [["laptop", LAPTOP], ["phone", PHONE]]) {
  for (const theme of ["light", "dark"]) {
    test(`it can be read on a ${device} in ${theme}`, async () => {
      const page = await open("/", { viewport, colorScheme: theme });
      await isLive(page);
      // What fades in has faded in.
      await page.waitForFunction(() => getComputedStyle(document.querySelector("main")).opacity === "1");
      const ground = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
      assert.equal(ground, theme === "light" ? "rgb(245, 246, 248)" : "rgb(20, 22, 26)");
      assert.equal(await excess(page), 0);
      assert.ok(await page.locator(".scroll").evaluate((table) => table.scrollWidth <= table.clientWidth), "the table is too wide");
      await page.evaluate(axe);
      const { violations } = await page.evaluate(() => window.axe.run());
      const said = violations.map(({ id, help, nodes }) => `${id}: ${help}: ${nodes.map((node) => node.html).join(" ")}`);
      assert.deepEqual(said, []);
      await page.screenshot({ path: `${import.meta.dirname}/${device}-${theme}.png`, fullPage: true });
      await page.context().close();
    });
  }
}

test("it can be used with the keyboard, and remembers the theme", async () => {
  const page = await open("/", { colorScheme: "light" });
  await isLive(page);
  const focused = [];
  const links = await page.locator("#problems a").count();
  for (let i = 0; i < 4 + links; i++) {
    await page.keyboard.press("Tab");
    focused.push(await page.evaluate(() => document.activeElement.id || document.activeElement.textContent.trim().slice(0, 20)));
  }
  assert.equal(focused[0], "To the numbers");
  assert.equal(focused[1], "theme");
  assert.equal(focused[2 + links], "routes-find");
  assert.match(focused[3 + links], /^Route/);
  await page.locator("#theme").selectOption("dark");
  await page.reload();
  assert.equal(await page.locator("#theme").inputValue(), "dark");
  assert.equal(await page.evaluate(() => getComputedStyle(document.body).backgroundColor), "rgb(20, 22, 26)");
  await page.context().close();
});

test("the page of the API lists every call and tries one, and needs nothing from elsewhere", async () => {
  const page = await open("/docs");
  const { paths } = await (await fetch(`${admin()}/openapi.json`)).json();
  const calls = Object.values(paths).reduce((sum, path) => sum + Object.keys(path).length, 0);
  await page.locator(".opblock").first().waitFor();
  assert.equal(await page.locator(".opblock").count(), calls);
  await page.locator("#operations-health-health .opblock-summary-control").click();
  await page.locator("#operations-health-health .execute").click();
  await page.locator("#operations-health-health .live-responses-table .response-col_status", { hasText: "200" }).waitFor();
  assert.deepEqual(page.complaints, []);
  await page.locator(".back a").click();
  await isLive(page);
  await page.context().close();
});

for (const theme of ["light", "dark"]) {
  test(`the page of the API can be read on a phone in ${theme}`, async () => {
    const page = await open("/docs", { viewport: PHONE, colorScheme: theme });
    await page.locator(".opblock").first().waitFor();
    assert.equal(await excess(page), 0);
    await page.locator("#operations-numbers-stats .opblock-summary-control").click();
    await page.locator("#operations-numbers-stats .responses-table").waitFor();
    assert.equal(await excess(page), 0);
    const [ground, ink] = await page.evaluate(() => ["backgroundColor", "color"].map((of) => getComputedStyle(document.querySelector(of === "color" ? ".info .title" : "body"))[of]));
    assert.equal(ground, theme === "light" ? "rgb(250, 250, 250)" : "rgb(28, 32, 34)");
    const [red] = ink.match(/\d+/g).map(Number);
    assert.ok(theme === "light" ? red < 100 : red > 180, ink);
    await page.screenshot({ path: `${import.meta.dirname}/docs-${theme}.png`, fullPage: true });
    await page.context().close();
  });
}

// The last ones, since the gateway starts anew.
test("a connection that is lost is told of, and the page finds back by itself", async () => {
  const page = await open("/", { viewport: PHONE });
  await isLive(page);
  const isLost = () => page.locator("#connection", { hasText: /no connection: numbers of \d\d:\d\d:\d\d/ }).waitFor();
  // It does not say a word any more.
  gateway.child.kill("SIGSTOP");
  await isLost();
  assert.ok(await page.locator("body.lost").count());
  assert.equal(await excess(page), 0);
  gateway.child.kill("SIGCONT");
  await isLive(page);
  // It is gone, and comes back as another one.
  const [listen, side] = gateway.found;
  await end(gateway.child);
  await isLost();
  await startGateway(listen, side);
  await isLive(page);
  await page.locator("#requests-sub", { hasText: /^0 in all/ }).waitFor();
  await page.locator("#empty", { hasText: "No requests yet" }).waitFor();
  assert.equal(await page.locator("body.lost").count(), 0);
  await page.context().close();
});

test("a store of shared limits is shown where there is one", async () => {
  const page = await open("/");
  await isLive(page);
  assert.ok(await page.locator("#store-section").isHidden(), "there is none yet");
  const [listen, side] = gateway.found;
  await end(gateway.child);
  await startGateway(listen, side, SHARED);
  for (let i = 0; i < 3; i++) await (await fetch(`http://${listen}/together`)).arrayBuffer();
  await page.locator("#store .pill", { hasText: "down" }).waitFor();
  await page.locator("#problems", { hasText: "The store of shared limits does not answer" }).waitFor();
  await page.locator("#store", { hasText: "2 decisions without it" }).waitFor();
  await page.locator("#limits > li:has(h3:text-is('together')) .pill", { hasText: "shared" }).waitFor();
  await page.waitForFunction(() => getComputedStyle(document.querySelector("main")).opacity === "1");
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => window.axe.run());
  assert.deepEqual(violations.map(({ id, help }) => `${id}: ${help}`), []);
  await page.screenshot({ path: `${import.meta.dirname}/store.png`, fullPage: true });
  await page.setViewportSize(PHONE);
  assert.equal(await excess(page), 0);
  await page.context().close();
});
