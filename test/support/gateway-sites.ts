/**
 * Two sites with a gateway each, both in this process, on AF_XDP or packet sockets; hosts and cables are the kernel's.
 *
 * ```
 * host 10.10.1.2 ═ x0 gateway 10.10.1.1 … p0 192.0.2.1 ═══ p0 192.0.2.2 … gateway 10.10.2.1 x0 ═ 10.10.2.2 host
 *      fd01::2                  fd01::1     2001:db8::1      2001:db8::2            fd02::1        fd02::2
 * ```
 */
import { parseIp, parseMac, parsePrefix } from "../../src/net/mod.ts";
import { Arena, type Fd, sendMessage, socketPair, writeKernelFile } from "../../src/sys/mod.ts";
import {
  GATEWAY_FILTER,
  gatewayArenaBytes,
  type GatewayNews,
  type GatewayOrder,
  GatewayQueue,
  type QueueDriver,
  type SideConfiguration,
} from "../../src/tunnel/gateway/mod.ts";
import { chooseAead } from "../../src/tunnel/path/mod.ts";
import { XdpInterface } from "../../src/tunnel/xdp/mod.ts";
import { ipsecMbFolders } from "./ipsec-mb.ts";
import { XdpPair } from "./xdp-pair.ts";

/** SITE_MTU leaves room for the headers of either outer family in 1500 bytes. */
export const SITE_MTU = 1420;

/** GatewaySite is one of them, `number` 1 or 2. */
export class GatewaySite implements Disposable {
  readonly number: 1 | 2;
  readonly lan = new XdpPair();
  readonly news: GatewayNews[] = [];
  #queue: GatewayQueue | undefined;
  readonly #waker: readonly [Fd, Fd] = socketPair(4096);

  readonly #driver: QueueDriver;

  constructor(number: 1 | 2, driver: QueueDriver) {
    this.number = number;
    this.#driver = driver;
    this.lan.ip("far", "addr flush dev y0");
    this.lan.ip("far", `addr add 10.10.${number}.2/24 dev y0`);
    this.lan.ip("far", `addr add fd0${number}::2/64 dev y0 nodad`);
    this.lan.ip("far", `route add default via 10.10.${number}.1 mtu ${SITE_MTU}`);
    this.lan.ip("far", `-6 route add default via fd0${number}::1 mtu ${SITE_MTU}`);
    this.lan.sumInSoftware();
  }

  /** start makes the gateway, when the cable between the sites is there. */
  start(): void {
    const { lan, number } = this;
    const other = number === 1 ? 2 : 1;
    const isXdp = this.#driver === "xdp";
    const attach = (link: string) =>
      isXdp
        ? lan.keep(
            XdpInterface.open({ ifindex: lan.scratch.index(link), netns: lan.near, filter: GATEWAY_FILTER }),
          )
        : undefined;
    const [inside, outside] = [attach("x0"), attach("p0")];
    if (!isXdp)
      for (const link of ["x0", "p0"])
        for (const family of ["ipv4", "ipv6"])
          lan.near.run(() => writeKernelFile(`/proc/sys/net/${family}/conf/${link}/forwarding`, "0"));
    const on = (link: string) => ({
      ifindex: lan.scratch.index(link),
      netns: lan.near,
      queue: 0,
      zeroCopy: true,
    });
    const side = (link: string, four: readonly [string, string], six: readonly [string, string]) => ({
      mac: parseMac(/link\/ether (\S+)/.exec(lan.ip("near", `link show ${link}`))?.[1] as string),
      four: { ip: parseIp(four[0]), nextHop: parseIp(four[1]) },
      six: { ip: parseIp(six[0]), nextHop: parseIp(six[1]) },
    });
    const arena = new Arena({ bytes: gatewayArenaBytes() + (64 << 20) });
    const queue = lan.keep(
      new GatewayQueue({
        arena,
        provider: chooseAead(arena, { folders: ipsecMbFolders() }).provider,
        driver: this.#driver,
        privateInterface: on("x0"),
        publicInterface: on("p0"),
        private: side(
          "x0",
          [`10.10.${number}.1`, `10.10.${number}.2`],
          [`fd0${number}::1`, `fd0${number}::2`],
        ),
        public: side(
          "p0",
          [`192.0.2.${number}`, `192.0.2.${other}`],
          [`2001:db8::${number}`, `2001:db8::${other}`],
        ) satisfies SideConfiguration,
        mtuBytes: SITE_MTU,
        waker: this.#waker[0],
        tell: (news) => void this.news.push(news),
      }),
    );
    inside?.add(0, queue.privatePort.fd.number);
    outside?.add(0, queue.publicPort.fd.number);
    this.#queue = queue;
  }

  get queue(): GatewayQueue {
    return this.#queue as GatewayQueue;
  }

  obey(...orders: readonly GatewayOrder[]): void {
    for (const order of orders) this.queue.obey(order);
  }

  /** call makes `run` return, once and for all. */
  call(): void {
    sendMessage(this.#waker[1].number, new Uint8Array([1]));
  }

  [Symbol.dispose](): void {
    for (const end of this.#waker) end.close();
    this.lan[Symbol.dispose]();
  }
}

/** GatewaySites are both, with one route each to the other over the outer family. */
export class GatewaySites implements Disposable {
  readonly one: GatewaySite;
  readonly two: GatewaySite;

  constructor(driver: QueueDriver = "xdp") {
    this.one = new GatewaySite(1, driver);
    try {
      this.two = new GatewaySite(2, driver);
    } catch (error) {
      this.one[Symbol.dispose]();
      throw error;
    }
    try {
      this.one.lan.ip(
        "near",
        `link add p0 type veth peer name p0 netns /proc/${process.pid}/fd/${this.two.lan.near.fd.number}`,
      );
      for (const site of [this.one, this.two]) {
        site.lan.ip("near", "link set p0 up");
        site.start();
      }
    } catch (error) {
      this[Symbol.dispose]();
      throw error;
    }
  }

  /** join gives both sites the route to the other, with fresh associations whose SPIs begin at `spi`. */
  join(outer: 4 | 6, spi: number, algorithm: "aes-128-gcm" | "aes-256-gcm" | "chacha20-poly1305"): void {
    const bytes = (algorithm === "aes-128-gcm" ? 16 : 32) + 4;
    const key = (from: number) => Uint8Array.from({ length: bytes }, (_, i) => from + i * 3 + spi);
    for (const [site, other] of [
      [this.one, this.two],
      [this.two, this.one],
    ] as const) {
      const to = parseIp(outer === 4 ? `192.0.2.${other.number}` : `2001:db8::${other.number}`);
      const prefixes = [parsePrefix(`10.10.${other.number}.0/24`), parsePrefix(`fd0${other.number}::/64`)];
      const associate = (number: number) =>
        ({ route: "other", spi: spi + number, algorithm, keyMaterial: key(number) }) as const;
      site.obey(
        { kind: "route", route: { name: "other", prefixes } },
        { kind: "inbound", association: associate(site.number) },
        { kind: "outbound", association: { ...associate(other.number), to, next: 1 } },
        { kind: "move-outbound", route: "other", spi: spi + other.number },
      );
    }
  }

  /** turn lets both work until nothing comes for a moment. */
  turn = (): void => {
    for (let i = 0; i < 64; i++) {
      const one = this.one.queue.once(0);
      const two = this.two.queue.once(0);
      if (!one && !two) return;
    }
  };

  /** during runs a program on a site's host while both gateways work; returns what it printed. */
  during(site: GatewaySite, command: string): Promise<string> {
    return site.lan.during(command, this.turn);
  }

  [Symbol.dispose](): void {
    this.two[Symbol.dispose]();
    this.one[Symbol.dispose]();
  }
}
