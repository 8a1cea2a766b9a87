// The events of an SDK, one after another.

import assert from "node:assert/strict";

// The events of an emitter as they come: `next()` waits for one.
export function queue(emitter, ...names) {
  const arrived = [];
  const waiting = [];
  for (const name of names) {
    emitter.on(name, (context) => {
      const take = waiting.shift();
      if (take) take([name, context]);
      else arrived.push([name, context]);
    });
  }
  return async (name) => {
    const event = arrived.shift() ?? (await new Promise((resolve) => waiting.push(resolve)));
    assert.equal(event[0], name, JSON.stringify(event));
    return event[1];
  };
}
