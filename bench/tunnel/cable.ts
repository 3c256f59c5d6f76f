/**
 * Two namespaces and the veth between them: where every contender has its two ends.
 *
 * ```
 * near: tunnel 10.9.0.1 ── eth0 192.0.2.1 ═══ eth0 192.0.2.2 ── tunnel 10.9.0.2 :far
 * ```
 */
import { createNetns, Netns, removeNetns, runSync } from "../../src/sys/mod.ts";

const FOLDER = "/run/causeway-bench";
/** Overhead of WireGuard over IPv6 on a cable of 1500; everybody has the same. */
const TUNNEL_MTU_BYTES = 1420;

let serial = 0;

/** must runs a program in a namespace and returns what it wrote; throws if it fails. */
export function must(netns: Netns | undefined, ...argv: string[]): string {
  const done = runSync(argv, netns === undefined ? {} : { netns });
  if (done.status !== 0) throw new Error(`${argv.join(" ")}: ${done.stderr.trim()}${done.stdout.trim()}`);
  return done.stdout;
}

/** CableEnd is one of the two namespaces. */
export interface CableEnd {
  readonly netns: Netns;
  readonly number: 1 | 2;
  /** Address of the cable, and of the tunnel. */
  readonly outside: string;
  readonly inside: string;
}

/** Cable owns the two namespaces. */
export class Cable implements Disposable {
  readonly near: CableEnd;
  readonly far: CableEnd;

  constructor() {
    const number = serial++;
    this.near = end(`${FOLDER}/${number}-near`, 1);
    this.far = end(`${FOLDER}/${number}-far`, 2);
    const { netns } = this.near;
    const there = `/proc/${process.pid}/fd/${this.far.netns.fd.number}`;
    must(netns, ..."ip link add eth0 type veth peer name eth0 netns".split(" "), there);
    for (const each of this.ends) {
      must(each.netns, ..."ip link set lo up".split(" "));
      must(each.netns, ..."ip link set eth0 up".split(" "));
      must(each.netns, "ip", "addr", "add", `${each.outside}/24`, "dev", "eth0");
    }
  }

  get ends(): readonly [CableEnd, CableEnd] {
    return [this.near, this.far];
  }

  [Symbol.dispose](): void {
    for (const { netns } of this.ends) {
      netns.close();
      removeNetns(netns.path);
    }
  }
}

function end(path: string, number: 1 | 2): CableEnd {
  createNetns(path);
  return { netns: Netns.open(path), number, outside: `192.0.2.${number}`, inside: `10.9.0.${number}` };
}

/** bringUp gives a tunnel's link its address and its MTU. */
export function bringUp({ netns, inside }: CableEnd, link: string): void {
  must(netns, "ip", "addr", "add", `${inside}/24`, "dev", link);
  must(netns, "ip", "link", "set", link, "mtu", `${TUNNEL_MTU_BYTES}`, "up");
}
