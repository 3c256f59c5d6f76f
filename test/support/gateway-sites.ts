/**
 * Two sites with a gateway each, both in this process, on AF_XDP or packet sockets; hosts and cables are the kernel's.
 *
 * ```
 * host 10.10.1.2 ═ x0 gateway 10.10.1.1 … p0 192.0.2.1 ═══ p0 192.0.2.2 … gateway 10.10.2.1 x0 ═ 10.10.2.2 host
 *      fd01::2                  fd01::1     2001:db8::1      2001:db8::2            fd02::1        fd02::2
 * ```
 */
import { type Mac, macFromBytes, parseIp, parseMac, parsePrefix } from "../../src/net/mod.ts";
import { Arena, type Fd, sendMessage, socketPair, writeKernelFile } from "../../src/sys/mod.ts";
import {
  GATEWAY_FILTER,
  gatewayArenaBytes,
  type GatewayNews,
  type GatewayOrder,
  GatewayQueue,
  type GatewayQueueOptions,
  type QueueDriver,
  type SideAddress,
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
  readonly lan: XdpPair;
  readonly news: GatewayNews[] = [];
  #queue: GatewayQueue | undefined;
  #inside: XdpInterface | undefined;
  #second: { readonly queue: GatewayQueue; readonly inbox: readonly [Fd, Fd] } | undefined;
  readonly #waker: readonly [Fd, Fd] = socketPair(4096);

  readonly #driver: QueueDriver;

  /** `queues` of x0; what its host sends comes by the first. */
  constructor(number: 1 | 2, driver: QueueDriver, queues: 1 | 2 = 1) {
    this.number = number;
    this.#driver = driver;
    this.lan = new XdpPair(queues === 1 ? {} : { queues, farQueues: 1 });
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
    this.#inside = this.#attach("x0");
    if (this.#driver === "packet")
      for (const link of ["x0", "p0"])
        for (const family of ["ipv4", "ipv6"])
          lan.near.run(() => writeKernelFile(`/proc/sys/net/${family}/conf/${link}/forwarding`, "0"));
    this.#queue = this.#make("p0", {
      ...{ deviceQueue: 0, waker: this.#waker[0], tell: (news) => void this.news.push(news) },
      private: this.#private(),
      public: {
        mac: this.#mac("p0"),
        four: address(`192.0.2.${number}`, `192.0.2.${other}`),
        six: address(`2001:db8::${number}`, `2001:db8::${other}`),
      },
    });
  }

  /** startSecond makes a second queue, when its cable is there; it is told of the private neighbour. */
  startSecond(): void {
    const { number, lan } = this;
    const inbox = socketPair(1 << 20);
    const queue = this.#make("p1", {
      ...{ deviceQueue: 1, inbox: inbox[1], tell: () => {} },
      private: this.#private({ nextHopMac: macFromBytes(lan.mac("far")) }),
      public: { mac: this.#mac("p1"), four: address(`198.51.100.${number}`, `198.51.100.${3 - number}`) },
    });
    this.#second = { queue, inbox };
  }

  #private(known: Pick<SideAddress, "nextHopMac"> = {}): SideConfiguration {
    const { number } = this;
    return {
      mac: this.#mac("x0"),
      four: { ...address(`10.10.${number}.1`, `10.10.${number}.2`), ...known },
      six: { ...address(`fd0${number}::1`, `fd0${number}::2`), ...known },
    };
  }

  #mac(link: string): Mac {
    return parseMac(/link\/ether (\S+)/.exec(this.lan.ip("near", `link show ${link}`))?.[1] as string);
  }

  #attach(link: string): XdpInterface | undefined {
    const { lan } = this;
    if (this.#driver === "packet") return undefined;
    return lan.keep(
      XdpInterface.open({ ifindex: lan.scratch.index(link), netns: lan.near, filter: GATEWAY_FILTER }),
    );
  }

  #make(
    link: string,
    {
      deviceQueue,
      ...more
    }: Pick<GatewayQueueOptions, "private" | "public" | "tell" | "inbox" | "waker"> & {
      readonly deviceQueue: number;
    },
  ): GatewayQueue {
    const { lan } = this;
    const on = (name: string, queue: number) => ({
      ...{ ifindex: lan.scratch.index(name), netns: lan.near, queue, zeroCopy: true },
    });
    const outside = this.#attach(link);
    const arena = new Arena({ bytes: gatewayArenaBytes() + (64 << 20) });
    const queue = lan.keep(
      new GatewayQueue({
        ...more,
        arena,
        provider: chooseAead(arena, { folders: ipsecMbFolders() }).provider,
        driver: this.#driver,
        privateInterface: on("x0", deviceQueue),
        publicInterface: on(link, 0),
        mtuBytes: SITE_MTU,
      }),
    );
    this.#inside?.add(deviceQueue, queue.privatePort.fd.number);
    outside?.add(0, queue.publicPort.fd.number);
    return queue;
  }

  /** detour has the first queue's packets of a route go by the second, or by itself again. */
  detour(route: string, isOn: boolean): void {
    this.queue.detour(route, isOn ? this.#second?.inbox[0].number : undefined);
  }

  get second(): GatewayQueue | undefined {
    return this.#second?.queue;
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
    for (const end of [...this.#waker, ...(this.#second?.inbox ?? [])]) end.close();
    this.lan[Symbol.dispose]();
  }
}

const address = (ip: string, nextHop: string): SideAddress => ({
  ip: parseIp(ip),
  nextHop: parseIp(nextHop),
});

/** GatewaySites are both, with one route each to the other over the outer family. */
export class GatewaySites implements Disposable {
  readonly one: GatewaySite;
  readonly two: GatewaySite;

  /** `queues` as of a site. */
  constructor(driver: QueueDriver = "xdp", queues: 1 | 2 = 1) {
    this.one = new GatewaySite(1, driver, queues);
    try {
      this.two = new GatewaySite(2, driver, queues);
    } catch (error) {
      this.one[Symbol.dispose]();
      throw error;
    }
    try {
      this.#cable("p0");
      for (const site of [this.one, this.two]) site.start();
    } catch (error) {
      this[Symbol.dispose]();
      throw error;
    }
  }

  #cable(link: string): void {
    const far = `/proc/${process.pid}/fd/${this.two.lan.near.fd.number}`;
    this.one.lan.ip("near", `link add ${link} type veth peer name ${link} netns ${far}`);
    for (const { lan } of [this.one, this.two]) lan.ip("near", `link set ${link} up`);
  }

  /** startSecond makes a second queue at both sites. */
  startSecond(): void {
    this.#cable("p1");
    for (const site of [this.one, this.two]) site.startSecond();
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
      const came = [this.one, this.two].flatMap(({ queue, second }) => [
        queue.once(0),
        second?.once(0) === true,
      ]);
      if (!came.includes(true)) return;
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
