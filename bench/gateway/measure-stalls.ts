/** How long a packet of a flow waits at most while a gateway's configuration is changed: the worst round trip of pings through both gateways. */
import { run, sleep } from "../../src/sys/mod.ts";
import { alone, type Row, row } from "../measure.ts";
import { type GatewayPair, gatewayConfig } from "./gateway-pair.ts";

/** Between two pings, in seconds; and how many: most of them before and after. */
const EVERY = 0.002;
const PINGS = 400;
const BEFORE_MS = 200;
const MANY = 1000;

/** STALL_NAMES are the rows. */
export const STALL_NAMES = [
  "stall-nothing",
  "stall-add",
  "stall-remove",
  "stall-mtu",
  "stall-add-1000",
] as const;
/** StallName is one of them. */
export type StallName = (typeof STALL_NAMES)[number];

const route = (number: number) =>
  `route { id more${number}; spi ${1000 + number}; net 10.${32 + (number >> 8)}.${number & 255}.0/24; preshared-key ${number.toString(16).padStart(4, "0").repeat(16)}; gateway { ip 198.51.100.1; } }`;
const entry = route(1).slice("route ".length);

interface Stall {
  /** What Vita's worst was, in milliseconds; absent: it has no such figure. */
  readonly vita?: number;
  readonly pings?: number;
  /** What is done before, unobserved. */
  readonly prepare?: (pair: GatewayPair) => Promise<void>;
  readonly work: (pair: GatewayPair) => Promise<void>;
  /** Takes it back, unobserved. */
  readonly undo?: (pair: GatewayPair) => Promise<void>;
}

const add = (pair: GatewayPair) => pair.change("add", "/route", entry);
const remove = (pair: GatewayPair) => pair.change("remove", "/route[id=more1]");

const STALLS: Readonly<Record<StallName, Stall>> = {
  "stall-nothing": { work: async () => {} },
  "stall-add": { vita: 2300, work: add, undo: remove },
  "stall-remove": { vita: 5300, prepare: add, work: remove },
  "stall-mtu": {
    vita: 4400,
    work: (pair) => pair.change("set", "/mtu", "1300"),
    undo: (pair) => pair.change("set", "/mtu", "1440"),
  },
  "stall-add-1000": {
    pings: 3000,
    work: (pair) =>
      pair.change(
        "set",
        "/",
        `${gatewayConfig(1)}${Array.from({ length: MANY }, (_, i) => route(i)).join("\n")}`,
      ),
    undo: (pair) => pair.change("set", "/", gatewayConfig(1)),
  },
};

/** The worst round trip while some work is done, in milliseconds. Packets that are lost count as long as nothing came. */
async function worst(pair: GatewayPair, { pings = PINGS, work }: Stall): Promise<number> {
  const argv = ["ping", "-n", "-D", "-i", `${EVERY}`, "-c", `${pings}`, pair.to];
  const pinged = run(argv, { netns: pair.near.netns });
  await sleep(BEFORE_MS);
  await work(pair);
  const { stdout } = await pinged;
  const answers = [...stdout.matchAll(/^\[([\d.]+)\].* icmp_seq=(\d+) .*time=([\d.]+) ms/gm)].map((match) =>
    match.slice(1).map(Number),
  ) as [number, number, number][];
  if (answers.length === 0) throw new Error(`ping: ${stdout.slice(-300)}`);
  let most = 0;
  let before: readonly [number, number, number] | undefined;
  for (const answer of answers) {
    const [at, sequence, milliseconds] = answer;
    const isLost = before !== undefined && sequence > before[1] + 1;
    most = Math.max(most, milliseconds, isLost ? (at - (before?.[0] ?? at)) * 1000 : 0);
    before = answer;
  }
  return most;
}

/** measureStalls returns the rows that are asked for. */
export async function measureStalls(
  { stalls, rounds }: { readonly stalls: readonly StallName[]; readonly rounds: number },
  pair: GatewayPair,
): Promise<Row[]> {
  const samples = new Map<StallName, number[]>(stalls.map((name) => [name, []]));
  for (let round = 0; round < rounds; round++)
    for (const name of stalls) {
      const stall = STALLS[name];
      await stall.prepare?.(pair);
      samples.get(name)?.push(await worst(pair, stall));
      await stall.undo?.(pair);
    }
  return stalls.map((name) => {
    const ours = samples.get(name) ?? [];
    const { vita } = STALLS[name];
    const about = { case: name, unit: "ms" };
    if (vita === undefined)
      return alone(
        { ...about, why: name === "stall-nothing" ? "nothing is changed" : "Vita has no such figure" },
        ours,
      );
    return row(
      { ...about, peer: "Vita, as measured before" },
      ours,
      ours.map(() => vita),
    );
  });
}
