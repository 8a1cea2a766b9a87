// The main job through Node's `ws`: echo, subscribe, publish.
// Arguments: ws://CLIENTS ADMIN [HEADER...]. Exits with 0 if every message was as expected.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { once } from "node:events";
import { createRequire } from "node:module";
import { promisify } from "node:util";

// Found through NODE_PATH, which `import` does not look at.
const { WebSocket } = createRequire(import.meta.url)("ws");

const [clients, admin, ...headers] = process.argv.slice(2);
const DEADLINE_MS = 15000;
const deadline = setTimeout(() => {
  console.error("not done in time");
  process.exit(2);
}, DEADLINE_MS);

async function open(path) {
  const socket = new WebSocket(clients + path);
  const waiting = [];
  const arrived = [];
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
  return { socket, next, close };
}

async function publish(body) {
  const named = headers.flatMap((header) => ["-H", header]);
  const type = ["-H", "content-type: application/json"];
  const url = `${admin}/api/publish`;
  const { stdout } = await promisify(execFile)("curl", ["-sS", url, ...type, ...named, "-d", body]);
  assert.ok(JSON.parse(stdout).result.offset >= 1, stdout);
}

async function echoes() {
  const { socket, next, close } = await open("/echo");
  const text = "grüße 🌊 ".repeat(100);
  const large = Buffer.alloc(1 << 20, "0123456789abcdef");
  for (const message of ["hello", text, "", Buffer.from([0, 255]), Buffer.alloc(0), large]) {
    socket.send(message);
    assert.deepEqual(await next(), message);
  }
  socket.send("one ", { fin: false });
  socket.send("mess", { fin: false });
  socket.ping();
  socket.send("age", { fin: true });
  await once(socket, "pong");
  assert.equal(await next(), "one message");
  await close();
}

async function receives() {
  const { next, close } = await open("/raw?channel=news");
  await publish('{"channel":"news","data":{"n":1}}');
  assert.equal(await next(), '{"n":1}');
  await publish('{"channel":"news","b64data":"AP8Q"}');
  assert.deepEqual(await next(), Buffer.from([0, 255, 16]));
  await close();
}

async function publishes() {
  const speaker = await open("/raw?channel=news&publish=1");
  const listener = await open("/raw?channel=news");
  for (const message of ["over the socket", Buffer.from([1, 2])]) {
    speaker.socket.send(message);
    assert.deepEqual(await speaker.next(), message);
    assert.deepEqual(await listener.next(), message);
  }
  await Promise.all([speaker.close(), listener.close()]);
}

await echoes();
await receives();
await publishes();
clearTimeout(deadline);
