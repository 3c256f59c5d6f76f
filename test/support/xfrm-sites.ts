/** Two sites whose gateways' packets the kernel carries (XFRM): four namespaces in a row, with three cables. */
import { parseIp, parseMac } from "../../src/net/mod.ts";
import { type Ability, NetlinkError, probeEsp } from "../../src/netlink/mod.ts";
import type { Netns } from "../../src/sys/mod.ts";
import type {
  GatewayNews,
  GatewayOrder,
  GatewayReport,
  OutboundOrder,
  SideConfiguration,
} from "../../src/tunnel/gateway/mod.ts";
import { XfrmGateway } from "../../src/tunnel/xfrm/mod.ts";
import type { SuiteEnds, SuiteQueue, SuiteSite, SuiteSites } from "./gateway-suite.ts";
import { notRoot, Scratch } from "./scratch.ts";

/** XFRM_SITE_MTU leaves room for the headers of either outer family, and of UDP, in 1500 bytes. */
export const XFRM_SITE_MTU = 1400;

/** How often a kernel is asked again that has not answered, and one that says no to an algorithm. */
const MOST_UNDECIDED = 60;
const MOST_NOES = 5;

/** A crypto module that loads slowly is a no, or no answer, until it is there. */
function abilityOf(algorithm: OutboundOrder["algorithm"], netns: Netns): Ability {
  for (let tries = 0; ; tries++) {
    const ability = probeEsp({ algorithm, outer: 4, netns });
    if (ability.answer === "yes") return ability;
    const lacks = ability.cause instanceof NetlinkError && ["ENOENT", "ENOSYS"].includes(ability.cause.code);
    const most = ability.answer === "undecided" ? MOST_UNDECIDED : lacks ? MOST_NOES : 0;
    if (tries >= most) return ability;
    Bun.sleepSync(500);
  }
}

/** lacksXfrm tells why the kernel cannot carry them. */
export function lacksXfrm(): string | undefined {
  if (notRoot !== undefined) return notRoot;
  using scratch = new Scratch();
  const ability = abilityOf("aes-128-gcm", scratch.netns);
  return ability.answer === "yes" ? undefined : `needs a kernel with ESP: ${String(ability.cause?.message)}`;
}

/** kernelAlgorithms returns what the kernel has. */
export function kernelAlgorithms(): OutboundOrder["algorithm"][] {
  using scratch = new Scratch();
  const { netns } = scratch;
  const all = ["aes-128-gcm", "aes-256-gcm", "chacha20-poly1305"] as const;
  return all.filter((algorithm) => abilityOf(algorithm, netns).answer === "yes");
}

/** XfrmSite is one of them. */
export class XfrmSite implements SuiteSite, Disposable {
  readonly number: 1 | 2;
  readonly scratch: Scratch;
  readonly host: Netns;
  readonly gate: Netns;
  readonly news: GatewayNews[] = [];
  /** What went wrong in the gateway's own work. */
  readonly errors: string[] = [];
  #gateway: XfrmGateway | undefined;

  constructor(scratch: Scratch, number: 1 | 2) {
    this.number = number;
    this.scratch = scratch;
    this.host = scratch.another();
    this.gate = scratch.another();
    this.ip("gate", `link add x0 type veth peer name y0 netns ${this.host.path}`);
    for (const line of [
      ...["link set lo up", "link set y0 up", `addr add 10.10.${number}.2/24 dev y0`],
      ...[`addr add fd0${number}::2/64 dev y0 nodad`, `route add default via 10.10.${number}.1`],
      `-6 route add default via fd0${number}::1`,
    ])
      this.ip("host", line);
    for (const line of [
      ...["link set lo up", "link set x0 up", `addr add 10.10.${number}.1/24 dev x0`],
      `addr add fd0${number}::1/64 dev x0 nodad`,
      // Behind the host, for tests of sources.
      `route add 10.77.0.1/32 via 10.10.${number}.2`,
    ])
      this.ip("gate", line);
    for (const name of ["net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"])
      scratch.text(`sysctl -q -w ${name}=1`, this.gate);
  }

  ip(where: "host" | "gate", line: string): string {
    return this.scratch.text(`ip ${line}`, where === "host" ? this.host : this.gate);
  }

  /** address gives the public side its addresses, when its cable is there. */
  address(): void {
    for (const line of [
      ...["link set p0 up", `addr add 192.0.2.${this.number}/24 dev p0`],
      `addr add 2001:db8::${this.number}/64 dev p0 nodad`,
    ])
      this.ip("gate", line);
  }

  /** start makes the gateway; what one before left behind is its affair. */
  start(): XfrmGateway {
    const { gate } = this;
    const gateway = new XfrmGateway({
      netns: gate,
      tell: (news) => void this.news.push(news),
      failed: (error) => void this.errors.push(error.message),
    });
    this.#gateway = gateway;
    gateway.attach(0, {
      ...this.sides,
      linkIndex: this.linkIndex,
      mtuBytes: XFRM_SITE_MTU,
      ports: { exchange: 303, encapsulation: 4500 },
    });
    return gateway;
  }

  /** The public side's link. */
  get linkIndex(): number {
    return this.#index("p0");
  }

  #index(link: string): number {
    return Number(/^(\d+):/.exec(this.ip("gate", `-o link show ${link}`))?.[1]);
  }

  /** Its addresses. */
  get sides(): { readonly private: SideConfiguration; readonly public: SideConfiguration } {
    const { number } = this;
    const other = 3 - number;
    const side = (four: readonly [string, string], six: readonly [string, string]) => ({
      mac: parseMac("02:00:00:00:00:01"),
      four: { ip: parseIp(four[0]), nextHop: parseIp(four[1]) },
      six: { ip: parseIp(six[0]), nextHop: parseIp(six[1]) },
    });
    return {
      private: side([`10.10.${number}.1`, `10.10.${number}.2`], [`fd0${number}::1`, `fd0${number}::2`]),
      public: side([`192.0.2.${number}`, `192.0.2.${other}`], [`2001:db8::${number}`, `2001:db8::${other}`]),
    };
  }

  /** second makes a second queue, when its cable is there. */
  second(): SuiteQueue {
    const { number, gateway } = this;
    const net = "198.51.100";
    for (const line of ["link set p1 up", `addr add ${net}.${number}/24 dev p1`]) this.ip("gate", line);
    gateway.attach(1, {
      private: this.sides.private,
      public: {
        mac: this.sides.public.mac,
        four: { ip: parseIp(`${net}.${number}`), nextHop: parseIp(`${net}.${3 - number}`) },
      },
      linkIndex: this.#index("p1"),
      mtuBytes: XFRM_SITE_MTU,
    });
    return {
      number,
      obey: (...orders) => {
        for (const order of orders) gateway.obey(order, 1);
      },
      report: () => gateway.report(1),
    };
  }

  get gateway(): XfrmGateway {
    return this.#gateway as XfrmGateway;
  }

  obey(...orders: readonly GatewayOrder[]): void {
    for (const order of orders) this.gateway.obey(order);
  }

  report(): GatewayReport {
    return this.gateway.report();
  }

  [Symbol.dispose](): void {
    this.#gateway?.[Symbol.dispose]();
    this.#gateway = undefined;
  }
}

/** XfrmSites are both. */
export class XfrmSites implements SuiteSites {
  readonly scratch = new Scratch();
  readonly one: XfrmSite;
  readonly two: XfrmSite;

  constructor() {
    try {
      this.one = new XfrmSite(this.scratch, 1);
      this.two = new XfrmSite(this.scratch, 2);
      for (const link of ["p0", "p1"])
        this.one.ip("gate", `link add ${link} type veth peer name ${link} netns ${this.two.gate.path}`);
      for (const site of [this.one, this.two]) site.address();
      for (const site of [this.one, this.two]) site.start();
    } catch (error) {
      this.scratch[Symbol.dispose]();
      throw error;
    }
  }

  during<T>(work: Promise<T>): Promise<T> {
    return work;
  }

  second(): SuiteEnds {
    return { one: this.one.second(), two: this.two.second() };
  }

  detour(isOn: boolean): void {
    for (const { gateway } of [this.one, this.two]) gateway.detour(0, "other", isOn ? 1 : undefined);
  }

  [Symbol.dispose](): void {
    this.one[Symbol.dispose]();
    this.two[Symbol.dispose]();
    this.scratch[Symbol.dispose]();
  }
}
