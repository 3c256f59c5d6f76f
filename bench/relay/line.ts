/**
 * Three namespaces in a row: where the relay and plain forwarding are measured, each with one of its own.
 *
 * ```
 * near: eth0 192.0.2.1 ═══ near0 192.0.2.254 · middle · far0 198.51.100.254 ═══ eth0 198.51.100.1 :far
 * ```
 */
import { createNetns, Netns, removeNetns } from "../../src/sys/mod.ts";
import { must } from "../tunnel/cable.ts";

const FOLDER = "/run/causeway-bench";
let serial = 0;

/** LINE has the addresses. */
export const LINE = {
  near: "192.0.2.1",
  middleNear: "192.0.2.254",
  middleFar: "198.51.100.254",
  far: "198.51.100.1",
} as const;

/** FAR_PORT is where datagrams arrive, NEAR_PORT where they come from, HUB_PORT the hub's. */
export const [FAR_PORT, NEAR_PORT, HUB_PORT] = [7777, 7776, 51820] as const;

/** Line owns the namespaces. */
export class Line implements Disposable {
  readonly near: Netns;
  readonly middle: Netns;
  readonly far: Netns;

  constructor() {
    const number = serial++;
    const netns = (name: string) => {
      createNetns(`${FOLDER}/${number}-${name}`);
      return Netns.open(`${FOLDER}/${number}-${name}`);
    };
    [this.near, this.middle, this.far] = [netns("near"), netns("middle"), netns("far")];
    this.#join(this.near, "near0", [LINE.near, LINE.middleNear]);
    this.#join(this.far, "far0", [LINE.far, LINE.middleFar]);
  }

  #join(end: Netns, port: string, [outer, inner]: readonly [string, string]): void {
    const there = `/proc/${process.pid}/fd/${end.fd.number}`;
    must(this.middle, ...`ip link add ${port} type veth peer name eth0 netns ${there}`.split(" "));
    must(this.middle, ...`ip addr add ${inner}/24 dev ${port}`.split(" "));
    must(this.middle, ...`ip link set ${port} up`.split(" "));
    must(end, ...`ip addr add ${outer}/24 dev eth0`.split(" "));
    must(end, ..."ip link set eth0 up".split(" "));
    must(end, ..."ip link set lo up".split(" "));
    must(end, ...`ip route add default via ${inner}`.split(" "));
  }

  [Symbol.dispose](): void {
    for (const netns of [this.near, this.middle, this.far]) {
      netns.close();
      removeNetns(netns.path);
    }
  }
}
