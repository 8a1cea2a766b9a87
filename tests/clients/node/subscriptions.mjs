// Subscriptions that begin with the connection, through Centrifuge's own SDK for JavaScript.
// Arguments: MODE ws://CLIENTS http://ADMIN. Exits with 0 if everything was as expected.
// The environment holds the secret of tokens.
//   flow     a token's channels, the personal channel, what a backend adds and ends
//   recover  a client whose TCP connection is killed while 1,200 messages are published

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { createHmac } from "node:crypto";
import { createRequire } from "node:module";
import { promisify } from "node:util";

import { queue } from "./events.mjs";

// Found through NODE_PATH, which `import` does not look at.
const require = createRequire(import.meta.url);
const { Centrifuge } = require("centrifuge");
const { WebSocket } = require("ws");

const [mode, clients, admin] = process.argv.slice(2);
const DEADLINE_MS = 15000;
setTimeout(() => {
  console.error("not done in time");
  process.exit(2);
}, DEADLINE_MS).unref();

function token(claims) {
  const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const text = `${part({ alg: "HS256", typ: "JWT" })}.${part(claims)}`;
  const secret = process.env.TIDEGATE_TOKEN_HMAC_SECRET;
  return `${text}.${createHmac("sha256", secret).update(text).digest("base64url")}`;
}

async function call(method, body) {
  const type = ["-H", "content-type: application/json"];
  const url = `${admin}/api/${method}`;
  const all = ["-sS", url, ...type, "-d", JSON.stringify(body)];
  const { stdout } = await promisify(execFile)("curl", all);
  const answer = JSON.parse(stdout);
  assert.ok(answer.result, stdout);
  return answer.result;
}

// Every socket that was opened, and what came in through it.
const sockets = [];
class Watched extends WebSocket {
  constructor(...options) {
    super(...options);
    this.lines = [];
    this.on("message", (data) => this.lines.push(...data.toString().split("\n")));
    sockets.push(this);
  }
}

function client(claims) {
  return new Centrifuge(`${clients}/connection/websocket`, {
    token: token(claims),
    websocket: Watched,
    minReconnectDelay: 20,
    maxReconnectDelay: 100,
  });
}

async function flow() {
  const subs = {
    "chat:lobby": {
      info: { role: "guest" },
      data: { topic: "tea" },
      override: { force_push_join_leave: { value: true } },
    },
    "chat:hidden": { override: { presence: { value: false }, join_leave: { value: false } } },
  };
  const ann = client({ sub: "ann", channels: ["$closed", "chat:lobby"], subs });
  const next = queue(ann, "subscribed", "publication", "join", "unsubscribed", "disconnected");
  ann.connect();
  const subscribed = {};
  for (let n = 0; n < 4; n += 1) {
    const context = await next("subscribed");
    subscribed[context.channel] = context;
  }
  const all = ["$closed", "chat:hidden", "chat:lobby", "user:#ann"];
  assert.deepEqual(Object.keys(subscribed).sort(), all);
  assert.deepEqual(subscribed["chat:lobby"].data, { topic: "tea" });
  assert.equal(subscribed["user:#ann"].recoverable, true);
  assert.equal(subscribed["user:#ann"].streamPosition.offset, 0);
  const { info } = await next("join");
  assert.deepEqual([info.user, info.chanInfo], ["ann", { role: "guest" }]);
  const { presence } = await call("presence", { channel: "chat:lobby" });
  assert.deepEqual(presence[info.client].chan_info, { role: "guest" });
  assert.deepEqual(await call("presence", { channel: "chat:hidden" }), { presence: {} });

  for (const channel of [...all, "told"]) {
    if (channel === "told") {
      await call("subscribe", { user: "ann", channel, data: [1] });
      const context = await next("subscribed");
      assert.deepEqual([context.channel, context.data], [channel, [1]]);
    }
    // As soon as the client is subscribed, what is published arrives.
    await call("publish", { channel, data: { to: channel } });
    const publication = await next("publication");
    assert.deepEqual([publication.channel, publication.data], [channel, { to: channel }]);
  }
  await call("unsubscribe", { user: "ann", channel: "told" });
  assert.equal((await next("unsubscribed")).channel, "told");

  // Its session means this client alone, a wrong one nobody.
  const connect = JSON.parse(sockets[0].lines[0]).connect;
  assert.equal(connect.client, info.client);
  const wrong = connect.session.replace(/.$/, (digit) => (digit === "0" ? "1" : "0"));
  await call("disconnect", { session: wrong });
  await call("disconnect", { session: connect.session, user: "bob" });
  await call("disconnect", { session: connect.session });
  assert.equal((await next("disconnected")).code, 3503);

  // A token for what does not exist opens nothing.
  const lost = client({ sub: "ann", channels: ["nowhere:a"] });
  const refused = queue(lost, "connected", "disconnected");
  lost.connect();
  assert.equal((await refused("disconnected")).code, 102);
  const many = client({ sub: "ann", channels: Array.from({ length: 129 }, (_, n) => `c${n}`) });
  const tooMany = queue(many, "connected", "disconnected");
  many.connect();
  assert.equal((await tooMany("disconnected")).code, 3505);
}

async function recover() {
  // Its own, its token's, one of a backend that it may subscribe to, and one that it may not.
  const [own, signed, told, closed] = ["user:#ann", "chat:a", "chat:told", "shut:x"];
  const ann = client({ sub: "ann", channels: [signed] });
  const seen = { [own]: [], [signed]: [], [told]: [], [closed]: [] };
  const missed = [];
  const ended = [];
  let arrived = 0;
  let enough = () => {};
  ann.on("publication", ({ channel, data, offset }) => {
    seen[channel].push([data, offset]);
    arrived += 1;
    enough();
  });
  ann.on("subscribed", (context) => {
    if (context.wasRecovering) missed.push([context.channel, context.recovered]);
  });
  ann.on("unsubscribed", ({ channel }) => ended.push(channel));
  ann.connect();
  await ann.ready(5000);
  for (const channel of [told, closed]) await call("subscribe", { user: "ann", channel });

  const bob = client({ sub: "bob" });
  bob.connect();
  await bob.ready(5000);
  const COUNT = 400;
  const KILLS = [50, 150, 250];
  for (let n = 0; n < COUNT; n += 1) {
    if (KILLS.includes(n)) sockets[0].terminate();
    await Promise.all([own, signed, told].map((channel) => bob.publish(channel, n)));
    if (KILLS.includes(n - 80)) {
      await ann.ready(5000);
      // The newest socket is ann's: bob's connection is never lost.
      sockets[0] = sockets.at(-1);
    }
  }
  await new Promise((resolve) => {
    enough = () => arrived >= 3 * COUNT && resolve();
    enough();
  });
  const expected = Array.from({ length: COUNT }, (_, n) => [n, n + 1]);
  for (const channel of [own, signed, told]) assert.deepEqual(seen[channel], expected, channel);
  const times = KILLS.flatMap(() => [own, signed, told].map((channel) => [channel, true]));
  assert.deepEqual(missed.sort(), times.sort(), "each time, nothing was missing");
  assert.deepEqual([ended, seen[closed]], [[closed], []]);
}

await { flow, recover }[mode]();
process.exit(0);
