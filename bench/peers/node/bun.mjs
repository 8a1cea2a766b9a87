// An echo and a broadcast on Bun, whose server is uWebSockets.
//
// `/echo` sends back what comes; whoever is connected to `/sub` receives what is posted to
// `/publish` as {"data": ...}. Prints its port, and ends with its standard input.

const server = Bun.serve({
  hostname: "127.0.0.1",
  port: 0,
  async fetch(request, server) {
    const path = new URL(request.url).pathname;
    if (path === "/publish") {
      const { data } = await request.json();
      server.publish("all", JSON.stringify(data));
      return Response.json({ result: {} });
    }
    if (server.upgrade(request, { data: path })) return;
    return new Response(null, { status: 404 });
  },
  websocket: {
    open(socket) {
      if (socket.data === "/sub") socket.subscribe("all");
    },
    message(socket, message) {
      if (socket.data === "/echo") socket.send(message);
    },
  },
});

console.log(server.port);
process.stdin.on("end", () => process.exit(0)).resume();
