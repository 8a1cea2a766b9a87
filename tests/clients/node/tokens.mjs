// Tokens through Centrifuge's own SDK for JavaScript, and on the raw protocol.
// Arguments: PROGRAM ws://CLIENTS. Exits with 0 if everything was as expected.
// The environment holds the secret, for the gateway's own `token` command.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { createHmac } from "node:crypto";
import { createRequire } from "node:module";
import { promisify } from "node:util";

// Found through NODE_PATH, which `import` does not look at.
const require = createRequire(import.meta.url);
const { Centrifuge } = require("centrifuge");
const { WebSocket } = require("ws");

const [program, clients] = process.argv.slice(2);
const DEADLINE_MS = 15000;
setTimeout(() => {
  console.error("not done in time");
  process.exit(2);
}, DEADLINE_MS).unref();

async function token(user, ...more) {
  const { stdout } = await promisify(execFile)(program, ["token", "--user", user, ...more]);
  return stdout.trim();
}

// What the command does not make: a token that has expired long ago.
function signed(claims) {
  const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const text = `${part({ alg: "HS256", typ: "JWT" })}.${part(claims)}`;
  const secret = process.env.TIDEGATE_TOKEN_HMAC_SECRET;
  return `${text}.${createHmac("sha256", secret).update(text).digest("base64url")}`;
}

function client(options) {
  const url = `${clients}/connection/websocket`;
  return new Centrifuge(url, { websocket: WebSocket, minReconnectDelay: 20, ...options });
}

// Not `once` of Node: that one takes an "error" for the end, and the SDK goes on.
function event(emitter, name) {
  return new Promise((resolve) => emitter.once(name, resolve));
}

async function connected(one) {
  const done = event(one, "connected");
  one.connect();
  return done;
}

async function disconnectedWith(one, code) {
  const done = event(one, "disconnected");
  one.connect();
  assert.equal((await done).code, code);
}

async function expiredTokenIsReplaced() {
  const expired = signed({ sub: "ann", exp: 1_000_000_000 });
  let asked = 0;
  const errors = [];
  const ann = client({
    token: expired,
    getToken: async () => {
      asked += 1;
      return token("ann");
    },
  });
  ann.on("error", (context) => errors.push(context.error.code));
  await connected(ann);
  assert.deepEqual([asked, errors], [1, [109]]);
  ann.disconnect();
}

async function refreshKeepsTheConnection() {
  const asked = [];
  let refreshed;
  const twice = new Promise((resolve) => (refreshed = resolve));
  const ann = client({
    getToken: async () => {
      asked.push(Date.now());
      if (asked.length === 3) refreshed();
      return token("ann", "--exp", "2s");
    },
  });
  const reconnects = [];
  ann.on("connecting", (context) => reconnects.push(context.code));
  const { client: before } = await connected(ann);
  const sub = ann.newSubscription("$private", {
    getToken: () => token("ann", "--channel", "$private", "--exp", "2s", "--info", '{"n":1}'),
  });
  const left = [];
  sub.on("subscribing", (context) => left.push(context.code));
  sub.subscribe();
  await sub.ready(5000);
  await twice;
  const { clients: there } = await sub.presence();
  const { user, chanInfo } = there[before];
  assert.deepEqual([user, chanInfo], ["ann", { n: 1 }]);
  assert.deepEqual([reconnects.length, left.length], [1, 1], "neither ever ended");
  ann.disconnect();
}

async function privateChannels() {
  const ann = client({ getToken: () => token("ann") });
  await connected(ann);
  const bare = ann.newSubscription("$secret");
  const refused = event(bare, "unsubscribed");
  bare.subscribe();
  assert.equal((await refused).code, 103);
  const limited = ann.newSubscription("room#ann,bob");
  limited.subscribe();
  await limited.ready(5000);
  const others = ann.newSubscription("room#bob");
  const closed = event(others, "unsubscribed");
  others.subscribe();
  assert.equal((await closed).code, 103);
  // Somebody else's token ends the connection.
  const stolen = ann.newSubscription("$other", {
    getToken: () => token("bob", "--channel", "$other"),
  });
  const gone = event(ann, "disconnected");
  stolen.subscribe();
  assert.equal((await gone).code, 3500);
}

async function raw() {
  const url = `${clients}/raw?channel=news`;
  const outcome = (url, headers) =>
    new Promise((resolve) => {
      const socket = new WebSocket(url, { headers });
      socket.on("open", () => resolve(101, socket.close()));
      socket.on("unexpected-response", (_, response) => resolve(response.statusCode));
    });
  const good = await token("ann");
  assert.equal(await outcome(url, {}), 403);
  assert.equal(await outcome(url, { authorization: `Bearer ${good}` }), 101);
  assert.equal(await outcome(`${url}&token=${good}`, {}), 101);
  assert.equal(await outcome(url, { authorization: `Bearer ${good}x` }), 401);
  assert.equal(await outcome(`${url}&token=nonsense`, {}), 401);
  assert.equal(await outcome(`${url}&token=${good}`, { authorization: "Bearer x" }), 400);
  assert.equal(await outcome(`${clients}/raw?channel=$x&token=${good}`, {}), 403);
}

await Promise.all([
  disconnectedWith(client({ token: `${await token("ann")}x` }), 3500),
  // Nobody in particular has no business here.
  disconnectedWith(client({}), 3501),
  expiredTokenIsReplaced(),
  refreshKeepsTheConnection(),
  privateChannels(),
  raw(),
]);
process.exit(0);
