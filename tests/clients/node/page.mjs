// Headless Chromium on pages that connect to the gateway, and on those of the library's examples.
// Usage: page.mjs demo URL ADMIN SHOTS    the demo page, at desktop and phone size
//        page.mjs foreign URL             a page of another origin; prints what became of it
//        page.mjs echo URL                the page of examples/echo
//        page.mjs chat URL                two members in one room of examples/chat, one in another
//        page.mjs sdk URL                 the page of examples/centrifuge in two windows
// Prints one JSON object. CHROMIUM is the path of the browser.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";

// Found through NODE_PATH, which `import` does not look at.
const { chromium } = createRequire(import.meta.url)("playwright-core");

const [mode, url, ...rest] = process.argv.slice(2);
const DEADLINE_MS = 8000;
const FLAGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

const profile = mkdtempSync(join(tmpdir(), "tidegate-chromium-"));
const browser = await chromium.launchPersistentContext(profile, {
  executablePath: process.env.CHROMIUM,
  headless: true,
  args: FLAGS,
  viewport: { width: 1280, height: 800 },
});
try {
  browser.setDefaultTimeout(DEADLINE_MS);
  const complaints = [];
  browser.on("page", (page) => page.on("pageerror", (error) => complaints.push(String(error))));
  const page = await browser.newPage();
  const result = await { demo, foreign, echo, chat, sdk }[mode](page, ...rest);
  console.log(JSON.stringify({ ...result, complaints }));
} finally {
  await browser.close();
  rmSync(profile, { recursive: true, force: true });
}

async function sdk(page) {
  const main = createRequire(import.meta.url).resolve("centrifuge");
  const path = join(dirname(main), "../dist/centrifuge.js");
  await browser.route("**/node_modules/centrifuge/dist/centrifuge.js", (route) =>
    route.fulfill({ path }),
  );
  const other = await browser.newPage();
  const newest = (window) => window.locator("ol li").first();
  await page.goto(url);
  await newest(page).and(page.getByText("came")).waitFor();
  await other.goto(url);
  await other.locator("#status", { hasText: /^connected$/ }).waitFor();
  await newest(other).and(other.getByText("came")).waitFor();
  await page.locator("ol li").nth(1).waitFor();
  await page.fill("input", "hello over there");
  await page.click("button");
  for (const window of [page, other]) {
    await newest(window).and(window.getByText("hello over there")).waitFor();
  }
  await other.close();
  await newest(page).and(page.getByText("left")).waitFor();
  return { lines: (await page.locator("ol li").allTextContents()).map((line) => line.slice(5)) };
}

async function demo(page, admin, shots) {
  await page.goto(url);
  await page.waitForSelector('#status[data-state="open"]');
  const newest = page.locator("#messages li pre").first();
  const shows = (text) => newest.and(page.getByText(text, { exact: true })).waitFor();

  // The line the page offers is the one that is run.
  const command = await page.locator("#curl").textContent();
  assert.ok(command.includes(admin), command);
  execFileSync("sh", ["-c", command]);
  await shows('{"n":1}');

  await page.fill("#text", "hello from the page");
  await page.click("#send");
  // What is no JSON is sent as a JSON string.
  await shows('"hello from the page"');
  execFileSync("sh", ["-c", command.replace('"data":{"n":1}', '"b64data":"AP8Q"')]);
  await shows("3 bytes of binary data");

  const messages = await page.locator("#messages li pre").allTextContents();
  const status = await page.locator("#status").textContent();
  const widths = {};
  for (const [name, size] of [
    ["desktop", { width: 1280, height: 800 }],
    ["phone", { width: 375, height: 667 }],
  ]) {
    await page.setViewportSize(size);
    await page.screenshot({ path: join(shots, `demo-${name}.png`) });
    widths[name] = await page.evaluate(() => document.documentElement.scrollWidth);
  }
  return { messages, status, widths };
}

async function foreign(page) {
  await page.goto(url);
  await page.waitForFunction(() => document.title !== "connecting");
  return { title: await page.title() };
}

async function echo(page) {
  await page.goto(url);
  const shows = (text) => page.getByText(text, { exact: true }).waitFor();
  await page.click("#open");
  await shows("connected");
  await page.fill("#text", "grüße 🌊");
  await page.click("#send");
  await shows("received: grüße 🌊");
  await page.click("#close");
  await shows("closed with 1000");
  return { lines: await page.locator("#log li").allTextContents() };
}

async function chat(first) {
  const pages = { ann: first, bob: await browser.newPage(), eve: await browser.newPage() };
  for (const [name, page] of Object.entries(pages)) {
    await page.goto(`${url}?room=${name === "eve" ? "elsewhere" : "tides & waves"}`);
    await page.getByText("connected", { exact: true }).waitFor();
    await page.fill("#name", name);
  }
  const says = async (name, text) => {
    await pages[name].fill("#text", text);
    await pages[name].press("#text", "Enter");
    await pages[name].getByText(`${name}: ${text}`, { exact: true }).waitFor();
  };
  await says("ann", "is the tide in?");
  await pages.bob.getByText("ann: is the tide in?", { exact: true }).waitFor();
  await says("bob", "<b>nearly</b>");
  await pages.ann.getByText("bob: <b>nearly</b>", { exact: true }).waitFor();
  await says("eve", "nobody hears me");
  const lines = {};
  for (const [name, page] of Object.entries(pages)) {
    lines[name] = await page.locator("#log li").allTextContents();
  }
  return { lines };
}
