// Node's `ws` at the other end of the library's examples.
// Usage: library.mjs echo URL OPTIONS    as a client of examples/echo; prints what was agreed on
//        library.mjs serve OPTIONS       as an echo server; prints its URL, then per connection what
//                                        was agreed on; ends with its input
// OPTIONS is the JSON of `perMessageDeflate`.

import assert from "node:assert/strict";
import { once } from "node:events";
import { createRequire } from "node:module";

// Found through NODE_PATH, which `import` does not look at.
const { WebSocket, WebSocketServer } = createRequire(import.meta.url)("ws");

const [mode, ...rest] = process.argv.slice(2);
const perMessageDeflate = JSON.parse(rest.at(-1));

async function echo(url) {
  const socket = new WebSocket(url, { perMessageDeflate });
  await once(socket, "open");
  const text = "grüße 🌊 ".repeat(10_000);
  const large = Buffer.alloc(1 << 20, "0123456789abcdef");
  for (const message of ["hello", text, "", Buffer.from([0, 255]), Buffer.alloc(0), large, text]) {
    socket.send(message);
    const [data, isBinary] = await once(socket, "message");
    assert.deepEqual(isBinary ? data : data.toString(), message);
  }
  socket.send("one ", { fin: false });
  socket.ping();
  socket.send("message", { fin: true });
  const [[data]] = await Promise.all([once(socket, "message"), once(socket, "pong")]);
  assert.equal(data.toString(), "one message");
  console.log(socket.extensions);
  socket.close(1000);
  assert.equal((await once(socket, "close"))[0], 1000);
}

async function serve() {
  const server = new WebSocketServer({ host: "127.0.0.1", port: 0, perMessageDeflate });
  await once(server, "listening");
  console.log(`ws://127.0.0.1:${server.address().port}/`);
  server.on("connection", (socket) => {
    console.log(`agreed on [${socket.extensions}]`);
    socket.on("message", (data, isBinary) => socket.send(data, { binary: isBinary }));
  });
  process.stdin.resume();
  process.stdin.on("end", () => process.exit(0));
}

await { echo, serve }[mode](...rest);
