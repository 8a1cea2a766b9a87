// Headless Chromium on pages that connect to the gateway.
// Usage: page.mjs demo URL ADMIN SHOTS    the demo page, at desktop and phone size
//        page.mjs foreign URL             a page of another origin; prints what became of it
// Prints one JSON object. CHROMIUM is the path of the browser.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";

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
  const page = await browser.newPage();
  const complaints = [];
  page.on("pageerror", (error) => complaints.push(String(error)));
  const result = mode === "demo" ? await demo(page, ...rest) : await foreign(page);
  console.log(JSON.stringify({ ...result, complaints }));
} finally {
  await browser.close();
  rmSync(profile, { recursive: true, force: true });
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
  await shows("hello from the page");
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
