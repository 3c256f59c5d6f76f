/**
 * How soon a node is in, and how soon pairs come back: a laboratory of real nodes in namespaces, and beside it plain WireGuard (wireguard-go) on machines of
 * its own in the same networks, behind the same NAT boxes, to which the same things happen in the same moment.
 *
 * ```
 *   internet: hub, hub2          cloud: pub, pub2, new, new2
 *      └──────────── core ────────────┘
 *                     └── isp ── cone box: cone, cone2 · cone box: far · symmetric boxes: sym1, sym3 · sym2, sym4
 * ```
 */
import { Lab, until } from "../../src/lab/mod.ts";
import { boottimeMs } from "../../src/sys/mod.ts";
import { startedMs } from "../tunnel/usage.ts";
import { Pinger } from "../../test/support/pinger.ts";
import { alone, type Row, row } from "../measure.ts";
import { processOf } from "./large-mesh.ts";
import { PlainNode } from "./plain-wireguard.ts";

const DEADLINE_MS = 90_000;
/** What breaks may do so a little later only. */
const HAPPENING_MS = 3_000;
const GATEWAYS = { cone: "192.168.1.1", sym: "192.168.2.1" } as const;

const manifest = `apiVersion: causeway.network/v1alpha1
kind: Lab
metadata: { name: recovery }
spec:
  networks:
    - { name: internet, prefix4: 203.0.113.0/24 }
    - { name: cloud, prefix4: 198.51.100.0/24 }
    - { name: isp, prefix4: 192.0.2.0/24 }
    - { name: home-c, prefix4: 192.168.1.0/24 }
    - { name: home-1, prefix4: 192.168.2.0/24 }
    - { name: home-2, prefix4: 192.168.3.0/24 }
    - { name: home-f, prefix4: 192.168.4.0/24 }
  routers:
    - { name: core, kind: router, networks: [internet, cloud, isp] }
    - { name: nat-c, kind: cone, inside: home-c, outside: isp }
    - { name: nat-1, kind: symmetric, inside: home-1, outside: isp }
    - { name: nat-2, kind: symmetric, inside: home-2, outside: isp }
    - { name: nat-f, kind: cone, inside: home-f, outside: isp }
  nodes:
    - { name: hub, role: hub, networks: [internet] }
    - { name: pub, networks: [cloud], endpoint: auto }
    - { name: cone, networks: [home-c] }
    - { name: sym1, networks: [home-1] }
    - { name: sym2, networks: [home-2] }
    - { name: far, networks: [home-f] }
    - { name: new, networks: [cloud], role: none }
    - { name: hub2, networks: [internet], role: none }
    - { name: pub2, networks: [cloud], role: none }
    - { name: new2, networks: [cloud], role: none }
    - { name: cone2, networks: [home-c], role: none }
    - { name: sym3, networks: [home-1], role: none }
    - { name: sym4, networks: [home-2], role: none }
`;

/** RecoveryPlan says how often. */
export interface RecoveryPlan {
  readonly rounds: number;
  readonly executable: string;
  readonly parts: readonly string[];
}

type Say = (text: string) => void;

/** Scene is the laboratory with all that runs in it. */
class Scene {
  readonly lab: Lab;
  readonly overlay: ReadonlyMap<string, string>;
  readonly plain: Readonly<Record<"hub2" | "pub2" | "cone2" | "sym3" | "sym4" | "new2", PlainNode>>;

  constructor(lab: Lab, overlay: ReadonlyMap<string, string>) {
    this.lab = lab;
    this.overlay = overlay;
    const node = (name: string, number: number) => new PlainNode(lab, name, number);
    this.plain = {
      hub2: node("hub2", 1),
      pub2: node("pub2", 2),
      cone2: node("cone2", 3),
      sym3: node("sym3", 4),
      sym4: node("sym4", 5),
      new2: node("new2", 6),
    };
  }

  inside(name: string): string {
    const address = this.overlay.get(name);
    if (address === undefined) throw new Error(`${name} is not in the mesh`);
    return address;
  }

  /** The hub of the plain mesh, whose process just began: it waits to be called. */
  async startPlainHub(): Promise<void> {
    const { hub2, sym3, sym4 } = this.plain;
    await hub2.start();
    await hub2.set([sym3, sym4].map((other) => ({ other, call: false })));
  }

  async startPlain(): Promise<void> {
    const { hub2, pub2, cone2, sym3, sym4, new2 } = this.plain;
    for (const node of [pub2, cone2, sym3, sym4, new2]) await node.start();
    await this.startPlainHub();
    await pub2.set([{ other: cone2, call: false }]);
    await cone2.set([{ other: pub2, call: true }]);
    for (const node of [sym3, sym4]) await node.set([{ other: hub2, allowed: "10.222.0.0/24", call: true }]);
  }

  /** Waits until a node sees another on one of these paths. */
  async onPath(from: string, to: string, paths: readonly string[]): Promise<void> {
    await until(
      async () => {
        const found = (await this.lab.peers(from)).find(({ name }) => name === to);
        return paths.includes(found?.path ?? "") ? undefined : `${found?.path} (${found?.reason})`;
      },
      { what: `${from} to see ${to} by ${paths.join(" or ")}`, deadlineMs: DEADLINE_MS },
    );
  }

  async run(box: string, script: string): Promise<void> {
    const done = await this.lab.exec(box, ["sh", "-ec", script]);
    if (done.status !== 0) throw new Error(`${box}: ${script}: ${done.stderr.trim()}`);
  }
}

const DIRECT = ["direct", "punched"];

/** What happens, to the mesh and to plain WireGuard. */
const events: readonly {
  readonly name: string;
  readonly happen: (scene: Scene, round: number) => Promise<unknown>;
}[] = [
  {
    name: "nat-forgets",
    async happen({ lab }) {
      lab.flushNat("nat-c");
      lab.flushNat("nat-1");
    },
  },
  {
    name: "hub-data-plane-killed",
    async happen(scene) {
      process.kill(processOf(scene.lab, "hub", "dataplane"), "SIGKILL");
      scene.plain.hub2.kill();
      await scene.startPlainHub();
    },
  },
  {
    name: "hub-rebooted",
    happen: (scene) =>
      Promise.all([scene.lab.reboot("hub"), scene.lab.reboot("hub2").then(() => scene.startPlainHub())]),
  },
  {
    name: "address-changed",
    happen: (scene, round) =>
      Promise.all(
        (
          [
            ["cone", GATEWAYS.cone, 0],
            ["cone2", GATEWAYS.cone, 1],
            ["sym1", GATEWAYS.sym, 0],
            ["sym3", GATEWAYS.sym, 1],
          ] as const
        ).map(([name, gateway, offset]) => {
          const net = gateway.slice(0, -1);
          const address = `${net}${100 + 2 * round + offset}/24`;
          return scene.run(
            name,
            `ip -4 addr flush dev eth0; ip addr add ${address} dev eth0; ip route replace default via ${gateway}`,
          );
        }),
      ),
  },
];

type Kind = "direct" | "relayed";

async function measureEvents(scene: Scene, rounds: number, say: Say): Promise<Row[]> {
  const { lab, plain } = scene;
  const samples = new Map<string, number[]>();
  for (let round = 0; round < rounds; round++)
    for (const { name, happen } of events) {
      await scene.onPath("cone", "pub", DIRECT);
      await scene.onPath("sym1", "sym2", ["relay"]);
      await using stack = new AsyncDisposableStack();
      const flow = (from: string, to: string) =>
        stack.use(new Pinger(`${from} → ${to}`, to, { command: (argv) => lab.command(from, argv) }));
      const flows: readonly (readonly [kind: Kind, who: "ours" | "theirs", pinger: Pinger])[] = [
        ["direct", "ours", flow("cone", scene.inside("pub"))],
        ["relayed", "ours", flow("sym1", scene.inside("sym2"))],
        ["direct", "theirs", flow("cone2", plain.pub2.inside)],
        ["relayed", "theirs", flow("sym3", plain.sym4.inside)],
      ];
      const silent = (sinceMs: number) => () =>
        flows.find(([, , pinger]) => pinger.since(sinceMs) < 100)?.[2].name;
      await until(silent(0), { what: `answers before ${name}`, deadlineMs: DEADLINE_MS });
      const startMs = Date.now();
      await happen(scene, round);
      await Bun.sleep(HAPPENING_MS);
      await until(silent(Date.now()), { what: `answers after ${name}`, deadlineMs: DEADLINE_MS });
      for (const [kind, who, pinger] of flows) {
        const { gapMs } = pinger.longestGap(startMs);
        const key = `recovery-${name}-${kind} ${who}`;
        samples.set(key, [...(samples.get(key) ?? []), gapMs]);
        say(`round ${round + 1}: ${key}: ${Math.round(gapMs)} ms`);
      }
    }
  return events.flatMap(({ name }) =>
    (["direct", "relayed"] as const).map((kind) => {
      const label = `recovery-${name}-${kind}`;
      const peer = `wireguard-go, keepalive 25 s${kind === "relayed" ? ", routed by a hub" : ""}`;
      const of = (who: string) => samples.get(`${label} ${who}`) ?? [];
      return row({ case: label, unit: "ms", peer }, of("ours"), of("theirs"));
    }),
  );
}

/** The time until a program's pings are answered for the first time, from now. */
async function firstAnswer(lab: Lab, from: string, to: string): Promise<number> {
  const startMs = performance.now();
  const loop = `until ping -n -q -c 1 -W 1 ${to} >/dev/null 2>&1; do sleep 0.01; done`;
  const done = await lab.exec(from, ["sh", "-c", loop], { timeoutMs: DEADLINE_MS });
  if (done.status !== 0) throw new Error(`no answer from ${to} at ${from}`);
  return performance.now() - startMs;
}

async function measureJoins(scene: Scene, rounds: number, say: Say): Promise<Row[]> {
  const { lab, plain } = scene;
  const { pub2, new2, cone2 } = plain;
  const [ours, returned, theirs]: [number[], number[], number[]] = [[], [], []];
  await lab.startAgent("new");
  for (let round = 0; round < rounds; round++) {
    const { token } = await lab.causewayJson<{ token: string }>("hub", ["token", "create"]);
    const startMs = performance.now();
    const answered = firstAnswer(lab, "new", scene.inside("pub"));
    await lab.causewayJson("new", ["join", "-", "--name", `new${round}`], token);
    returned.push(performance.now() - startMs);
    ours.push(await answered);
    await lab.causewayJson("new", ["leave"]);

    const answeredThere = firstAnswer(lab, "new2", pub2.inside);
    await Promise.all([
      pub2.set([
        { other: cone2, call: false },
        { other: new2, call: false },
      ]),
      new2.set([{ other: pub2, call: true }]),
    ]);
    theirs.push(await answeredThere);
    await scene.run("pub2", `wg set wg0 peer ${new2.key.publicKey} remove`);
    await scene.run(
      "new2",
      `wg set wg0 peer ${pub2.key.publicKey} remove; ip addr flush dev wg0; ip link set wg0 down`,
    );
    say(`join ${round + 1}: ${ours.at(-1)?.toFixed(0)} ms, plain ${theirs.at(-1)?.toFixed(0)} ms`);
  }
  const peer = "wg set at both ends of a running wireguard-go";
  return [
    row({ case: "join-to-first-ping", unit: "ms", peer }, ours, theirs),
    alone({ case: "join-returns", unit: "ms", why: "plain WireGuard has no joining" }, returned),
  ];
}

async function measureStarts(scene: Scene, rounds: number, say: Say): Promise<Row[]> {
  const { lab } = scene;
  const samples: Record<string, number[]> = { direct: [], punched: [] };
  for (let round = 0; round < rounds; round++) {
    await Promise.all(["pub", "cone", "far"].map((name) => lab.reboot(name)));
    const since = (names: readonly string[]) =>
      Math.max(...names.map((name) => startedMs(processOf(lab, name, "agent"))));
    const reached = async (kind: string, from: string, to: string) => {
      const each = [scene.onPath(from, to, DIRECT), scene.onPath(to, from, DIRECT)];
      await Promise.all(each);
      samples[kind]?.push(boottimeMs() - since([from, to]));
    };
    await Promise.all([reached("direct", "cone", "pub"), reached("punched", "cone", "far")]);
    say(
      `start ${round + 1}: direct ${samples.direct?.at(-1)?.toFixed(0)} ms, punched ${samples.punched?.at(-1)?.toFixed(0)} ms`,
    );
  }
  const why = "plain WireGuard looks for no path";
  return Object.entries(samples).map(([kind, values]) =>
    alone({ case: `start-to-${kind}`, unit: "ms", why }, values),
  );
}

/** measureRecovery brings the laboratory up and measures what is asked for. */
export async function measureRecovery({ rounds, executable, parts }: RecoveryPlan, say: Say): Promise<Row[]> {
  const lab = await Lab.up(manifest, { executable, deadlineMs: DEADLINE_MS });
  try {
    const peers = await lab.peers("hub");
    const scene = new Scene(lab, new Map(peers.map(({ name, overlay4 }) => [name, overlay4])));
    await scene.startPlain();
    const rows: Row[] = [];
    if (parts.includes("join")) rows.push(...(await measureJoins(scene, rounds, say)));
    if (parts.includes("start")) rows.push(...(await measureStarts(scene, rounds, say)));
    if (parts.includes("recovery")) rows.push(...(await measureEvents(scene, rounds, say)));
    return rows;
  } finally {
    await lab.down();
  }
}
