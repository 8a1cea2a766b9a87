// permessage-deflate between the gateway and Node's `ws`: windows, context takeover, off.
// Arguments: ws://CLIENTS ADMIN. Exits with 0 if every message was as expected.

import assert from "node:assert/strict";
import { once } from "node:events";
import { createRequire } from "node:module";

// Found through NODE_PATH, which `import` does not look at.
const { WebSocket } = createRequire(import.meta.url)("ws");

const [clients, admin] = process.argv.slice(2);
const DEADLINE_MS = 15000;
const deadline = setTimeout(() => {
  console.error("not done in time");
  process.exit(2);
}, DEADLINE_MS);

const prose = "Every message of this text refers to the one before it, if it may. ".repeat(10);
const far = Array.from({ length: 2000 }, (_, n) => n.toString(16)).join(" ").repeat(2) + prose;

async function open(path, perMessageDeflate) {
  const socket = new WebSocket(clients + path, { perMessageDeflate });
  let agreed;
  socket.on("upgrade", ({ headers }) => (agreed = headers["sec-websocket-extensions"] ?? ""));
  const arrived = [];
  const waiting = [];
  socket.on("message", (data, isBinary) => {
    const message = isBinary ? data : data.toString();
    const take = waiting.shift();
    if (take) take(message);
    else arrived.push(message);
  });
  await once(socket, "open");
  const next = () =>
    arrived.length > 0
      ? Promise.resolve(arrived.shift())
      : new Promise((resolve) => waiting.push(resolve));
  const close = async () => {
    const closed = once(socket, "close");
    socket.close(1000);
    assert.equal((await closed)[0], 1000);
  };
  return { socket, next, close, agreed };
}

async function echoes(perMessageDeflate, expected) {
  const { socket, next, close, agreed } = await open("/echo", perMessageDeflate);
  for (const part of expected) assert.ok(agreed.includes(part), agreed);
  assert.equal(agreed === "", perMessageDeflate === false);
  for (const message of [prose, prose, far, "", "short", Buffer.from(far), prose]) {
    socket.send(message);
    assert.deepEqual(await next(), message);
  }
  socket.send(prose, { fin: false });
  socket.send(far);
  assert.equal(await next(), prose + far);
  socket.send(prose, { compress: false });
  assert.equal(await next(), prose);
  await close();
}

async function publications() {
  const offers = [false, { threshold: 0 }, { serverMaxWindowBits: 9 }, { clientMaxWindowBits: 9 }];
  const subscribers = await Promise.all(offers.map((offer) => open("/raw?channel=news", offer)));
  const compressed = subscribers.map(({ agreed }) => agreed !== "");
  assert.deepEqual(compressed, [false, true, false, true]);
  const speaker = await open("/raw?channel=news&publish=1", { threshold: 0 });
  for (const message of [prose, far, "short", Buffer.from(prose)]) {
    speaker.socket.send(message);
    for (const { next } of [speaker, ...subscribers]) assert.deepEqual(await next(), message);
  }
  const body = JSON.stringify({ channel: "news", data: prose });
  const headers = { "content-type": "application/json" };
  const answer = await fetch(`http://${admin}/api/publish`, { method: "POST", headers, body });
  assert.equal(answer.status, 200);
  for (const { next } of [speaker, ...subscribers]) assert.equal(await next(), JSON.stringify(prose));
  for (const { close } of [speaker, ...subscribers]) await close();
}

await echoes(false, []);
for (const bits of [9, 12, 15]) {
  await echoes({ threshold: 0, serverMaxWindowBits: bits }, [`server_max_window_bits=${bits}`]);
  const both = { threshold: 0, serverMaxWindowBits: bits, clientMaxWindowBits: bits };
  await echoes(both, bits < 15 ? [`client_max_window_bits=${bits}`] : []);
  await echoes(
    { ...both, serverNoContextTakeover: true, clientNoContextTakeover: true },
    ["server_no_context_takeover", "client_no_context_takeover"],
  );
}
await publications();
clearTimeout(deadline);
