/** A pair of WireGuard processes that know each other. */
import { parseEndpoint, parsePrefix, PrivateKey } from "../../src/net/mod.ts";
import { bringUp, Cable, must } from "./cable.ts";
import type { Contender } from "./contender.ts";
import { Daemon, type DaemonOptions } from "./daemon.ts";

/** PORT is where both ends listen. */
export const PORT = 51820;

let serial = 0;

/** PairOptions say what runs at both ends. */
export interface PairOptions extends Omit<DaemonOptions, "cpu"> {
  /** Each end keeps to a CPU of its own. */
  readonly pinned?: boolean;
}

/** WireguardPair owns the cable and both processes. */
export class WireguardPair implements Contender {
  readonly cable: Cable;
  readonly daemons: readonly [Daemon, Daemon];
  readonly keys: readonly [PrivateKey, PrivateKey];

  private constructor(cable: Cable, daemons: readonly [Daemon, Daemon]) {
    this.cable = cable;
    this.daemons = daemons;
    this.keys = [PrivateKey.random(), PrivateKey.random()];
  }

  /** open starts both and waits for the first answer through the tunnel. */
  static async open({ pinned = false, ...options }: PairOptions): Promise<WireguardPair> {
    const cable = new Cable();
    const [near, far] = cable.ends;
    const start = (end: typeof near) =>
      Daemon.start(end, `bench${serial++}`, pinned ? { ...options, cpu: end.number - 1 } : options);
    const pair = new WireguardPair(cable, [await start(near), await start(far)]);
    pair.#meet();
    must(near.netns, "ping", "-n", "-c", "1", "-W", "10", far.inside);
    return pair;
  }

  #meet(): void {
    for (const [index, end] of this.cable.ends.entries()) {
      const daemon = this.daemons[index] as Daemon;
      const other = this.cable.ends[1 - index] as typeof end;
      daemon.device.change({
        privateKey: this.keys[index] as PrivateKey,
        listenPort: PORT,
        peers: [
          {
            publicKey: (this.keys[1 - index] as PrivateKey).publicKey,
            endpoint: parseEndpoint(`${other.outside}:${PORT}`),
            allowedIps: [parsePrefix(`${other.inside}/32`)],
          },
        ],
      });
      bringUp(end, daemon.link);
    }
  }

  get near() {
    return this.cable.near;
  }
  get far() {
    return this.cable.far;
  }
  get to(): string {
    return this.far.inside;
  }
  get pids(): readonly number[] {
    return this.daemons.map(({ pid }) => pid);
  }

  [Symbol.dispose](): void {
    for (const daemon of this.daemons) daemon[Symbol.dispose]();
    this.cable[Symbol.dispose]();
  }
}
