/**
 * The steps of the packet path between two AF_XDP ports, as a gateway without a kernel in its path, against the TUN and UDP path at the other
 * end of the tunnel.
 *
 * ```
 * host 10.9.0.1 ═══ x1: source, sink ── SealStep, OpenStep ── x0: messages, frames ═══ 10.20.0.2 UDP, path-node, TUN 10.9.0.2 :far
 * ```
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { parseIp } from "../../src/net/mod.ts";
import { sleep } from "../../src/sys/mod.ts";
import {
  chooseAead,
  checksumOf,
  newCounters,
  OpenStep,
  SealStep,
  Segmenter,
  WireguardFraming,
} from "../../src/tunnel/path/mod.ts";
import {
  setXdpEndpoint,
  XDP_ENDPOINT,
  XdpFrameSink,
  XdpLoop,
  XdpMessages,
  XdpPacketSink,
  XdpPacketSource,
  XdpPort,
} from "../../src/tunnel/xdp/mod.ts";
import { ipsecMbFolders } from "../support/ipsec-mb.ts";
import { allowAll, staticSession } from "../support/path-memory.ts";
import { Random } from "../support/random.ts";
import { lacksXdp, XdpPair } from "../support/xdp-pair.ts";

const skip = lacksXdp() ?? (existsSync("/dev/net/tun") ? undefined : "needs /dev/net/tun");
const PORT = 51820;
const hex = (mac: Uint8Array) => Buffer.from(mac).toString("hex").match(/../g)?.join(":");

describe.skipIf(skip !== undefined)(
  `tunnel over AF_XDP${skip === undefined ? "" : ` (skipped: ${skip})`}`,
  () => {
    let net: XdpPair;
    let lan: XdpPair;
    let node: Bun.Subprocess;
    let turn: () => void;
    const counters = newCounters();

    beforeAll(async () => {
      net = new XdpPair();
      lan = new XdpPair();
      lan.ip("near", `link set x0 netns /proc/${process.pid}/fd/${net.near.fd.number} name x1`);
      net.ip("near", "link set x1 up");
      lan.sumInSoftware();
      const { port: outer, frames } = net.port({ frames: 4096, filter: { udpPorts: [PORT] } });
      const second = net.attach({ ifindex: net.scratch.index("x1"), filter: { etherTypes: [0x0800] } });
      const inner = net.keep(
        new XdpPort(frames, {
          ifindex: second.ifindex,
          netns: net.near,
          queue: 0,
          zeroCopy: true,
          share: outer,
          receive: 512,
          transmit: 512,
        }),
      );
      second.add(0, inner.socket.fd.number);
      const { arena } = frames;
      const macOf = (link: string) =>
        new Uint8Array(
          Buffer.from(
            (/link\/ether (\S+)/.exec(net.ip("near", `link show ${link}`))?.[1] as string).replaceAll(
              ":",
              "",
            ),
            "hex",
          ),
        );
      const [outerMac, innerMac] = [macOf("x0"), macOf("x1")];
      net.ip("far", `neigh replace 10.20.0.1 lladdr ${hex(outerMac)} dev y0`);
      lan.ip("far", "addr flush dev y0");
      lan.ip("far", "addr add 10.9.0.1/24 dev y0");
      lan.ip("far", "link set y0 mtu 1420");
      lan.ip("far", `neigh replace 10.9.0.2 lladdr ${hex(innerMac)} dev y0`);

      const { provider } = chooseAead(arena, { folders: ipsecMbFolders() });
      const session = staticSession(provider, {
        peer: 0,
        localIndex: 1,
        remoteIndex: 2,
        out: new Uint8Array(32).fill(1),
        in: new Uint8Array(32).fill(2),
      });
      const endpoint = arena.allocate(XDP_ENDPOINT.bytes);
      setXdpEndpoint(arena, endpoint, {
        nextHop: net.mac("far"),
        mac: outerMac,
        from: parseIp("10.20.0.1"),
        to: parseIp("10.20.0.2"),
        udp: { from: PORT, to: PORT },
      });
      const sender = new XdpFrameSink(outer);
      const framing = new WireguardFraming(arena, { mtuBytes: 1420 });
      const tables = {
        peers: new Map([[0, { session, endpoint, sender }]]),
        sessions: new Map([[1, session]]),
        allowed4: allowAll(4, 0),
        allowed6: allowAll(16, 0),
        mostMessages: 2 ** 50,
        nowMs: 0,
      };
      const hop = arena.allocate(64);
      arena.store(hop, lan.mac("far"));
      arena.store(hop + 6, innerMac);
      const source = new XdpPacketSource(inner, { mac: innerMac });
      const messages = new XdpMessages(outer, { mac: outerMac, udpPort: PORT });
      const sink = new XdpPacketSink(inner, { find: () => hop });
      const seal = new SealStep(arena, {
        source,
        segmenter: new Segmenter(arena, checksumOf(arena)),
        framing,
        senders: [sender],
        tables,
        counters,
        events: { unready: () => {}, sealed: () => {} },
      });
      const open = new OpenStep(arena, {
        messages,
        framing,
        sink,
        tables,
        counters,
        events: { other: () => {}, opened: () => {} },
      });
      const loop = new XdpLoop(arena, {
        sides: [
          { port: inner, blocked: () => seal.blocked, work: () => seal.run() },
          { port: outer, blocked: () => inner.blocked, work: () => open.run(messages.receive()) },
        ],
      });
      turn = () => {
        for (let i = 0; i < 20 && loop.once(1); i++);
      };
      const path = { link: "cwp0", port: PORT, side: 2 };
      const argv = [process.execPath, `${import.meta.dir}/../support/path-node.ts`, JSON.stringify(path)];
      const started = net.far.run(() => ({
        process: Bun.spawn(argv, { stdout: "pipe", stderr: "inherit" }),
      })).process;
      node = started;
      const { value } = await started.stdout.getReader().read();
      expect(new TextDecoder().decode(value)).toBe("ready\n");
      net.ip("far", "addr add 10.9.0.2/24 dev cwp0");
      net.ip("far", "link set cwp0 mtu 1420 up");
    });

    afterAll(async () => {
      node?.kill("SIGTERM");
      await node?.exited;
      net?.[Symbol.dispose]();
      lan?.[Symbol.dispose]();
    });

    test("ping, of all lengths", async () => {
      for (const bytes of [0, 56, 1000, 1392])
        expect(await lan.ping(`-s ${bytes} 10.9.0.2`, turn)).toContain("3 received");
      expect(counters).toMatchObject({ forged: 0, replayed: 0, malformed: 0, unreadable: 0 });
    });

    test("TCP carries every byte", async () => {
      const bytes = new Random(5).bytes(2_000_000);
      const parts: Buffer[] = [];
      let isClosed = false;
      const server = net.far.run(() => ({
        listener: Bun.listen({
          hostname: "10.9.0.2",
          port: 5000,
          socket: {
            data: (_, data) => void parts.push(Buffer.from(data)),
            close: () => {
              isClosed = true;
            },
          },
        }),
      })).listener;
      let left: Uint8Array = bytes;
      const more = (socket: { write(data: Uint8Array): number; end(): void }) => {
        while (left.length > 0) {
          const taken = socket.write(left);
          if (taken <= 0) return;
          left = left.subarray(taken);
        }
        socket.end();
      };
      lan.far.run(() => {
        void Bun.connect({
          hostname: "10.9.0.2",
          port: 5000,
          socket: { open: more, drain: more, data: () => {} },
        });
      });
      while (!isClosed) {
        turn();
        await sleep(0);
      }
      server.stop(true);
      expect(Buffer.concat(parts).equals(bytes)).toBe(true);
      expect(counters).toMatchObject({ forged: 0, replayed: 0, malformed: 0, unreadable: 0 });
    });
  },
);
