// A subscriber of Centrifuge's SDK whose socket is not read while much is published to channels
// that spare some of it.
// Arguments: ws://CLIENTS ADMIN. Exits with 0 if the application saw what it should.

import assert from "node:assert/strict";
import { createRequire } from "node:module";

// Found through NODE_PATH, which `import` does not look at.
const require = createRequire(import.meta.url);
const { Centrifuge } = require("centrifuge");
const { WebSocket } = require("ws");

const [clients, admin] = process.argv.slice(2);
const DEADLINE_MS = 20000;
setTimeout(() => {
  console.error("not done in time");
  process.exit(2);
}, DEADLINE_MS).unref();

let socket;
class Watched extends WebSocket {
  constructor(...options) {
    super(...options);
    socket = this;
  }
}

const client = new Centrifuge(`${clients}/connection/websocket`, { websocket: Watched });
client.on("disconnected", (context) => assert.fail(JSON.stringify(context)));
client.connect();
await client.ready(5000);
const seen = {};
const waiting = new Map();
for (const channel of ["newest:a", "newest:b", "oldest:a"]) {
  seen[channel] = [];
  const subscription = client.newSubscription(channel);
  subscription.on("publication", ({ data }) => {
    seen[channel].push(data.n);
    waiting.get(`${channel} ${data.n}`)?.();
  });
  subscription.subscribe();
  await subscription.ready(5000);
}

async function publish(channel, n) {
  // Different each time, so that compression leaves something of it.
  const noise = Array.from({ length: 500 }, () => Math.random().toString(36).slice(2)).join("");
  const body = JSON.stringify({ channel, data: { n, noise } });
  const headers = { "content-type": "application/json" };
  const answer = await fetch(`http://${admin}/api/publish`, { method: "POST", headers, body });
  assert.equal(answer.status, 200);
  return (await answer.json()).result;
}

async function missed() {
  const text = await (await fetch(`http://${admin}/metrics`)).text();
  const total = (name) =>
    [...text.matchAll(new RegExp(`^tidegate_publications_${name}_total.* (\\d+)$`, "gm"))]
      .map((match) => Number(match[1]))
      .reduce((a, b) => a + b, 0);
  return [total("dropped_oldest"), total("superseded")];
}

socket.pause();
let n = 0;
do {
  for (let more = 0; more < 25; more += 1) {
    n += 1;
    for (const channel of Object.keys(seen)) await publish(channel, n);
  }
  assert.ok(n < 5000, "nothing is missed");
} while ((await missed()).some((count) => count < 20));

const newest = Object.keys(seen).map(
  (channel) => new Promise((resolve) => waiting.set(`${channel} ${n}`, resolve)),
);
socket.resume();
await Promise.all(newest);
for (const numbers of Object.values(seen)) {
  assert.ok(numbers.length < n, "something was missed");
  assert.deepEqual(numbers, [...new Set(numbers)].sort((a, b) => a - b), "in order, each once");
}
// It is asked and answers all the same.
await assert.rejects(client.presenceStats("oldest:a"), { code: 108 });
process.exit(0);
