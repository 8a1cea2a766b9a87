// The gateway through Centrifuge's own SDK for JavaScript.
// Arguments: MODE ws://CLIENTS ADMIN. Exits with 0 if everything was as expected.
//   flow     two clients: subscribe, publish, presence, history, who comes and goes, errors
//   recover  a subscriber whose TCP connection is killed while 1,000 messages are published
//   lost     a subscriber that was away for as much as a history of 3 holds, and for more

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { once } from "node:events";
import { createRequire } from "node:module";
import { promisify } from "node:util";

import { queue } from "./events.mjs";

// Found through NODE_PATH, which `import` does not look at.
const require = createRequire(import.meta.url);
const { Centrifuge } = require("centrifuge");
const { WebSocket } = require("ws");

const [mode, clients, admin] = process.argv.slice(2);
const ENDPOINT = `${clients}/connection/websocket`;
const DEADLINE_MS = 15000;
setTimeout(() => {
  console.error("not done in time");
  process.exit(2);
}, DEADLINE_MS).unref();

function connect(websocket = WebSocket) {
  const client = new Centrifuge(ENDPOINT, {
    websocket,
    minReconnectDelay: 20,
    maxReconnectDelay: 100,
  });
  client.connect();
  return client;
}

async function post(channel, data) {
  const type = ["-H", "content-type: application/json"];
  const body = JSON.stringify({ channel, data });
  const url = `${admin}/api/publish`;
  const { stdout } = await promisify(execFile)("curl", ["-sS", url, ...type, "-d", body]);
  return JSON.parse(stdout).result;
}

async function flow() {
  const ann = connect();
  const { client: annId } = await new Promise((resolve) => ann.on("connected", resolve));
  const news = ann.newSubscription("news", { joinLeave: true });
  const next = queue(news, "subscribed", "publication", "join", "leave", "unsubscribed");
  news.subscribe();
  const subscribed = await next("subscribed");
  assert.equal(subscribed.recoverable, true);
  assert.equal(subscribed.streamPosition.offset, 0);
  assert.equal((await next("join")).info.client, annId);

  const bob = connect();
  const { client: bobId } = await new Promise((resolve) => bob.on("connected", resolve));
  const bobNews = bob.newSubscription("news");
  bobNews.subscribe();
  await bobNews.ready(5000);
  assert.equal((await next("join")).info.client, bobId);

  // From a backend, with everything JSON can say.
  const data = { text: "grüße 🌊\n", list: [1, -2.5e3, null, true, {}], deep: [[[[]]]] };
  const { offset, epoch } = await post("news", data);
  const fromBackend = await next("publication");
  assert.deepEqual(fromBackend.data, data);
  assert.deepEqual([fromBackend.offset, fromBackend.info], [offset, undefined]);
  assert.equal(epoch, subscribed.streamPosition.epoch);

  // From a client, to all, with its name on it; several in one message.
  await Promise.all(["one", 2, null].map((one) => bob.publish("news", one)));
  for (const expected of ["one", 2, null]) {
    const publication = await next("publication");
    assert.deepEqual([publication.data, publication.info.client], [expected, bobId]);
  }

  assert.deepEqual(Object.keys((await news.presence()).clients).sort(), [annId, bobId].sort());
  assert.deepEqual(await ann.presenceStats("news"), { numClients: 2, numUsers: 1 });
  const all = await news.history({ limit: -1 });
  assert.deepEqual(all.publications.map((one) => one.data), [data, "one", 2, null]);
  const newest = await news.history({ limit: 2, reverse: true });
  assert.deepEqual(newest.publications.map((one) => one.offset), [4, 3]);
  const since = await news.history({ limit: 1, since: { offset: 1, epoch } });
  assert.deepEqual([since.publications[0].data, since.offset], ["one", 4]);
  const lost = news.history({ limit: 1, since: { offset: 1, epoch: "another" } });
  await assert.rejects(lost, { code: 112 });
  await assert.rejects(ann.rpc("method", {}), { code: 104 });

  bob.disconnect();
  assert.equal((await next("leave")).info.client, bobId);
  news.unsubscribe();
  await next("unsubscribed");
  assert.deepEqual(await ann.presenceStats("news"), { numClients: 0, numUsers: 0 });
  news.subscribe();
  assert.equal((await next("subscribed")).streamPosition.offset, 4);
  const gone = once(ann, "disconnected");
  ann.send({ nobody: "listens" });
  assert.equal((await gone)[0].code, 3508);
}

async function recover() {
  const sockets = [];
  class Watched extends WebSocket {
    constructor(...options) {
      super(...options);
      sockets.push(this);
    }
  }
  const subscriber = connect(Watched);
  const subscription = subscriber.newSubscription("stream");
  const seen = [];
  const missed = [];
  subscription.on("publication", ({ data, offset }) => seen.push([data, offset]));
  subscription.on("subscribed", (context) => {
    if (context.wasRecovering) missed.push(context.recovered);
  });
  subscription.subscribe();
  await subscription.ready(5000);

  const publisher = connect();
  await publisher.ready(5000);
  const COUNT = 1000;
  // More are published before it is back than one batch of a shard's work, fewer than recovery
  // hands out.
  const KILLS = [100, 400, 700];
  let noticed;
  for (let n = 0; n < COUNT; n += 1) {
    if (KILLS.includes(n)) {
      noticed = once(subscription, "subscribing");
      sockets.at(-1).terminate();
    }
    await publisher.publish("stream", n);
    if (KILLS.includes(n - 200)) {
      // A client that inflates notices late, and until then it still says that it is subscribed.
      await noticed;
      await subscription.ready(5000);
    }
  }
  const last = await subscription.history({ limit: 0 });
  assert.equal(last.offset, COUNT);
  while (seen.length < COUNT) await once(subscription, "publication");
  assert.deepEqual(seen, Array.from({ length: COUNT }, (_, n) => [n, n + 1]));
  assert.deepEqual(missed, KILLS.map(() => true), "each time it was back, nothing was missing");
}

async function lost() {
  const subscriber = connect();
  const subscription = subscriber.newSubscription("stream");
  const next = queue(subscription, "subscribed", "publication");
  subscription.subscribe();
  const { epoch } = (await next("subscribed")).streamPosition;
  let published = 0;
  for (const missed of [3, 4, 0]) {
    subscriber.disconnect();
    for (let n = 0; n < missed; n += 1) await post("stream", (published += 1));
    subscriber.connect();
    const back = await next("subscribed");
    assert.deepEqual([back.wasRecovering, back.recovered], [true, missed <= 3]);
    assert.equal(back.streamPosition.epoch, epoch);
    // What came after the gap is not handed out: the application loads its state anew.
    const handed = back.recovered ? missed : 0;
    for (let n = published - handed + 1; n <= published; n += 1) {
      const { data, offset } = await next("publication");
      assert.deepEqual([data, offset], [n, n]);
    }
    await post("stream", (published += 1));
    assert.equal((await next("publication")).offset, published, "and on it goes");
  }
}

await { flow, recover, lost }[mode]();
process.exit(0);
