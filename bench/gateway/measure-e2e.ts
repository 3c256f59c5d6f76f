/**
 * The inside of bench gateway's rows from end to end, and of those about stalls: it runs in namespaces of its own, with which everything ends. All
 * contenders are up, and take turns in each case of each round.
 */
import { fetchPackages } from "../../tools/debian-suite.ts";
import { alone, type Row, row } from "../measure.ts";
import type { Contender } from "../tunnel/contender.ts";
import { flood } from "../tunnel/traffic.ts";
import { cpuSeconds, preferSession } from "../tunnel/usage.ts";
import { WireguardPair } from "../tunnel/wireguard-pair.ts";
import { GatewayPair } from "./gateway-pair.ts";
import { measureStalls, type StallName } from "./measure-stalls.ts";
import { openStrongswan } from "./strongswan-pair.ts";

/** E2E_CASES are the rows: bytes of UDP payload in a frame of that length, and what Vita delivered on a machine of this kind, in kpps. */
export const E2E_CASES = {
  "e2e-60": { payloadBytes: 60 - 42, vita: 336 },
  "e2e-1400": { payloadBytes: 1400 - 42, vita: 198 },
} as const;
/** E2eName is one of them. */
export type E2eName = keyof typeof E2E_CASES;

/** E2ePlan says what is measured. */
export interface E2ePlan {
  readonly rounds: number;
  readonly seconds: number;
  readonly urgent: boolean;
  readonly cases: readonly E2eName[];
  readonly stalls: readonly StallName[];
}

/** Packets offered in a second, one after the other; what is delivered at the best of them counts. */
const OFFERS = [25_000, 50_000, 100_000, 200_000, 300_000, 400_000, 500_000, undefined];
/** A packet process is idle that uses less of a processor. */
const IDLE_SHARE = 0.1;
const LOOK_MS = 500;
const MOST_LOOKS = 120;

/** A contender that takes part, or why it does not. */
type Entrant = { readonly name: string } & ({ readonly contender: Contender } | { readonly lacks: string });

const say = (text: string) => process.stderr.write(`${text}\n`);

const openers: readonly { readonly name: string; readonly open: () => Promise<Contender> }[] = [
  { name: "wireguard-go", open: () => openWireguard(false) },
  { name: "wireguard-go pinned", open: () => openWireguard(true) },
  { name: "strongSwan's libipsec", open: openStrongswan },
];

function openWireguard(pinned: boolean): Promise<Contender> {
  const argv = [`${fetchPackages("trixie", ["wireguard-go"])}/usr/bin/wireguard-go`, "-f"];
  return WireguardPair.open({ argv, env: { LOG_LEVEL: "error" }, pinned });
}

async function enter({ name, open }: (typeof openers)[number], stack: DisposableStack): Promise<Entrant> {
  try {
    return { name, contender: stack.use(await open()) };
  } catch (error) {
    const lacks = (error as Error).message.split("\n")[0] ?? "";
    say(`${name} does not take part: ${(error as Error).message}`);
    return { name, lacks };
  }
}

/** Some keep what they cannot send yet, and go on with it long after: nobody else is measured meanwhile. */
async function idle({ pids }: Contender): Promise<void> {
  for (let looks = 0; looks < MOST_LOOKS; looks++) {
    const before = cpuSeconds(pids);
    await Bun.sleep(LOOK_MS);
    if (cpuSeconds(pids) - before < (IDLE_SHARE * LOOK_MS) / 1000) return;
  }
}

/** Thousands of packets that arrive in a second, at the best of what is offered. */
async function delivered(contender: Contender, payloadBytes: number, seconds: number): Promise<number> {
  let best = 0;
  for (const perSecond of OFFERS) {
    const pace = perSecond === undefined ? {} : { perSecond };
    const { received, seconds: took, sent } = await flood(contender, { payloadBytes, seconds, ...pace });
    await idle(contender);
    const rate = received / took / 1000;
    best = Math.max(best, rate);
    // It has had its best.
    if (received < sent / 2 && rate < best) break;
  }
  return best;
}

async function measureE2e(plan: E2ePlan, ours: GatewayPair, stack: DisposableStack): Promise<Row[]> {
  const { cases, rounds, seconds } = plan;
  if (cases.length === 0) return [];
  const peers: Entrant[] = [];
  for (const opener of openers) {
    say(`starting ${opener.name}`);
    peers.push(await enter(opener, stack));
  }
  const field: readonly Entrant[] = [{ name: "ours", contender: ours }, ...peers];
  const samples = new Map<string, number[]>();
  for (let round = 0; round < rounds; round++)
    for (const name of cases) {
      const shown: string[] = [];
      for (let i = 0; i < field.length; i++) {
        const entrant = field[(i + round) % field.length] as Entrant;
        if ("lacks" in entrant) continue;
        const rate = await delivered(entrant.contender, E2E_CASES[name].payloadBytes, seconds);
        const key = `${name} ${entrant.name}`;
        samples.set(key, [...(samples.get(key) ?? []), rate]);
        shown.push(`${entrant.name} ${rate.toFixed(0)}`);
      }
      say(`round ${round + 1} of ${rounds}: ${name}: ${shown.join(", ")}`);
    }
  const of = (name: string, who: string) => samples.get(`${name} ${who}`) ?? [];
  return cases.flatMap((name) => {
    const mine = of(name, "ours");
    const about = { case: name, unit: "kpps", moreIsBetter: true };
    const vita = { ...about, peer: "Vita --xdp, as measured before" };
    return [
      row(
        vita,
        mine,
        mine.map(() => E2E_CASES[name].vita),
      ),
      ...peers.map((peer) =>
        "lacks" in peer
          ? alone({ ...about, why: `${peer.name}: ${peer.lacks}` }, mine)
          : row({ ...about, peer: peer.name }, mine, of(name, peer.name)),
      ),
    ];
  });
}

async function measure(plan: E2ePlan): Promise<Row[]> {
  if (plan.urgent) preferSession(process.pid);
  using stack = new DisposableStack();
  say("starting two gateways");
  const ours = stack.use(await GatewayPair.open());
  if (plan.urgent) for (const pid of ours.pids) preferSession(pid);
  const stalls = await measureStalls(plan, ours);
  return [...(await measureE2e(plan, ours, stack)), ...stalls];
}

if (import.meta.main) {
  console.log(JSON.stringify(await measure(JSON.parse(process.argv[2] as string) as E2ePlan)));
  // What was started ends with this process's namespaces.
  process.exit(0);
}
