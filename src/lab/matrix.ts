/** Every pod to every pod: does it answer, by which path, and how fast. */
import type { ShownPeer } from "../agent/mod.ts";
import { formatIp } from "../net/mod.ts";
import { inParallel } from "../sys/mod.ts";
import type { Lab } from "./lab.ts";
import type { Pod } from "./pod.ts";

/** MatrixCell is one direction between two pods in one family. */
export interface MatrixCell {
  readonly from: string;
  readonly to: string;
  readonly family: 4 | 6;
  readonly ok: boolean;
  /** `local` for pods of one node; `unknown` while the agent that could tell does not run. */
  readonly path: "local" | ShownPeer["path"] | "unknown";
  /** Mean round trip of the answers. */
  readonly rttMs?: number;
}

/** MatrixOptions say how the pods are pinged. */
export interface MatrixOptions {
  /** Text that fills the packets, at most 16 bytes, to be looked for on the wires. */
  readonly marker?: string;
  /** Pings of each pair; default 3. */
  readonly count?: number;
  /** Pairs at a time; default 16. */
  readonly width?: number;
  /** Only these pods; default all. */
  readonly pods?: readonly string[];
  readonly onCell?: (cell: MatrixCell, done: number, total: number) => void;
}

/** pingMatrix pings from every pod to every other pod, IPv4 and IPv6, and says by which path. */
export async function pingMatrix(lab: Lab, options: MatrixOptions = {}): Promise<MatrixCell[]> {
  const pods = lab.pods().filter((pod) => options.pods?.includes(pod.name) ?? true);
  const pairs = pods.flatMap((from) =>
    pods
      .filter((to) => to !== from)
      .flatMap((to) => ([4, 6] as const).map((family) => ({ from, to, family }))),
  );
  let done = 0;
  const pinged = await inParallel(pairs, options.width ?? 16, async ({ from, to, family }) => {
    const rttMs = await ping(lab, { from, to, family }, options);
    const cell = { from: from.name, to: to.name, family, ok: rttMs !== undefined };
    options.onCell?.({ ...cell, path: "unknown" }, ++done, pairs.length);
    return { ...cell, fromNode: from.node, toNode: to.node, rttMs };
  });
  // Paths are read afterwards: they are what the pings went by, as tunnels come up with the first packet.
  const nodes = [...new Set(pods.map((pod) => pod.node))];
  const paths = new Map(
    await Promise.all(
      nodes.map(async (node) => {
        const peers = await lab.peers(node).catch(() => []);
        return [node, new Map(peers.map((peer) => [peer.name, peer.path]))] as const;
      }),
    ),
  );
  return pinged.map(({ fromNode, toNode, rttMs, ...cell }) => ({
    ...cell,
    path:
      fromNode === toNode ? ("local" as const) : (paths.get(fromNode)?.get(toNode) ?? ("unknown" as const)),
    ...(rttMs === undefined ? {} : { rttMs }),
  }));
}

/** The mean round trip, or undefined when nothing came back. */
async function ping(
  lab: Lab,
  pair: { readonly from: Pod; readonly to: Pod; readonly family: 4 | 6 },
  options: MatrixOptions,
): Promise<number | undefined> {
  const address = pair.family === 4 ? pair.to.ip4 : pair.to.ip6;
  if (address === undefined) return undefined;
  const pattern = options.marker === undefined ? [] : ["-p", Buffer.from(options.marker).toString("hex")];
  const count = String(options.count ?? 3);
  const done = await lab.exec(
    pair.from.name,
    ["ping", "-n", "-q", "-c", count, "-i", "0.2", "-W", "2", ...pattern, formatIp(address)],
    { timeoutMs: 60_000 },
  );
  const mean = /= [\d.]+\/([\d.]+)\//.exec(done.stdout)?.[1];
  return done.status === 0 && mean !== undefined ? Number(mean) : undefined;
}
