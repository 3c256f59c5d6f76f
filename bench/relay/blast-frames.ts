/**
 * Sends data messages of WireGuard with one receiver index as fast as it can, 64 by one sendmmsg(2), or in super-packets that the kernel splits:
 * `bun blast-frames.ts ADDRESS PORT FROM_PORT INDEX BYTES SECONDS single|joined`. Prints `{datagrams, seconds}`.
 */
import { ipBytes, parseIp } from "../../src/net/mod.ts";
import {
  Arena,
  DatagramSocket,
  pollMany,
  sendMessages,
  SIZE,
  socketAddress,
  SystemError,
} from "../../src/sys/mod.ts";
import {
  CONTROL,
  CONTROL_HEADER,
  layControl,
  layData,
  layEndpoint,
} from "../../src/tunnel/path/message-header.ts";
import { ENDPOINT_BYTES, setEndpoint } from "../../src/tunnel/path/mod.ts";

const MOST_BYTES = 65_507;
const MOST_SEGMENTS = 64;
const POLLOUT = 4;
const EAGAIN = 11;
const EINTR = 4;

const [address = "", port, fromPort, index, size, seconds, how] = process.argv.slice(2);
const bytes = Number(size);
const segments = how === "joined" ? Math.min(MOST_SEGMENTS, Math.floor(MOST_BYTES / bytes)) : 1;
const batch = how === "joined" ? 4 : 64;
const arena = new Arena({ bytes: 1 << 20 });
const to = ipBytes(parseIp(address));
using socket = DatagramSocket.open(4, { port: Number(fromPort) });
const fd = socket.fd.number;
const endpoint = arena.allocate(ENDPOINT_BYTES);
setEndpoint(arena, endpoint, socketAddress(to, Number(port)));
const text = arena.allocate(segments * bytes);
for (let i = 0; i < segments; i++) {
  arena.view.setUint32(text + i * bytes, 4, true);
  arena.view.setUint32(text + i * bytes + 4, Number(index), true);
}
const headers = arena.allocate(batch * SIZE.mmsghdr);
for (let i = 0; i < batch; i++) {
  const header = headers + i * SIZE.mmsghdr;
  layData(arena, header, arena.allocate(SIZE.iovec), text, segments * bytes);
  layEndpoint(arena, header, endpoint);
  if (segments === 1) continue;
  const control = arena.allocate(CONTROL_HEADER + 8);
  [CONTROL_HEADER + 2, 0, CONTROL.udp, CONTROL.udpSegment].forEach((value, word) =>
    arena.view.setInt32(control + 4 * word, value, true),
  );
  arena.view.setUint16(control + CONTROL_HEADER, bytes, true);
  layControl(arena, header, control, CONTROL_HEADER + 8);
}
const request = arena.allocate(SIZE.pollfd);
arena.view.setInt32(request, fd, true);
arena.view.setInt16(request + 4, POLLOUT, true);

let datagrams = 0;
const start = performance.now();
const end = start + Number(seconds) * 1000;
let now = start;
for (; now < end; now = performance.now()) {
  const sent = sendMessages(fd, arena, headers, batch);
  if (sent > 0) datagrams += sent * segments;
  else if (sent === -EAGAIN) pollMany(arena, request, 1, 10);
  else if (sent !== -EINTR) throw new SystemError("sendmmsg", -sent);
}
process.stdout.write(JSON.stringify({ datagrams, seconds: (now - start) / 1000 }));
