// Servers for the load generator that nobody of ours wrote: an echo and a broadcast on `ws`.
//
// `/echo` sends back what comes, `/sub` receives everything that is published, on `/pub` or by POST
// to `/publish` as {"data": ...}. Prints its port, and ends with its standard input.

import { createServer } from "node:http";
import { createRequire } from "node:module";

// Found by NODE_PATH, which only CommonJS resolution knows.
const { WebSocketServer } = createRequire(import.meta.url)("ws");

const subscribers = new Set();

function broadcast(text) {
  // Encoded once for all.
  const data = Buffer.from(text);
  for (const subscriber of subscribers) subscriber.send(data, { binary: false });
}

const http = createServer((request, response) => {
  let body = "";
  request.setEncoding("utf8");
  request.on("data", (piece) => (body += piece));
  request.on("end", () => {
    if (request.method !== "POST" || request.url !== "/publish") {
      response.writeHead(404, { "content-length": 0 }).end();
      return;
    }
    broadcast(JSON.stringify(JSON.parse(body).data));
    const answer = '{"result":{}}';
    response.writeHead(200, { "content-length": answer.length }).end(answer);
  });
});

const server = new WebSocketServer({ server: http });
server.on("connection", (socket, request) => {
  switch (request.url) {
    case "/echo":
      socket.on("message", (data, isBinary) => socket.send(data, { binary: isBinary }));
      break;
    case "/sub":
      subscribers.add(socket);
      socket.on("close", () => subscribers.delete(socket));
      break;
    case "/pub":
      socket.on("message", (data) => broadcast(data.toString()));
      break;
    default:
      socket.close(1008, "no such path");
  }
  // A client that is killed is no reason to end.
  socket.on("error", () => {});
});

http.listen(0, "127.0.0.1", () => console.log(http.address().port));
process.stdin.on("end", () => process.exit(0)).resume();
