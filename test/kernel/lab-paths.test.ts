/** Every kind of place that a node may be in: all pairs reach each other on the rung that the place allows, and come back after what goes wrong. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdirSync, readFileSync, rmSync } from "node:fs";
import { Lab, pingMatrix, type ShownPeer, until } from "../../src/lab/mod.ts";
import { formatIp } from "../../src/net/mod.ts";
import { processesInNetns, sleep } from "../../src/sys/mod.ts";
import { executable, labLacks as skip } from "../support/lab-needs.ts";
import { Pinger } from "../support/pinger.ts";

const root = `/run/causeway-test/${process.pid}-paths`;

/** Guard against hanging only; a test waits more than once. */
const DEADLINE_MS = 60_000;
const TEST_MS = 200_000;

/** `six` joins in the test, without its IPv4 address; the office's wall lets UDP through until `tls` has joined. */
const manifest = `apiVersion: causeway.network/v1alpha1
kind: Lab
metadata: { name: paths }
spec:
  networks:
    - { name: internet, prefix4: 203.0.113.0/24, prefix6: "2001:db8:1::/64" }
    - { name: cloud, prefix4: 198.51.100.0/24, prefix6: "2001:db8:2::/64" }
    - { name: newnet, prefix4: 198.18.0.0/24, prefix6: "2001:db8:3::/64" }
    - { name: isp, prefix4: 192.0.2.0/24 }
    - { name: carrier, prefix4: 100.64.0.0/24 }
    - { name: home-c, prefix4: 192.168.1.0/24 }
    - { name: home-s, prefix4: 192.168.2.0/24 }
    - { name: home-d, prefix4: 192.168.3.0/24 }
    - { name: home-l, prefix4: 192.168.4.0/24 }
    - { name: office, prefix4: 192.168.5.0/24 }
  routers:
    - { name: core, kind: router, networks: [internet, cloud, newnet, isp] }
    - { name: nat-c, kind: cone, inside: home-c, outside: isp }
    - { name: nat-s, kind: symmetric, inside: home-s, outside: isp }
    - { name: nat-carrier, kind: restricted, inside: carrier, outside: isp }
    - { name: nat-d, kind: cone, inside: home-d, outside: carrier }
    - { name: nat-l, kind: restricted, inside: home-l, outside: isp }
    - { name: wall, kind: restricted, inside: office, outside: isp }
  nodes:
    - { name: hub, role: hub, networks: [internet], pods: 1 }
    - { name: pub, networks: [cloud], pods: 1, endpoint: auto }
    - { name: cone, networks: [home-c], pods: 1 }
    - { name: sym, networks: [home-s], pods: 1 }
    - { name: double, networks: [home-d], pods: 1 }
    - { name: lan1, networks: [home-l], pods: 1 }
    - { name: lan2, networks: [home-l], pods: 1 }
    - { name: tls, networks: [office], pods: 1, agentOptions: ["--tls", "auto"] }
    - { name: six, networks: [newnet], role: none }
`;

const NAMES = ["hub", "pub", "cone", "sym", "double", "lan1", "lan2", "tls", "six"] as const;
type Name = (typeof NAMES)[number];
type Path = ShownPeer["path"];

/**
 * The rung of each pair as the node in the row sees the node in the column. `D` is direct, `P` punched, `L` the same LAN, `R` the relay.
 * `d` is direct or punched: a public node may use the address that it was called from, which nobody had named.
 */
const RUNGS: Readonly<Record<Name, string>> = {
  //       hub pub cone sym double lan1 lan2 tls six
  hub: "   .   D   D    D   D      D    D    D   D",
  pub: "   D   .   d    d   d      d    d    R   D",
  cone: "  D   D   .    P   P      P    P    R   R",
  sym: "   D   D   P    .   R      R    R    R   R",
  double: "D   D   P    R   .      P    P    R   R",
  lan1: "  D   D   P    R   P      .    L    R   R",
  lan2: "  D   D   P    R   P      L    .    R   R",
  tls: "   D   R   R    R   R      R    R    .   R",
  six: "   D   D   R    R   R      R    R    R   .",
};

const MEANS: Readonly<Record<string, readonly Path[]>> = {
  D: ["direct"],
  d: ["direct", "punched"],
  P: ["punched"],
  L: ["lan"],
  R: ["relay"],
};

function expected(from: Name, to: Name): readonly Path[] {
  const letter = RUNGS[from].trim().split(/\s+/)[NAMES.indexOf(to)] ?? "";
  const paths = MEANS[letter];
  if (paths === undefined) throw new Error(`the table has no rung from ${from} to ${to}`);
  return paths;
}

type Pair = readonly [from: Name, to: Name];

/** What the test reads of a mesh's manifest. */
interface Shown {
  readonly spec: { readonly endpoints: readonly string[] };
}

const HUB6 = "[2001:db8:1::2]:51820";
const ASLEEP_MS = 5_000;

/** What a box with `blockUdp` has from the start; in a table of its own, to be taken away again. */
const BLOCK_UDP = `nft -f - <<'END'
table inet wall {
  chain forwarding {
    type filter hook forward priority filter - 1
    meta l4proto udp drop
  }
}
END`;

describe.skipIf(skip !== undefined)(`paths of all kinds${skip === undefined ? "" : ` (${skip})`}`, () => {
  let lab: Lab;
  const measured: string[] = [];
  /** Processes that a test has stopped with SIGSTOP and not continued. */
  const asleep = new Set<number>();

  const wake = () => {
    for (const pid of asleep)
      try {
        process.kill(pid, "SIGCONT");
      } catch {
        // It ended in its sleep.
      }
    asleep.clear();
  };

  beforeAll(async () => {
    mkdirSync(root, { recursive: true });
    await Lab.remove("paths", { root });
    const onProgress = process.env.CAUSEWAY_LAB_VERBOSE ? (text: string) => console.error(text) : undefined;
    lab = await Lab.up(manifest, { root, executable, ...(onProgress === undefined ? {} : { onProgress }) });
  }, TEST_MS);
  afterAll(async () => {
    wake();
    if (measured.length > 0) console.log(measured.join("\n"));
    if (process.env.CAUSEWAY_LAB_KEEP) return;
    await Lab.remove("paths", { root });
    rmSync(root, { recursive: true, force: true });
  }, TEST_MS);

  async function run(box: string, script: string): Promise<void> {
    const done = await lab.exec(box, ["sh", "-ec", script]);
    if (done.status !== 0) throw new Error(`${box}: ${script}: ${done.stderr.trim()}`);
  }

  /** Waits until these nodes see all others on the table's rungs. */
  async function onRungs(names: readonly Name[]): Promise<void> {
    await until(
      async () => {
        const wrong: string[] = [];
        for (const from of names) {
          const peers = await lab.peers(from);
          expect([from, peers.length]).toEqual([from, NAMES.length - 1]);
          for (const peer of peers) {
            const wanted = expected(from, peer.name as Name);
            if (!wanted.includes(peer.path))
              wrong.push(`${from} → ${peer.name} ${peer.path} (${peer.reason}), not ${wanted.join(" or ")}`);
          }
        }
        return wrong.length === 0 ? undefined : `${wrong.length} pairs: ${wrong.slice(0, 6).join("; ")}`;
      },
      { what: "every pair to be on its rung", deadlineMs: DEADLINE_MS },
    );
  }

  /** Waits until all pods reach all pods, and asserts that the pairs were all tried. */
  async function everybodyReachesEverybody(): Promise<void> {
    const pods = lab.pods().length;
    await until(
      async () => {
        const matrix = await pingMatrix(lab, { count: 1 });
        expect(matrix.length).toBe(pods * (pods - 1) * 2);
        const failed = matrix.filter((cell) => !cell.ok);
        const shown = failed.slice(0, 4).map((cell) => `${cell.from} → ${cell.to} IPv${cell.family}`);
        return failed.length === 0 ? undefined : `${failed.length} fail: ${shown.join(", ")}`;
      },
      { what: "all pods to reach all pods", deadlineMs: DEADLINE_MS },
    );
  }

  /** Pings the pairs while something happens, until all are answered well again; keeps the longest gaps to be printed. */
  async function measure(event: string, pairs: readonly Pair[], happen: () => Promise<void>): Promise<void> {
    const rungs = await Promise.all(
      pairs.map(async ([from, to]) => (await lab.peers(from)).find(({ name }) => name === to)?.path),
    );
    await using stack = new AsyncDisposableStack();
    const pingers = pairs.map(([from, to]) => {
      const { ip4 } = lab.pod(`${to}-p1`);
      const command = (argv: readonly string[]) => lab.command(`${from}-p1`, argv);
      return stack.use(new Pinger(`${from} → ${to}`, ip4 === undefined ? "" : formatIp(ip4), { command }));
    });
    const answered = (sinceMs: number) => () => pingers.find((pinger) => pinger.since(sinceMs) < 100)?.name;
    await until(answered(0), { what: `answers before: ${event}`, deadlineMs: DEADLINE_MS });
    const startMs = Date.now();
    await happen();
    // What breaks may do so a little later only.
    await sleep(3_000);
    await until(answered(Date.now()), { what: `answers after: ${event}`, deadlineMs: DEADLINE_MS });
    for (const [index, pinger] of pingers.entries()) {
      const { gapMs, afterMs } = pinger.longestGap(startMs);
      measured.push(
        `${event}: ${pinger.name} (${rungs[index]}): longest gap ${Math.round(gapMs)} ms, ${Math.round(afterMs)} ms after`,
      );
    }
  }

  const usesTls = async () => (await lab.status("tls"))?.tls?.using;

  /** The processes of a node's own namespace that run a command of ours. */
  function processesOf(node: Name, command: "agent" | "dataplane"): number[] {
    using netns = lab.netns(node);
    return processesInNetns(new Set([netns.inode])).filter(
      (pid) => readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0")[1] === command,
    );
  }

  test(
    "all pairs reach each other on the best rung; where UDP becomes blocked, by TLS",
    async () => {
      // Hubs take TLS, and have an IPv6 address too.
      const { spec, ...rest } = await lab.causewayJson<Shown>("hub", ["mesh", "show"]);
      const endpoints = [...spec.endpoints, HUB6];
      const mesh = { ...rest, spec: { ...spec, tlsPort: 443, endpoints } };
      await lab.causewayJson("hub", ["mesh", "apply", "-"], JSON.stringify(mesh));

      await run("six", "ip -4 addr flush dev eth0; ip -4 route flush table main");
      await lab.startAgent("six");
      const { token } = await lab.causewayJson<{ token: string }>("hub", ["token", "create"]);
      await lab.causewayJson("six", ["join", "-", "--name", "six"], token);
      const installed = await lab.causeway("six", ["cni", "install"]);
      expect([installed.status, installed.stderr]).toEqual([0, expect.any(String)]);
      await lab.addPod("six", "six-p1");

      await run("wall", BLOCK_UDP);
      await everybodyReachesEverybody();
      await onRungs(NAMES);
      expect(await usesTls()).toBe(true);
    },
    TEST_MS,
  );

  test(
    "what happens to a network is survived, and the longest gaps are printed",
    async () => {
      // The symmetric box takes other ports afterwards, so that all its mappings change.
      const ofSym = [
        ["sym", "pub"],
        ["sym", "cone"],
        ["sym", "double"],
      ] as const;
      await measure("NAT box forgets", ofSym, async () => lab.flushNat("nat-s"));
      await measure(
        "hub's data plane is killed",
        [
          ["sym", "double"],
          ["cone", "double"],
          ["tls", "cone"],
          ["hub", "pub"],
        ],
        async () => {
          const killed = processesOf("hub", "dataplane");
          expect(killed.length).toBe(1);
          for (const pid of killed) process.kill(pid, "SIGKILL");
        },
      );
      await measure(
        "hub's machine reboots",
        [
          ["sym", "double"],
          ["cone", "double"],
          ["tls", "cone"],
        ],
        () => lab.reboot("hub"),
      );
      await measure(
        "interface address changes",
        [
          ["cone", "pub"],
          ["cone", "double"],
          ["cone", "six"],
        ],
        () =>
          run(
            "cone",
            "ip addr del 192.168.1.2/24 dev eth0; ip addr add 192.168.1.77/24 dev eth0; ip route replace default via 192.168.1.1",
          ),
      );
      await measure(
        `node sleeps for ${ASLEEP_MS / 1000} s`,
        [
          ["lan2", "lan1"],
          ["pub", "lan1"],
          ["sym", "lan1"],
        ],
        async () => {
          const stopped = [...processesOf("lan1", "agent"), ...processesOf("lan1", "dataplane")];
          expect(stopped.length).toBe(2);
          for (const pid of stopped) {
            process.kill(pid, "SIGSTOP");
            asleep.add(pid);
          }
          await sleep(ASLEEP_MS);
          wake();
        },
      );
      await lab.addPods("hub");
      await everybodyReachesEverybody();
    },
    TEST_MS,
  );

  test(
    "where UDP is let through again, the node comes back to it",
    async () => {
      await run("wall", "nft delete table inet wall");
      await until(async () => ((await usesTls()) === false ? undefined : "it is on TLS"), {
        what: "the node to come back to UDP",
        deadlineMs: DEADLINE_MS,
      });
      await everybodyReachesEverybody();
    },
    TEST_MS,
  );
});
