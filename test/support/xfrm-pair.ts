/**
 * Two namespaces with a cable, and ESP of the kernel between their inner addresses, all of it made by our netlink.
 *
 * ```
 * near: lo 10.8.1.1 fd08:1::1 ── eth0 198.51.100.1 2001:db8::1 ═══ eth0 198.51.100.2 2001:db8::2 ── lo 10.8.2.1 fd08:2::1 :far
 * ```
 */
import { formatIp, type Ip, KeyMaterial, parseIp, parsePrefix } from "../../src/net/mod.ts";
import {
  addPolicy,
  addSa,
  deleteSa,
  type Limits,
  probeEsp,
  type SaChange,
  type SaId,
  updateSa,
  Xfrm,
  type XfrmAlgorithm,
} from "../../src/netlink/mod.ts";
import { libc, type Netns, randomBytes, run } from "../../src/sys/mod.ts";
import { Scratch } from "./scratch.ts";

/** XfrmAgreement is what both ends know. */
export interface XfrmAgreement {
  readonly outer: 4 | 6;
  readonly algorithm: XfrmAlgorithm;
  readonly extended: boolean;
  readonly udp?: boolean;
}

const NAT_PORT = 4500;
const REQID = 77;
const SOL_UDP = 17;
/** include/uapi/linux/udp.h */
const UDP_ENCAP = 100;
const UDP_ENCAP_ESPINUDP = 2;

/** XfrmEnd is one side. */
export interface XfrmEnd {
  readonly netns: Netns;
  readonly xfrm: Xfrm;
  readonly outer: Ip;
  readonly inner4: string;
  readonly inner6: string;
  readonly prefixes: readonly string[];
}

/** SaPair is one direction: the same association at the end that sends and the end that receives. */
export interface SaPair {
  readonly from: XfrmEnd;
  readonly to: XfrmEnd;
  readonly id: SaId;
  readonly keyText: string;
}

/** XfrmPair is the pair; disposing removes all of it. */
export class XfrmPair implements Disposable {
  readonly scratch = new Scratch();
  readonly near: XfrmEnd;
  readonly far: XfrmEnd;
  readonly #agreement: XfrmAgreement;
  readonly #sockets: number[] = [];

  constructor(agreement: XfrmAgreement) {
    this.#agreement = agreement;
    const far = this.scratch.another();
    // An SPI does not wait until an emulated processor has loaded an algorithm's modules.
    const { answer } = probeEsp({ ...agreement, netns: far });
    if (answer !== "yes") throw new Error(`the kernel has no ${agreement.algorithm}: ${answer}`);
    const { netns: near } = this.scratch;
    this.scratch.text(`ip link add eth0 type veth peer name eth0 netns ${far.path}`);
    this.near = this.#end(near, 1);
    this.far = this.#end(far, 2);
    for (const [end, other] of this.ways) {
      const words = (line: string) => this.scratch.text(line, end.netns);
      const via = (family: 4 | 6) => formatIp(outerOf(other === this.near ? 1 : 2, family));
      words(`ip route add ${other.prefixes[0]} via ${via(4)} src ${end.inner4}`);
      words(`ip route add ${other.prefixes[1]} via ${via(6)} src ${end.inner6}`);
      if (agreement.udp === true) this.#sockets.push(encapsulating(end.netns));
    }
  }

  /** Both directions. */
  get ways(): readonly (readonly [XfrmEnd, XfrmEnd])[] {
    return [
      [this.near, this.far],
      [this.far, this.near],
    ];
  }

  #end(netns: Netns, number: 1 | 2): XfrmEnd {
    const inner4 = `10.8.${number}.1`;
    const inner6 = `fd08:${number}::1`;
    for (const line of [
      "link set lo up",
      "link set eth0 up",
      `addr add ${formatIp(outerOf(number, 4))}/24 dev eth0`,
      `addr add ${formatIp(outerOf(number, 6))}/64 dev eth0 nodad`,
      `addr add ${inner4}/32 dev lo`,
      `addr add ${inner6}/128 dev lo`,
    ])
      this.scratch.text(`ip ${line}`, netns);
    const prefixes = [`10.8.${number}.0/24`, `fd08:${number}::/64`];
    const outer = outerOf(number, this.#agreement.outer);
    return { netns, xfrm: Xfrm.open({ netns }), outer, inner4, inner6, prefixes };
  }

  /** policies makes those of both ends and both families, in all three directions. */
  policies(): void {
    for (const [from, to] of this.ways)
      for (const family of [0, 1])
        for (const [end, direction] of [
          [from, "out"],
          [to, "in"],
          [to, "fwd"],
        ] as const)
          end.xfrm.request(
            addPolicy({
              direction,
              selector: {
                source: parsePrefix(from.prefixes[family] as string),
                destination: parsePrefix(to.prefixes[family] as string),
              },
              priority: 100,
              templates: [{ source: from.outer, destination: to.outer, reqid: REQID }],
            }),
          );
  }

  /** direct makes an association: the receiver chooses its SPI and has it first. */
  direct(from: XfrmEnd, to: XfrmEnd, limits: Limits = {}): SaPair {
    const { algorithm, extended, udp } = this.#agreement;
    using material = new KeyMaterial(randomBytes(algorithm === "aes-128-gcm" ? 20 : 36));
    const ends = { source: from.outer, destination: to.outer, reqid: REQID };
    const { spi } = to.xfrm.allocateSpi(ends);
    const change: Omit<SaChange, "direction"> = {
      ...ends,
      spi,
      algorithm,
      material,
      extended,
      limits,
      ...(udp === true && { encapsulation: { sourcePort: NAT_PORT, destinationPort: NAT_PORT } }),
    };
    to.xfrm.request(updateSa({ ...change, direction: "in" }));
    from.xfrm.request(addSa({ ...change, direction: "out" }));
    return {
      from,
      to,
      id: { destination: to.outer, spi },
      keyText: Buffer.from(material.reveal()).toString("hex"),
    };
  }

  /** rekey replaces an association of each direction, make before break: nothing that is under way when it ends is refused. */
  async rekey(before: readonly SaPair[]): Promise<SaPair[]> {
    const after = before.map(({ from, to }) => this.direct(from, to));
    for (const { from, id } of before) from.xfrm.request(deleteSa(id));
    await Bun.sleep(300);
    for (const { to, id } of before) to.xfrm.request(deleteSa(id));
    return after;
  }

  /** trouble returns what the kernel of either end counted that should be nothing. */
  trouble(): string[] {
    return [this.near, this.far].flatMap(({ netns }) =>
      this.scratch
        .text("cat /proc/net/xfrm_stat", netns)
        .split("\n")
        .filter((line) => /\s[1-9]\d*$/.test(line)),
    );
  }

  [Symbol.dispose](): void {
    for (const socket of this.#sockets) libc.close(socket);
    this.near.xfrm.close();
    this.far.xfrm.close();
    this.scratch[Symbol.dispose]();
  }
}

function outerOf(number: 1 | 2, family: 4 | 6): Ip {
  return parseIp(family === 4 ? `198.51.100.${number}` : `2001:db8::${number}`);
}

/** The kernel opens ESP in UDP only for a socket that says so. */
function encapsulating(netns: Netns): number {
  const socket = netns.run(() => libc.socket(2, 2 | 0o2000000, 0));
  const address = new Uint8Array(new ArrayBuffer(16));
  address.set([2, 0, NAT_PORT >> 8, NAT_PORT & 255]);
  libc.setsockopt(socket, SOL_UDP, UDP_ENCAP, UDP_ENCAP_ESPINUDP);
  libc.bind(socket, address);
  return socket;
}

/** answers tells how many of so many pings, of so many bytes, were answered. */
export async function answers(
  from: XfrmEnd,
  address: string,
  options: { readonly count: number; readonly bytes: number },
): Promise<number> {
  const { count, bytes } = options;
  const argv = ["ping", "-n", "-c", `${count}`, "-i", "0.05", "-w", "10", "-s", `${bytes}`, address];
  const done = await run(argv, { netns: from.netns });
  const seen = new Set([...done.stdout.matchAll(/icmp_seq=(\d+)/g)].map(([, number]) => Number(number)));
  return [...seen].filter((number) => number <= count).length;
}
