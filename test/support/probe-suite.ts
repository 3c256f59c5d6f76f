/** What a ProbePort must do beside every back-end: datagrams of ours on the tunnel's port, both ways, and nothing else notices. */
import { describe, expect, test } from "bun:test";
import { type Endpoint, formatEndpoint, formatIp, parseEndpoint, parseIp } from "../../src/net/mod.ts";
import type { TunnelBackend } from "../../src/tunnel/backend.ts";
import type { ProbeDatagram, ProbeOptions, ProbePort } from "../../src/tunnel/probe-port.ts";
import { CountedFlow } from "./counted-flow.ts";
import { sendDatagram } from "./datagrams.ts";
import { ip, type Side, tool, TunnelPair, until } from "./tunnel-pair.ts";

/** ProbeEnds says who runs the two ends; `skip` why nobody can. */
export interface ProbeEnds {
  readonly near: () => TunnelBackend;
  readonly far: () => TunnelBackend;
  readonly skip?: string | undefined;
}

const PORT = 51820;

/** Ear is a ProbePort that remembers. */
export class Ear implements Disposable {
  readonly heard: ProbeDatagram[] = [];
  readonly port: ProbePort;

  constructor(side: Side, options: Partial<ProbeOptions> = {}) {
    this.port = side.tunnel.probes({
      listenPort: PORT,
      onDatagram: (datagram) => void this.heard.push(datagram),
      ...options,
    });
  }

  get texts(): string[] {
    return this.heard.map(({ bytes }) => Buffer.from(bytes).toString());
  }

  /** say sends text until the listener heard it: the first ones may be lost while neighbours find each other (RFC 4861). */
  async say(to: Endpoint, text: string, listener: Ear): Promise<ProbeDatagram> {
    const found = () => listener.heard.find(({ bytes }) => Buffer.from(bytes).toString() === text);
    for (let tries = 0; tries < 100 && found() === undefined; tries++) {
      this.port.send(to, bytesOf(text));
      for (let waits = 0; waits < 20 && found() === undefined; waits++) await Bun.sleep(10);
    }
    const datagram = found();
    if (datagram === undefined) throw new Error(`${text}: sent to ${formatEndpoint(to)}, and not heard`);
    return datagram;
  }

  [Symbol.dispose](): void {
    this.port[Symbol.dispose]();
  }
}

/** bytesOf returns text as bytes. */
export const bytesOf = (text: string) => new Uint8Array(Buffer.from(text));

/** probeSuite declares the tests. */
export function probeSuite(title: string, ends: ProbeEnds): void {
  describe.skipIf(ends.skip !== undefined)(
    ends.skip === undefined ? title : `${title} (${ends.skip})`,
    () => {
      const open = async () => {
        const pair = await TunnelPair.open({ near: ends.near(), far: ends.far() });
        pair.meet();
        return pair;
      };
      const places = ({ underlay4, underlay6 }: Side) =>
        [parseEndpoint(`${underlay4}:${PORT}`), parseEndpoint(`[${underlay6}]:${PORT}`)] as const;

      test("both families, both ways, beside packets of the tunnel: from the tunnel's port, to a known address", async () => {
        await using pair = await open();
        const { near, far } = pair;
        using ears = new DisposableStack();
        const [here, there] = [ears.use(new Ear(near)), ears.use(new Ear(far))];
        expect(await pair.pings(near)).toBe(true);
        using flow = new CountedFlow(near.netns, {
          netns: far.netns,
          address: far.overlay4,
          port: 7001,
          perSecond: 200,
        });
        for (const [from, to, sideFrom, sideTo] of [
          [here, there, near, far],
          [there, here, far, near],
        ] as const)
          for (const family of [0, 1] as const) {
            const target = places(sideTo)[family];
            const text = `${sideFrom.link} to ${formatEndpoint(target)}`;
            const question = await from.say(target, text, to);
            expect([formatEndpoint(question.from), formatIp(question.local ?? parseIp("::"))]).toEqual([
              formatEndpoint(places(sideFrom)[family]),
              formatIp(target.ip),
            ]);
            expect(question.datagramBytes).toBe(4 + text.length);
            expect(to.port.send(question.from, bytesOf(`re: ${text}`), { from: question.local })).toBe(
              "sent",
            );
            await until("the answer is heard", () => from.texts.includes(`re: ${text}`));
          }
        expect(await flow.stop()).toMatchObject({ lost: 0, duplicates: 0 });
        expect(await pair.pings(far)).toBe(true);
      });

      test("probes of the MTU: what fits arrives and tells its length, what does not is never cut", async () => {
        await using pair = await open();
        const { near, far } = pair;
        using ears = new DisposableStack();
        const [here, there] = [ears.use(new Ear(near)), ears.use(new Ear(far))];
        for (const target of places(far)) {
          await here.say(target, `neighbour ${formatEndpoint(target)}`, there);
          const headers = target.ip.family === 4 ? 28 : 48;
          const size = (mtu: number, text: string) =>
            here.port.send(target, bytesOf(text), { datagramBytes: mtu - headers });
          expect(size(1501, "long")).toBe("too-big");
          expect(size(1500, "fits")).toBe("sent");
          await until("it is heard", () => there.texts.some((text) => text.startsWith("fits")));
          const found = there.heard.find(({ bytes }) => Buffer.from(bytes).toString().startsWith("fits"));
          expect(found?.datagramBytes).toBe(1500 - headers);
          expect(found?.bytes).toHaveLength(252);
          for (const { netns } of [near, far]) ip(netns, "link set eth0 mtu 9216");
          expect(size(9216, "jumbo")).toBe("sent");
          await until("it is heard", () => there.heard.at(-1)?.datagramBytes === 9216 - headers);
          // The next hop takes less: it is lost, not cut into pieces.
          ip(far.netns, "link set eth0 mtu 1500");
          expect(size(9216, "lost")).toBe("sent");
          await here.say(target, "afterwards", there);
          expect(there.texts.some((text) => text.startsWith("lost") || text.startsWith("long"))).toBe(false);
          ip(near.netns, "link set eth0 mtu 1500");
          there.heard.length = 0;
        }
      });

      test("what the kernel believes of the path does not matter to probes", async () => {
        await using pair = await open();
        const { near, far } = pair;
        using ears = new DisposableStack();
        const [here, there] = [ears.use(new Ear(near)), ears.use(new Ear(far))];
        // As an ICMP message makes it, but for ever.
        ip(near.netns, `route add ${far.underlay4} dev eth0 mtu 1300`);
        ip(near.netns, `-6 route add ${far.underlay6} dev eth0 mtu 1300`);
        for (const target of places(far)) {
          await here.say(target, `neighbour ${formatEndpoint(target)}`, there);
          expect(here.port.send(target, bytesOf("full"), { datagramBytes: 1400 })).toBe("sent");
          await until("it is heard", () => there.heard.at(-1)?.datagramBytes === 1400);
        }
      });

      test("nothing else is heard: neither other ports nor other datagrams, nor what a packet filter drops", async () => {
        await using pair = await open();
        const { near, far } = pair;
        using ears = new DisposableStack();
        const [here, there] = [ears.use(new Ear(near)), ears.use(new Ear(far))];
        for (const target of places(far)) {
          const to = formatIp(target.ip);
          await here.say(target, `first to ${to}`, there);
          for (const text of ["", "C", "CWA", "CWAX and more", "\u0001\0\0\0", "xCWAY", "\u0004\0\0\0CWAY"])
            sendDatagram(near.netns, { to, port: PORT, text });
          for (const port of [PORT + 1, PORT - 1, 53])
            sendDatagram(near.netns, { to, port, text: "CWAYother" });
          sendDatagram(near.netns, { to, port: PORT, text: "CWAY" });
        }
        expect(await pair.pings(near)).toBe(true);
        const [to4, to6] = places(far);
        await here.say(to4, "last of 4", there);
        await here.say(to6, "last of 6", there);
        const told = new Set(there.texts);
        expect([...told].sort()).toEqual(
          ["", `first to ${far.underlay4}`, `first to ${far.underlay6}`, "last of 4", "last of 6"].sort(),
        );
        tool(far.netns, "nft add table inet wall");
        tool(far.netns, "nft add chain inet wall in { type filter hook input priority 0 ; }");
        tool(far.netns, `nft add rule inet wall in udp dport ${PORT} drop`);
        for (const target of places(far)) expect(here.port.send(target, bytesOf("walled"))).toBe("sent");
        tool(far.netns, "nft delete table inet wall");
        await here.say(to4, "open again for 4", there);
        await here.say(to6, "open again for 6", there);
        expect(there.texts).not.toContain("walled");
      });

      test("an answer leaves from the address that was asked; one that has gone, or has no way, is refused", async () => {
        await using pair = await open();
        const { near, far } = pair;
        ip(far.netns, "addr add 192.0.2.77/24 dev eth0");
        ip(far.netns, "addr add 2001:db8::77/64 dev eth0 nodad");
        using ears = new DisposableStack();
        const [here, there] = [ears.use(new Ear(near)), ears.use(new Ear(far))];
        for (const address of ["192.0.2.77:51820", "[2001:db8::77]:51820"]) {
          const question = await here.say(parseEndpoint(address), `to ${address}`, there);
          expect(formatIp(question.local ?? parseIp("::"))).toBe(formatIp(parseEndpoint(address).ip));
          there.port.send(question.from, bytesOf(`from ${address}`), { from: question.local });
          await until("the answer is heard", () => here.texts.includes(`from ${address}`));
          expect(formatEndpoint(here.heard.at(-1)?.from ?? question.from)).toBe(address);
          const gone = parseIp(address.includes("[") ? "2001:db8::78" : "192.0.2.78");
          expect(there.port.send(question.from, bytesOf("x"), { from: gone })).toBe("refused");
        }
        expect(here.port.send(parseEndpoint("203.0.113.1:1"), bytesOf("x"))).toBe("refused");
        expect(here.port.send(parseEndpoint("[2001:db8:ffff::1]:1"), bytesOf("x"))).toBe("refused");
        expect(here.port.send(parseEndpoint("192.0.2.2:1"), bytesOf("x"), { from: parseIp("::1") })).toBe(
          "refused",
        );
      });

      test("the mark of the tunnel is on what is sent", async () => {
        await using pair = await open();
        const { near, far } = pair;
        using marked = new Ear(near, { mark: 7 });
        using plain = new Ear(near);
        for (const family of ["-4", "-6"]) ip(near.netns, `${family} rule add fwmark 7 unreachable`);
        for (const target of places(far)) {
          expect(marked.port.send(target, bytesOf("x"))).toBe("refused");
          expect(plain.port.send(target, bytesOf("x"))).toBe("sent");
        }
      });
    },
  );
}
