/** The filter of the raw sockets of a relay beside the kernel's WireGuard, by the kernel: what it lets through, and what it remembers. */
import { describe, expect, test } from "bun:test";
import {
  BpfMap,
  filterPacketsBy,
  IP_PROTOCOL_UDP,
  loadSocketFilter,
  RawSocket,
  socketAddress,
  watchSocket,
} from "../../src/sys/mod.ts";
import * as libc from "../../src/sys/libc.ts";
import { OTHER_INDEX, packetFilter } from "../../src/tunnel/kernel-relay/packet-filter.ts";
import { circuitKey, XDP_KEY, XDP_VALUE } from "../../src/tunnel/relay/xdp-program.ts";
import { Scratch } from "../support/scratch.ts";
import { ip } from "../support/tunnel-pair.ts";

const skip = process.getuid?.() === 0 ? undefined : "needs root";
const PORT = 51820;
const HEADERS = { 4: 28, 6: 8 } as const;
const FROM = 4444;
const SOCK_DGRAM = 2;
const LOOPBACK = { 4: Uint8Array.of(127, 0, 0, 1), 6: new Uint8Array(16).fill(1, 15) } as const;

const message = (type: number, bytes: number, index = 0) => {
  const all = new Uint8Array(bytes);
  all[0] = type;
  if (bytes >= 8) new DataView(all.buffer).setUint32(4, index, true);
  return all;
};

describe.skipIf(skip !== undefined)(`packets for a relay${skip === undefined ? "" : ` (${skip})`}`, () => {
  for (const family of [4, 6] as const)
    test(`over IPv${family}: handshakes of the right length, and data with a circuit; of other data the index`, async () => {
      using scratch = new Scratch();
      using stack = new DisposableStack();
      const { netns } = scratch;
      ip(netns, "link set lo up");
      const circuits = stack.use(
        BpfMap.create("c", {
          type: "hash",
          keyBytes: XDP_KEY.bytes,
          valueBytes: XDP_VALUE.bytes,
          entries: 8,
        }),
      );
      const others = stack.use(BpfMap.create("o", { type: "newest", ...OTHER_INDEX, entries: 64 }));
      const socket = stack.use(RawSocket.open(family, { protocol: IP_PROTOCOL_UDP, netns }));
      const code = packetFilter(family, {
        port: PORT,
        circuits: circuits.fd.number,
        others: others.fd.number,
      });
      using program = loadSocketFilter("test", code);
      filterPacketsBy(socket.fd.number, program);
      const heard: Uint8Array[] = [];
      stack.use(
        watchSocket(socket.fd, {
          onMessage: (packet) => void heard.push(packet.slice(HEADERS[family])),
          onFailure: () => {},
        }),
      );
      const udp = (port: number) => {
        const socket = netns.run(() => libc.socket(family === 4 ? 2 : 10, SOCK_DGRAM, 0));
        stack.defer(() => libc.close(socket));
        libc.bind(socket, socketAddress(LOOPBACK[family], port));
        return socket;
      };
      const sender = udp(FROM);
      // Else the sender would be refused.
      for (const port of [PORT, PORT + 1]) udp(port);
      const send = (bytes: Uint8Array<ArrayBuffer>, port = PORT) => {
        libc.connect(sender, socketAddress(LOOPBACK[family], port));
        libc.send(sender, bytes);
      };
      const place = {
        address: LOOPBACK[family],
        port: FROM,
        local: new Uint8Array(0),
      };
      circuits.put(circuitKey(place, 77), new Uint8Array(XDP_VALUE.bytes));
      const wanted = [
        message(1, 148),
        message(2, 92),
        message(3, 64),
        message(4, 32, 77),
        message(4, 1400, 77),
      ];
      const others77 = [message(4, 32, 78), message(4, 48, 0x7700)];
      const unwanted = [
        message(1, 147),
        message(2, 93),
        message(3, 65),
        message(5, 148),
        message(0, 148),
        message(1, 4),
      ];
      unwanted.push(message(1, 148).fill(1, 1, 2), message(4, 32, 77).fill(1, 3, 4));
      for (const bytes of [...unwanted, ...others77]) send(bytes);
      send(message(4, 32, 77), PORT + 1);
      for (const bytes of wanted) send(bytes);
      for (let i = 0; i < 500 && heard.length < wanted.length; i++) await Bun.sleep(10);
      expect(heard).toEqual(wanted);
      const index = (value: number) => {
        const key = new Uint8Array(4);
        new DataView(key.buffer).setUint32(0, value, true);
        return key;
      };
      expect(others.get(index(78))).toBeDefined();
      expect(others.get(index(0x7700))).toBeDefined();
      expect(others.get(index(77))).toBeUndefined();
    });
});
