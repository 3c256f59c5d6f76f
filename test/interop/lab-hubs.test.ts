/**
 * Two hubs that relay, with real packets: what goes on when one is lost, when both are, and when a node is to be removed meanwhile.
 *
 * The longest time without an answer, at one ping per 10 ms, is printed for each event. CAUSEWAY_ROUNDS=10 repeats the loss of a hub;
 * CAUSEWAY_LONG=1 waits for a node that sleeps longer than its sessions live, which takes three minutes.
 */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Results } from "../../src/agent/mod.ts";
import { Lab, pingMatrix, until } from "../../src/lab/mod.ts";
import { formatIp } from "../../src/net/mod.ts";
import { processesInNetns, sleep } from "../../src/sys/mod.ts";
import { EtcdCluster, etcdFolder } from "../support/etcd.ts";
import { executable, labLacks } from "../support/lab-needs.ts";
import { Pinger } from "../support/pinger.ts";

const root = `/run/causeway-test/${process.pid}-relays`;
/** Guards against hanging only. */
const DEADLINE_MS = 90_000;
const TEST_MS = 300_000;
setDefaultTimeout(TEST_MS);
const ROUNDS = Number(process.env.CAUSEWAY_ROUNDS ?? 2);
/** Longer than WireGuard's sessions live (REJECT_AFTER_TIME, 180 s). */
const ASLEEP_MS = 200_000;
const short = process.env.CAUSEWAY_LONG === undefined ? " (skipped: takes 200 s; CAUSEWAY_LONG=1)" : "";
const { folder, lacks } = etcdFolder();
const skip = labLacks ?? lacks;

/** s1 and s2 need a relay for each other and for all but pub, r1 and r2 punch, pub is reached directly; out is to be removed, nap sleeps. */
const manifest = `apiVersion: causeway.network/v1alpha1
kind: Lab
metadata: { name: relays }
spec:
  networks:
    - { name: internet, prefix4: 203.0.113.0/24 }
    - { name: home-s1, prefix4: 192.168.1.0/24 }
    - { name: home-s2, prefix4: 192.168.2.0/24 }
    - { name: home-r1, prefix4: 192.168.3.0/24 }
    - { name: home-r2, prefix4: 192.168.4.0/24 }
    - { name: home-n, prefix4: 192.168.5.0/24 }
  routers:
    - { name: nat-s1, kind: symmetric, inside: home-s1, outside: internet }
    - { name: nat-s2, kind: symmetric, inside: home-s2, outside: internet }
    - { name: nat-r1, kind: restricted, inside: home-r1, outside: internet }
    - { name: nat-r2, kind: restricted, inside: home-r2, outside: internet }
    - { name: nat-n, kind: cone, inside: home-n, outside: internet }
  nodes:
    - { name: hub1, role: hub, networks: [{ name: internet, address4: 203.0.113.11 }] }
    - { name: s1, networks: [home-s1], pods: 1 }
    - { name: s2, networks: [home-s2], pods: 1 }
    - { name: r1, networks: [home-r1], pods: 1 }
    - { name: r2, networks: [home-r2], pods: 1 }
    - { name: nap, networks: [home-n], pods: 1 }
    - { name: pub, networks: [internet], pods: 1, endpoint: auto }
    - { name: out, networks: [internet], pods: 1, endpoint: auto }
    - { name: hub2, role: none, networks: [{ name: internet, address4: 203.0.113.12 }] }
    - { name: e1, role: none, networks: [{ name: internet, address4: 203.0.113.31 }] }
`;

type Pair = readonly [from: string, to: string];
const RELAYED: readonly Pair[] = [
  ["s1", "s2"],
  ["s2", "r1"],
];
const DIRECT: readonly Pair[] = [
  ["r1", "r2"],
  ["s1", "pub"],
];

/** The hub goes on relaying and answering probes, and says nothing else to any node. */
const SILENT = "add table inet silent; add chain inet silent c { type filter hook input priority -10; }; ";
const NO_ORDERS = `${SILENT}add rule inet silent c iifname cw0 tcp dport 7473 drop`;

describe.skipIf(skip !== undefined)(
  `hubs that relay${skip === undefined ? "" : ` (skipped: ${skip})`}`,
  () => {
    let lab: Lab;
    let etcd: EtcdCluster;
    let operator: string;
    const measured: string[] = [];
    /** Processes that were stopped with SIGSTOP and not continued. */
    const asleep = new Set<number>();
    let asleepMs = 0;

    const wake = () => {
      for (const pid of asleep)
        try {
          process.kill(pid, "SIGCONT");
        } catch {
          // It ended in its sleep.
        }
      asleep.clear();
    };
    const wait = (what: string, look: () => Promise<string | undefined> | string | undefined) =>
      until(look, { what, deadlineMs: DEADLINE_MS });

    async function run(box: string, argv: readonly string[]): Promise<void> {
      const done = await lab.exec(box, argv);
      if (done.status !== 0) throw new Error(`${box}: ${argv.join(" ")}: ${done.stderr.trim()}`);
    }

    function processesOf(node: string): number[] {
      using netns = lab.netns(node);
      return processesInNetns(new Set([netns.inode]));
    }

    function suspend(pids: readonly number[]): void {
      for (const pid of pids) {
        process.kill(pid, "SIGSTOP");
        asleep.add(pid);
      }
    }

    /** The processes of a node's own namespace that run a command of ours. */
    const ours = (node: string, ...commands: string[]) =>
      processesOf(node).filter((pid) =>
        commands.includes(readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0")[1] ?? ""),
      );

    /** A machine that loses power: not a word more, and nobody there who says that nobody is there. */
    async function powerOff(node: string): Promise<void> {
      await run(node, ["ip", "link", "set", "eth0", "down"]);
      for (const pid of processesOf(node)) process.kill(pid, "SIGKILL");
    }

    async function powerOn(node: string): Promise<void> {
      await lab.reboot(node);
      await lab.startAgent(node);
    }

    const peer = async (node: string, name: string) =>
      (await lab.causewayJson<Results["peers"]>(node, ["peers", name])).peers[0];

    /** Waits until the pairs are relayed by hubs that are not `not`; returns the hub of the first. */
    async function relayed(pairs: readonly Pair[], not?: string): Promise<string> {
      let found = "";
      await wait("the pairs to be relayed", async () => {
        for (const [from, to] of pairs)
          for (const [one, other] of [
            [from, to],
            [to, from],
          ] as const) {
            const shown = await peer(one, other);
            if (shown?.path !== "relay" || shown.relay === not)
              return `${one} → ${other} ${shown?.path} ${shown?.relay}: ${shown?.reason}`;
          }
        found = (await peer(...(pairs[0] as Pair)))?.relay ?? "";
        return undefined;
      });
      return found;
    }

    /** Waits until a hub has a live session with each of the nodes, so that it can relay for them. */
    const serves = (hub: string, nodes: readonly string[]) =>
      wait(`${hub} to serve ${nodes.join()}`, async () => {
        const peers = await lab.peers(hub);
        const lacking = nodes.filter((node) => peers.find(({ name }) => name === node)?.path !== "direct");
        return lacking.length === 0 ? undefined : lacking.join();
      });

    const pinger = (stack: AsyncDisposableStack, [from, to]: Pair) => {
      const { ip4 } = lab.pod(`${to}-p1`);
      const address = ip4 === undefined ? "" : formatIp(ip4);
      return stack.use(
        new Pinger(`${from} → ${to}`, address, { command: (argv) => lab.command(`${from}-p1`, argv) }),
      );
    };

    const answered = (pingers: readonly Pinger[], what: string, sinceMs = Date.now()) =>
      wait(what, () => pingers.find((one) => one.since(sinceMs) < 100)?.name);

    /** Keeps what an event cost, to be printed. */
    function note(event: string, pingers: readonly Pinger[], sinceMs: number): void {
      for (const one of pingers) {
        const { gapMs, afterMs } = one.longestGap(sinceMs);
        measured.push(
          `${event}: ${one.name}: longest gap ${Math.round(gapMs)} ms, ${Math.round(afterMs)} ms after; ${one.lost} lost`,
        );
      }
    }

    async function everybodyReachesEverybody(): Promise<void> {
      const pods = lab
        .pods()
        .map(({ name }) => name)
        .filter((name) => !["nap-p1", "out-p1"].includes(name));
      await wait("all pods to reach all pods", async () => {
        const matrix = await pingMatrix(lab, { count: 1, pods });
        expect(matrix.length).toBe(pods.length * (pods.length - 1) * 2);
        const failed = matrix.filter((cell) => !cell.ok).map(({ from, to }) => `${from} → ${to}`);
        return failed.length === 0 ? undefined : failed.slice(0, 4).join(", ");
      });
    }

    beforeAll(async () => {
      mkdirSync(root, { recursive: true });
      operator = mkdtempSync(join(tmpdir(), "causeway-operator-"));
      await Lab.remove("relays", { root });
      lab = await Lab.up(manifest, { root, executable });
      etcd = new EtcdCluster(folder as string, {
        addresses: ["203.0.113.31"],
        command: (_, argv) => lab.command("e1", argv),
      });
      etcd.startAll();
      await wait("etcd takes the register", async () => {
        const done = await lab.causeway("hub1", ["hub", "migrate", ...etcd.hubOptions("hub1")]);
        return done.status === 0 ? undefined : done.stderr;
      });
      const { token } = await lab.causewayJson<Results["token-create"]>("hub1", [
        ...["token", "create", "--role", "hub"],
      ]);
      await lab.startAgent("hub2");
      const join2 = [
        "join",
        "-",
        "--name",
        "hub2",
        "--endpoint",
        "203.0.113.12:51820",
        ...etcd.hubOptions("hub2"),
      ];
      await lab.causewayJson("hub2", join2, token);
      await lab.causewayJson("hub1", ["operator", "key", `${operator}/key`]);
    }, TEST_MS);
    afterAll(async () => {
      wake();
      if (measured.length > 0) console.log(measured.join("\n"));
      await etcd?.[Symbol.asyncDispose]();
      if (process.env.CAUSEWAY_LAB_KEEP) return;
      await Lab.remove("relays", { root });
      rmSync(root, { recursive: true, force: true });
      rmSync(operator, { recursive: true, force: true });
    }, TEST_MS);

    test("the hub that relays is killed: the other goes on, though no hub says so", async () => {
      await serves("hub2", ["s1", "s2", "r1", "r2", "pub"]);
      await everybodyReachesEverybody();
      if (short === "") {
        const stopped = ours("nap", "agent", "dataplane");
        expect(stopped.length).toBe(2);
        suspend(stopped);
        asleepMs = Date.now();
        lab.flushNat("nat-n");
      }

      for (let round = 1; round <= ROUNDS; round++) {
        await using stack = new AsyncDisposableStack();
        const [relays, others] = [RELAYED, DIRECT].map((pairs) => pairs.map((pair) => pinger(stack, pair)));
        const all = [...(relays ?? []), ...(others ?? [])];
        await answered(all, "answers before");
        const before = await relayed(RELAYED.slice(0, 1));
        const after = before === "hub1" ? "hub2" : "hub1";
        for (const [from, to] of DIRECT)
          expect([from, ["direct", "punched"].includes((await peer(from, to))?.path ?? "")]).toEqual([
            from,
            true,
          ]);
        await run(after, ["nft", NO_ORDERS]);
        const lost = (others ?? []).map((one) => one.lost);
        const startMs = Date.now();
        await powerOff(before);
        await relayed(RELAYED, before);
        await answered(all, `answers when ${before} is gone`);
        note(`${before}, which relays, is killed`, all, startMs);
        // Who has no need of a hub notices nothing.
        expect((others ?? []).map((one) => one.lost)).toEqual(lost);
        await run(after, ["nft", "delete table inet silent"]);
        await powerOn(before);
        await serves(before, ["s1", "s2", "r1", "r2", "pub"]);
      }
    });

    test("both hubs are killed: direct pairs lose nothing, a removal goes from node to node, and all comes back", async () => {
      await using stack = new AsyncDisposableStack();
      const [relays, others] = [RELAYED, DIRECT].map((pairs) => pairs.map((pair) => pinger(stack, pair)));
      const toOut = (["pub", "r1", "s1"] as const).map((name) => pinger(stack, ["out", name]));
      const all = [...(relays ?? []), ...(others ?? []), ...toOut];
      await answered(all, "answers before");
      const lost = (others ?? []).map((one) => one.lost);
      const startMs = Date.now();
      await Promise.all([powerOff("hub1"), powerOff("hub2")]);
      await wait("the relayed pairs to be known as down", async () => {
        const shown = await peer("s1", "s2");
        return shown?.path === "down" ? undefined : shown?.reason;
      });
      await answered([...(others ?? []), ...toOut], "answers without hubs");

      // It does not obey, and goes on sending.
      const agent = ours("out", "agent");
      expect(agent.length).toBe(1);
      suspend(agent);
      const done = await lab.causeway("r2", ["node", "remove", "out", "--operator-key", `${operator}/key`]);
      expect([done.status, done.stderr]).toEqual([0, expect.any(String)]);
      for (const node of ["pub", "r1", "r2", "s1", "s2"])
        await wait(`${node} to know of the removal`, async () =>
          (await lab.peers(node)).some(({ name }) => name === "out") ? "not yet" : undefined,
        );
      const removedMs = Date.now();
      await sleep(2_000);
      expect(toOut.map((one) => one.since(removedMs))).toEqual([0, 0, 0]);
      await answered(others ?? [], "answers after the removal");
      note("both hubs are killed", others ?? [], startMs);
      expect((others ?? []).map((one) => one.lost)).toEqual(lost);
      for (const [from, to] of DIRECT)
        expect([from, ["direct", "punched"].includes((await peer(from, to))?.path ?? "")]).toEqual([
          from,
          true,
        ]);
      expect((relays ?? []).map((one) => one.since(removedMs))).toEqual([0, 0]);

      const backMs = Date.now();
      await powerOn("hub2");
      const ms = Date.now() - backMs;
      await answered(relays ?? [], "answers through the hub that is back");
      const first = (relays ?? []).map((one) => Math.round(one.firstAfter(backMs) ?? 0));
      measured.push(
        `a hub is started again, its agent answers after ${ms} ms; relayed pairs after ${first} ms`,
      );
      await powerOn("hub1");
      for (const hub of ["hub1", "hub2"])
        await wait(`${hub} to know of the removal`, async () =>
          (await lab.peers(hub)).some(({ name }) => name === "out") ? "not yet" : undefined,
        );
      for (const hub of ["hub1", "hub2"]) await serves(hub, ["s1", "s2", "r1", "r2", "pub"]);
    });

    test("all at once: a hub, a NAT box, an address and a node", async () => {
      {
        await using stack = new AsyncDisposableStack();
        const all = [...RELAYED, ...DIRECT, ["r2", "pub"] as const].map((pair) => pinger(stack, pair));
        await answered(all, "answers before");
        const before = await relayed(RELAYED.slice(0, 1));
        const startMs = Date.now();
        const killed = ours("pub", "agent", "dataplane");
        expect(killed.length).toBe(2);
        const moved = ["ip addr del 192.168.3.2/24 dev eth0", "ip addr add 192.168.3.77/24 dev eth0"];
        await Promise.all([
          powerOff(before),
          run("r1", ["sh", "-ec", [...moved, "ip route replace default via 192.168.3.1"].join("\n")]),
        ]);
        for (const pid of killed) process.kill(pid, "SIGKILL");
        lab.flushNat("nat-s1");
        await lab.startAgent("pub");
        await answered(all, "answers after all that");
        note("all at once", all, startMs);
        await powerOn(before);
      }
      await everybodyReachesEverybody();
      for (const [from, to] of DIRECT)
        await wait(`${from} and ${to} to be direct again`, async () => {
          const shown = await peer(from, to);
          return ["direct", "punched"].includes(shown?.path ?? "") ? undefined : shown?.reason;
        });
    });

    test.skipIf(short !== "")(
      `a node that slept for longer than its sessions live is back${short}`,
      async () => {
        await sleep(Math.max(0, ASLEEP_MS - (Date.now() - asleepMs)));
        await using stack = new AsyncDisposableStack();
        const pairs: readonly Pair[] = [
          ["nap", "pub"],
          ["s1", "nap"],
          ["r1", "nap"],
        ];
        const all = pairs.map((pair) => pinger(stack, pair));
        await sleep(1_000);
        expect(all.map((one) => one.since(0))).toEqual([0, 0, 0]);
        const startMs = Date.now();
        wake();
        await answered(all, "answers of the node that slept", startMs);
        for (const one of all)
          measured.push(
            `a node slept for ${ASLEEP_MS / 1000} s: ${one.name}: first answer after ${Math.round(one.firstAfter(startMs) ?? 0)} ms`,
          );
      },
    );
  },
);
