/** A proxy for CONNECT (RFC 9110 section 9.3.6) that wants a password: `connect-proxy.ts ADDRESS PORT USER:PASSWORD`. */
const [address = "", port, credentials = ""] = process.argv.slice(2);

interface Way {
  head: string;
  up?: Bun.Socket<Bun.Socket<Way>> | undefined;
  /** What came while the other side was busy, or not there yet. */
  readonly upward: Buffer[];
  readonly downward: Buffer[];
}

function push(socket: Bun.Socket<unknown>, queue: Buffer[]): void {
  for (let head = queue[0]; head !== undefined; head = queue[0]) {
    const taken = Math.max(0, socket.write(head));
    if (taken < head.length) {
      queue[0] = head.subarray(taken);
      return;
    }
    queue.shift();
  }
}

Bun.listen<Way>({
  hostname: address,
  port: Number(port),
  socket: {
    open(socket) {
      socket.data = { head: "", upward: [], downward: [] };
    },
    async data(socket, bytes) {
      const way = socket.data;
      if (way.up !== undefined) {
        way.upward.push(Buffer.from(bytes));
        return push(way.up, way.upward);
      }
      way.head += bytes.toString("latin1");
      if (!way.head.includes("\r\n\r\n")) return;
      const target = /^CONNECT ([^ ]+):(\d+) /.exec(way.head);
      const wanted = `Proxy-Authorization: Basic ${Buffer.from(credentials).toString("base64")}\r\n`;
      if (target === null || !way.head.includes(wanted)) {
        socket.end("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n");
        return;
      }
      way.up = await Bun.connect<Bun.Socket<Way>>({
        hostname: target[1] as string,
        port: Number(target[2]),
        data: socket,
        socket: {
          data(_, back) {
            way.downward.push(Buffer.from(back));
            push(socket, way.downward);
          },
          drain: (up) => push(up, way.upward),
          close: () => void socket.end(),
          error: () => void socket.end(),
        },
      }).catch(() => undefined);
      if (way.up === undefined) return void socket.end("HTTP/1.1 502 Bad Gateway\r\n\r\n");
      socket.write("HTTP/1.1 200 Connection established\r\n\r\n");
    },
    drain: (socket) => push(socket, socket.data.downward),
    close: (socket) => void socket.data.up?.end(),
    error: (socket) => void socket.data.up?.end(),
  },
});
console.log("ready");
