/**
 * Counts what a UDP socket receives until its standard input ends: `bun count.ts PORT joined|single`, 64 messages by one recvmmsg(2),
 * each of as many datagrams as the kernel joined (UDP_GRO), or of one. Prints a line when it is ready, then the number of bytes.
 */
import {
  Arena,
  DatagramSocket,
  libc,
  pollMany,
  receiveMessages,
  SIZE,
  SystemError,
} from "../../src/sys/mod.ts";
import { layData, MESSAGE_HEADER } from "../../src/tunnel/path/message-header.ts";

const BATCH = 64;
const ROOM = 65_536;
const POLLIN = 1;
const EAGAIN = 11;
const EINTR = 4;
const SOL_UDP = 17;
const UDP_GRO = 104;

const arena = new Arena({ bytes: 8 << 20 });
const [port, how] = process.argv.slice(2);
using socket = DatagramSocket.open(4, { port: Number(port) });
const fd = socket.fd.number;
if (how === "single") libc.setsockopt(fd, SOL_UDP, UDP_GRO, 0);
const headers = arena.allocate(BATCH * SIZE.mmsghdr);
for (let i = 0; i < BATCH; i++)
  layData(arena, headers + i * SIZE.mmsghdr, arena.allocate(SIZE.iovec), arena.allocate(ROOM), ROOM);
const requests = arena.allocate(2 * SIZE.pollfd);
for (const [index, one] of [fd, 0].entries()) {
  arena.view.setInt32(requests + index * SIZE.pollfd, one, true);
  arena.view.setInt16(requests + index * SIZE.pollfd + 4, POLLIN, true);
}
const answer = (index: number) => arena.view.getInt16(requests + index * SIZE.pollfd + 6, true);

process.stdout.write("ready\n");
let bytes = 0;
do {
  pollMany(arena, requests, 2, -1);
  const count = receiveMessages(fd, arena, headers, BATCH);
  if (count < 0 && count !== -EAGAIN && count !== -EINTR) throw new SystemError("recvmmsg", -count);
  for (let i = 0; i < count; i++)
    bytes += arena.u32[(headers + i * SIZE.mmsghdr + MESSAGE_HEADER.bytes) >>> 2] as number;
} while (answer(1) === 0 || answer(0) !== 0);
process.stdout.write(`${bytes}\n`);
