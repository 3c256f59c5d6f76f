/** The ways from one end to the other: what is measured. */
import { parseEndpoint, PrivateKey } from "../../src/net/mod.ts";
import { sleep } from "../../src/sys/mod.ts";
import { RelayClient } from "../../src/tunnel/relay/mod.ts";
import { must } from "../tunnel/cable.ts";
import { Daemon } from "../tunnel/daemon.ts";
import { HandNode } from "./hand-node.ts";
import { FAR_PORT, HUB_PORT, Line, LINE, NEAR_PORT } from "./line.ts";

const PATIENCE_MS = 10_000;

/** Way is one of them. */
export interface Way extends Disposable {
  readonly name: string;
  readonly line: Line;
  /** What moves the packets; none where the kernel does. */
  readonly pids: readonly number[];
  readonly farPort: number;
  readonly nearPort: number;
  /** prepare returns where datagrams go, and with which receiver index. */
  prepare(): Promise<{ readonly address: string; readonly port: number; readonly index: number }>;
}

/** As on a cable between machines: checksums are complete, and the far end takes packets in batches, without which XDP cannot send to a veth. */
function likeMachines({ near, far }: Line): void {
  for (const end of [near, far]) must(end, ..."ethtool -K eth0 tx off gro on".split(" "));
}

/** forwarding is the kernel's: the middle is a router. */
export function forwarding({ machines }: { readonly machines: boolean }): Way {
  const line = new Line();
  if (machines) likeMachines(line);
  must(line.middle, ..."sysctl -qw net.ipv4.ip_forward=1".split(" "));
  return {
    name: machines ? "forwarding as xdp" : "forwarding",
    line,
    pids: [],
    farPort: FAR_PORT,
    nearPort: NEAR_PORT,
    prepare: async () => ({ address: LINE.far, port: FAR_PORT, index: 1 }),
    [Symbol.dispose]: () => line[Symbol.dispose](),
  };
}

/** relaying is our data plane's, in user space, or by its XDP program: the middle is a hub. */
export async function relaying(argv: readonly string[], { xdp }: { readonly xdp: boolean }): Promise<Way> {
  const line = new Line();
  const link = xdp ? "benchxdp" : "benchrelay";
  if (xdp) {
    must(line.middle, ..."sysctl -qw net.ipv4.ip_forward=1".split(" "));
    likeMachines(line);
  }
  const daemon = await Daemon.start({ netns: line.middle, number: 1, outside: "", inside: "" }, link, {
    argv,
  });
  const key = PrivateKey.random();
  const near = new HandNode(line.near, {
    port: NEAR_PORT,
    to: parseEndpoint(`${LINE.middleNear}:${HUB_PORT}`),
  });
  const far = new HandNode(line.far, { port: FAR_PORT, to: parseEndpoint(`${LINE.middleFar}:${HUB_PORT}`) });
  const keys = [near.key.publicKey, far.key.publicKey] as const;
  daemon.device.change({
    privateKey: key,
    listenPort: HUB_PORT,
    peers: keys.map((publicKey) => ({ publicKey, allowedIps: [] })),
  });
  const relay = new RelayClient(daemon.device.socketPath);
  relay.set({
    enabled: true,
    classes: new Map(keys.map((publicKey) => [publicKey, 1])),
    ...(xdp ? { xdpLinks: ["near0", "far0"] } : {}),
  });
  const attached = relay.status()?.xdpLinks ?? [];
  if (xdp && !attached.every((text) => text.endsWith(": native")))
    throw new Error(`XDP is not native here: ${attached.join(", ")}`);
  return {
    name: xdp ? "xdp" : "relay",
    line,
    pids: [daemon.pid],
    farPort: FAR_PORT,
    nearPort: NEAR_PORT,
    prepare: async () => {
      // Sessions with the hub first; then the two may be relayed.
      await Promise.all([near.open([key.publicKey]), far.open([key.publicKey])]);
      const due = () => [near, far].forEach((node) => node.step({ kind: "due" }));
      await eventually("both have a session with the hub", () => {
        due();
        return relay.status()?.liveNodes === 2;
      });
      near.close();
      far.close();
      await far.open([key.publicKey, keys[0]]);
      await near.open([key.publicKey, keys[1]]);
      await eventually("the two have a session", () => {
        due();
        return near.session(keys[1]) !== undefined && (relay.status()?.liveNodes ?? 0) === 2;
      });
      if (xdp)
        await eventually("the kernel has the circuits", () => (relay.status()?.xdp?.circuits ?? 0) > 0);
      const index = near.session(keys[1])?.remoteIndex as number;
      near.close();
      far.close();
      return { address: LINE.middleNear, port: HUB_PORT, index };
    },
    [Symbol.dispose]: () => {
      near[Symbol.dispose]();
      far[Symbol.dispose]();
      daemon[Symbol.dispose]();
      line[Symbol.dispose]();
    },
  };
}

async function eventually(what: string, holds: () => boolean): Promise<void> {
  const end = performance.now() + PATIENCE_MS;
  while (!holds()) {
    if (performance.now() > end) throw new Error(`waited in vain: ${what}`);
    await sleep(20);
  }
}
