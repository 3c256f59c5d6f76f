/**
 * Sends single datagrams, 64 by one sendmmsg(2): `bun blast.ts ADDRESS PORT BYTES SECONDS [PER_SECOND]`, by default as fast as it can.
 * Prints `{datagrams, seconds}`.
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
import { layData, layEndpoint } from "../../src/tunnel/path/message-header.ts";
import { ENDPOINT_BYTES, setEndpoint } from "../../src/tunnel/path/mod.ts";

const BATCH = 64;
const POLLOUT = 4;
const EAGAIN = 11;
const EINTR = 4;

const [address = "", port, bytes, seconds, perSecond] = process.argv.slice(2);
const arena = new Arena({ bytes: 1 << 20 });
const to = ipBytes(parseIp(address));
using socket = DatagramSocket.open(to.length === 4 ? 4 : 6);
const fd = socket.fd.number;
const endpoint = arena.allocate(ENDPOINT_BYTES);
setEndpoint(arena, endpoint, socketAddress(to, Number(port)));
const headers = arena.allocate(BATCH * SIZE.mmsghdr);
const text = arena.allocate(Number(bytes));
for (let i = 0; i < BATCH; i++) {
  layData(arena, headers + i * SIZE.mmsghdr, arena.allocate(SIZE.iovec), text, Number(bytes));
  layEndpoint(arena, headers + i * SIZE.mmsghdr, endpoint);
}
const request = arena.allocate(SIZE.pollfd);
arena.view.setInt32(request, fd, true);
arena.view.setInt16(request + 4, POLLOUT, true);

let datagrams = 0;
const start = performance.now();
const end = start + Number(seconds) * 1000;
let now = start;
for (; now < end; now = performance.now()) {
  const due =
    perSecond === undefined
      ? BATCH
      : Math.min(BATCH, Math.floor(((now - start) / 1000) * Number(perSecond)) - datagrams);
  if (due < 1) {
    Bun.sleepSync(0.1);
    continue;
  }
  const sent = sendMessages(fd, arena, headers, due);
  if (sent > 0) datagrams += sent;
  else if (sent === -EAGAIN) pollMany(arena, request, 1, 10);
  else if (sent !== -EINTR) throw new SystemError("sendmmsg", -sent);
}
process.stdout.write(JSON.stringify({ datagrams, seconds: (now - start) / 1000 }));
