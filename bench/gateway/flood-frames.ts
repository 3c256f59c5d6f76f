/**
 * Sends frames to a gateway's private side by AF_XDP, as many as it can: `bun flood-frames.ts IFINDEX TARGET_MAC BYTES,BYTES,…`, in the namespace
 * of the interface. It ends when it is killed.
 */
import { parseMac } from "../../src/net/mod.ts";
import { Arena } from "../../src/sys/mod.ts";
import { XdpFrames, XdpPort } from "../../src/tunnel/xdp/mod.ts";
import { etherPacket } from "./template.ts";

const [ifindex, target = "", lengths = ""] = process.argv.slice(2);
const FRAMES = 2048;
const arena = new Arena({ bytes: (FRAMES + 4) * 2048 });
const frames = new XdpFrames(arena, { frames: FRAMES });
const port = new XdpPort(frames, { ifindex: Number(ifindex), queue: 0, zeroCopy: true, receive: 64 });
const packets = lengths
  .split(",")
  .map((length, kind) =>
    etherPacket({ length: Number(length), target: parseMac(target), from: [11, 0, 0, 1], port: kind }),
  );
for (let next = 0; ;) {
  while (port.hasRoom) {
    const at = frames.take();
    if (at === 0) break;
    const packet = packets[next] as Uint8Array;
    next = (next + 1) % packets.length;
    arena.store(at, packet);
    port.send(at, packet.length);
  }
  port.flush();
}
