/**
 * A flood of handshake initiations that are not true, from many source addresses, as a program of its own:
 * `bun flood.ts KIND ADDRESS PORT PUBLIC_KEY PER_SECOND SECONDS`. Prints `{sent}`.
 *
 * KIND is `stranger` (does not know the public key: mac1 is wrong), `knowing` (mac1 is right, the rest is noise), `response` (an answer to
 * nothing), `data` (packets of no session) or `mixed` (all of them in turn). Sources are those of 10.66.0.0/16, which the sender's namespace must
 * have as its own (`ip route add local 10.66.0.0/16 dev lo`).
 */
import { ipBytes, parseIp, parsePublicKey, publicKeyBytes } from "../../src/net/mod.ts";
import { Arena, DatagramSocket, socketAddress } from "../../src/sys/mod.ts";
import { DatagramSender, ENDPOINT, ENDPOINT_BYTES, setEndpoint } from "../../src/tunnel/path/mod.ts";
import { macKeys, writeMacs } from "../../src/tunnel/wireguard/mac.ts";
import { systemPrimitives } from "../../src/tunnel/wireguard/mod.ts";
import { Random } from "./random.ts";

const POOL = 2048;
const SOURCES = 1024;
const PACKET_INFO_BYTES = 32;

const [kind = "", address = "", port, key = "", perSecond, seconds] = process.argv.slice(2);
const arena = new Arena({ bytes: 16 << 20 });
const random = new Random(1);
const receiver = macKeys(systemPrimitives, publicKeyBytes(parsePublicKey(key)));

const makers: Record<string, () => Uint8Array<ArrayBuffer>> = {
  stranger: () => typed(1, 148),
  knowing: () => {
    const bytes = typed(1, 148);
    writeMacs(bytes, { primitives: systemPrimitives, receiver });
    return bytes;
  },
  response: () => typed(2, 92),
  data: () => typed(4, 32 + 16 * random.below(80)),
};
const names = kind === "mixed" ? Object.keys(makers) : [kind];

function typed(type: number, length: number): Uint8Array<ArrayBuffer> {
  const bytes = crypto.getRandomValues(new Uint8Array(new ArrayBuffer(length)));
  bytes.set([type, 0, 0, 0]);
  return bytes;
}

const pool = Array.from({ length: POOL }, (_, i) =>
  (makers[names[i % names.length] as string] as () => Uint8Array)(),
);

/** Places in the arena that send from one address of 10.66.0.0/16 each (struct in_pktinfo). */
const endpoints = Array.from({ length: SOURCES }, (_, i) => {
  const at = arena.allocate(ENDPOINT_BYTES);
  setEndpoint(arena, at, socketAddress(ipBytes(parseIp(address)), Number(port)));
  const { view, u8 } = arena;
  const control = at + ENDPOINT.control;
  view.setInt32(at + ENDPOINT.controlBytes, PACKET_INFO_BYTES, true);
  view.setInt32(control, 28, true);
  view.setInt32(control + 4, 0, true);
  view.setInt32(control + 8, 0, true);
  view.setInt32(control + 12, 8, true);
  view.setInt32(control + 16, 0, true);
  u8.set([10, 66, i >> 8, 1 + (i & 0xff) - ((i & 0xff) === 255 ? 1 : 0)], control + 20);
  return at;
});

using socket = DatagramSocket.open(4);
const sender = new DatagramSender(arena, socket);
const start = performance.now();
const endMs = start + Number(seconds) * 1000;
let sent = 0;
for (let now = start; now < endMs; now = performance.now()) {
  const due = Math.floor(((now - start) / 1000) * Number(perSecond));
  for (const end = Math.min(due, sent + 512); sent < end; sent++) {
    const bytes = pool[sent % POOL] as Uint8Array;
    let frame = sender.frame(endpoints[(sent * 7) % SOURCES] as number, bytes.length);
    if (frame === 0) {
      if (!sender.flush()) break;
      frame = sender.frame(endpoints[(sent * 7) % SOURCES] as number, bytes.length);
    }
    arena.store(frame, bytes);
  }
  sender.flush();
  await Bun.sleep(0.5);
}
process.stdout.write(JSON.stringify({ sent }));
