/**
 * A hub changes its own key while packets flow: between it and nodes, between nodes that it relays for, and of a laptop with plain WireGuard, whose
 * file nobody changes. Nothing is lost. A node that was away comes back with what it knew before, a token of before is still good, an agent that is
 * killed in the middle goes on, and so does all when what carries the packets is killed.
 */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { runSync } from "../../src/sys/mod.ts";
import { CountedFlow } from "../support/counted-flow.ts";
import { executable } from "../support/lab-needs.ts";
import { ownLacks } from "../support/own-needs.ts";
import { PlainPeer, plainPeerLacks } from "../support/plain-peer.ts";
import { SmallMesh } from "../support/small-mesh.ts";
import { tool, until } from "../support/tunnel-pair.ts";

setDefaultTimeout(300_000);
/** One in 10 ms, as a ping would. */
const PER_SECOND = 100;
const OURS = ["--tunnel", "user"];
/** No way from ann to bob but by the hub. */
const APART = "table ip apart { chain o { type filter hook output priority 0; ip daddr 10.77.0.3 drop; }; }";
const NAMES = ["hub", "ann", "bob", "cat", "dan"];
const argumentsOf = (pid: number) => readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0");
const cannot = ownLacks ?? plainPeerLacks;

describe.skipIf(cannot !== undefined)(
  `a hub's change of key${cannot === undefined ? "" : ` (${cannot})`}`,
  () => {
    let mesh: SmallMesh;
    let port = 7_000;
    let token = "";
    let laptop: PlainPeer;
    let overlayOfLaptop = "";

    beforeAll(async () => {
      mesh = await SmallMesh.open(
        [executable],
        [
          ...NAMES.map((name) => ({ name, agentOptions: OURS })),
          { name: "eve", agentOptions: ["--tunnel", "wireguard-go"] },
        ],
      );
      await Promise.all(NAMES.map((name) => mesh.start(name)));
      const given = { endpoints: [`${mesh.node("hub").address}:51820`], exposedPorts: [] };
      await mesh.ask("hub", { op: "init", name: "hub", ...given });
      ({ token } = await mesh.ask("hub", { op: "token-create", uses: 4, expiresMs: 3_600_000 }));
      for (const name of ["ann", "bob", "cat"])
        await mesh.ask(name, { op: "join", name, token, endpoints: [] });
      tool(mesh.node("ann").netns, "nft -f -", APART);
      laptop = new PlainPeer(mesh.box("laptop", 77));
      const { publicKey } = laptop;
      const added = await mesh.ask("hub", { op: "peer-add", name: "laptop", publicKey, allowed: [] });
      overlayOfLaptop = added.peer.overlay4 as string;
      laptop.up(added);
    });
    afterAll(async () => {
      await laptop?.down();
      await mesh?.[Symbol.asyncDispose]();
    });

    const nodes = async () => (await mesh.ask("hub", { op: "node-list" })).nodes;
    const keyOf = async (name: string) => (await nodes()).find((node) => node.name === name)?.publicKey;
    const relayed = () =>
      mesh.wait("the relay", async () => {
        for (const [one, other] of [
          ["ann", "bob"],
          ["bob", "ann"],
        ] as const) {
          const shown = await mesh.peer(one, other);
          if (shown?.path !== "relay") return `${one}: ${shown?.path}: ${shown?.reason}`;
        }
        return undefined;
      });
    const state = (name: string) => `${mesh.node(name).folder}/state`;
    const hasFormer = () => readdirSync(state("hub")).includes("node.key.former");

    const netnsOf = (name: string) => (name === "laptop" ? laptop : mesh.node(name)).netns;
    const overlayOf = async (name: string) =>
      name === "laptop"
        ? overlayOfLaptop
        : ((await nodes()).find((node) => node.name === name)?.overlay4 as string);

    async function flow(from: string, to: string): Promise<CountedFlow> {
      const address = await overlayOf(to);
      const [source, sink] = [netnsOf(from), netnsOf(to)];
      return new CountedFlow(source, { netns: sink, address, port: port++, perSecond: PER_SECOND });
    }

    const WITHIN = [
      ["ann", "bob"],
      ["bob", "ann"],
      ["ann", "hub"],
      ["hub", "ann"],
      ["hub", "bob"],
    ] as const;
    const ALL = [...WITHIN, ["laptop", "hub"], ["laptop", "ann"], ["bob", "laptop"]] as const;
    const nothingOf = (pairs: readonly (readonly [string, string])[]) =>
      Object.fromEntries(pairs.map(([from, to]) => [`${from} → ${to}`, 0]));

    /** Does something while packets flow, and counts what was lost of each flow. */
    async function meanwhile(
      pairs: readonly (readonly [string, string])[],
      work: (flows: readonly CountedFlow[]) => Promise<void>,
    ): Promise<Record<string, number>> {
      const flows = await Promise.all(pairs.map(([from, to]) => flow(from, to)));
      await mesh.wait("all to flow", () =>
        flows.every(({ received }) => received > PER_SECOND) ? undefined : "not yet",
      );
      await work(flows);
      // What follows in the register and at the ends disturbs nobody either.
      await Bun.sleep(5_000);
      const lost: Record<string, number> = {};
      for (const [index, [from, to]] of pairs.entries())
        lost[`${from} → ${to}`] = (await (flows[index] as CountedFlow).stop()).lost;
      return lost;
    }

    const secrets: string[] = [];

    test("loses nothing, also when the agent is killed in the middle", async () => {
      await relayed();
      // Until the peers that were made anew for the relay are the same for a while.
      await Bun.sleep(5_000);
      await mesh.kill("cat");
      const before = await keyOf("hub");
      secrets.push(readFileSync(`${state("hub")}/node.key`, "utf8").trim());
      const lost = await meanwhile(ALL, async () => {
        await mesh.ask("hub", { op: "node-rotate" });
        await mesh.wait("the next key", () =>
          readdirSync(state("hub")).includes("node.key.next") ? undefined : "not yet",
        );
        secrets.push(readFileSync(`${state("hub")}/node.key.next`, "utf8").trim());
        // In the moment of the switch.
        await until("the switch", hasFormer, 200_000);
        await killAgent();
        await mesh.start("hub");
        await mesh.wait("the other key", async () =>
          (await keyOf("hub")) === before ? "not yet" : undefined,
        );
      });
      expect(lost).toEqual(nothingOf(ALL));
      await relayed();
    });

    /** Only the agent: what carries packets lives on. */
    async function killAgent(): Promise<void> {
      const pids = mesh.processes("hub").filter((pid) => argumentsOf(pid).includes("agent"));
      expect(pids.length).toBe(1);
      for (const pid of pids) process.kill(pid, "SIGKILL");
      await until("the agent is dead", () => !mesh.processes("hub").includes(pids[0] as number));
    }

    test("a node that was away comes back with the key of before, and learns the new one", async () => {
      expect(hasFormer()).toBe(true);
      await mesh.revive("cat");
      const key = await keyOf("hub");
      await mesh.wait("cat to know the new key", async () => {
        const known = (await mesh.ask("cat", { op: "node-list" })).nodes.find(({ name }) => name === "hub");
        return known?.publicKey === key ? undefined : "not yet";
      });
      expect((await (await flowFor("cat", "hub")).stop()).lost).toBe(0);
    });

    async function flowFor(from: string, to: string): Promise<CountedFlow> {
      const one = await flow(from, to);
      await mesh.wait("a flow", () => (one.received > PER_SECOND ? undefined : "not yet"));
      return one;
    }

    test("a laptop begins anew with the file of before: its handshake is to the key of before", async () => {
      await laptop.begin();
      for (const [from, to] of [
        ["laptop", "bob"],
        ["ann", "laptop"],
      ] as const)
        await (await flowFor(from, to)).stop();
      const { peers } = await mesh.ask("hub", { op: "peer-list" });
      expect(peers).toMatchObject([{ name: "laptop" }]);
      expect(peers[0]).not.toHaveProperty("problem");
      expect(hasFormer()).toBe(true);
    });

    test("what carries the hub's packets is killed while it has two keys: all flows come back, under the key that each knows", async () => {
      const key = await keyOf("hub");
      const carriers = () => mesh.processes("hub").filter((pid) => argumentsOf(pid).includes("dataplane"));
      const before = carriers();
      expect(before.length).toBe(1);
      await meanwhile(ALL, async (flows) => {
        for (const pid of before) process.kill(pid, "SIGKILL");
        await until("it is dead", () => !mesh.processes("hub").includes(before[0] as number));
        const counts = flows.map(({ received }) => received);
        await mesh.wait("all to flow again", () => {
          const still = ALL.filter(
            (_, i) => (flows[i] as CountedFlow).received < (counts[i] as number) + 2 * PER_SECOND,
          );
          return still.length === 0 ? undefined : still.join(" and ");
        });
      });
      // Nothing else is broken: both keys are there, and nothing is lost any more.
      expect(carriers()).not.toEqual(before);
      expect([await keyOf("hub"), hasFormer()]).toEqual([key, true]);
      expect(await meanwhile(ALL, async () => {})).toEqual(nothingOf(ALL));
    });

    test("a token of before is good, and the key of before ends when it is dropped", async () => {
      await mesh.ask("dan", { op: "join", name: "dan", token, endpoints: [] });
      expect(await keyOf("dan")).toBeDefined();
      const refusal = await mesh.ask("hub", { op: "node-rotate" }).catch((error: Error) => error.message);
      expect(refusal).toContain("--drop-former");
      const lost = await meanwhile(WITHIN, async () => {
        await mesh.ask("hub", { op: "node-rotate", dropFormer: true });
      });
      expect(lost).toEqual(nothingOf(WITHIN));
      expect(hasFormer()).toBe(false);
    });

    test("the laptop is not heard any more then, and is again when its file names the other key", async () => {
      await laptop.begin();
      const pings = (address: string) =>
        runSync(["ping", "-n", "-c", "1", "-W", "3", address], { netns: laptop.netns }).status === 0;
      expect(pings(await overlayOf("hub"))).toBe(false);
      await laptop.down();
      await mesh.ask("hub", { op: "peer-remove", name: "laptop" });
      const { publicKey } = laptop;
      const added = await mesh.ask("hub", { op: "peer-add", name: "laptop", publicKey, allowed: [] });
      expect(added.hub.publicKey).toBe((await keyOf("hub")) as string);
      laptop.up(added);
      overlayOfLaptop = added.peer.overlay4 as string;
      await (await flowFor("laptop", "bob")).stop();
    });

    test("is refused where the tunnel has one key only", async () => {
      await mesh.start("eve");
      const endpoints = [`${mesh.node("eve").address}:51820`];
      await mesh.ask("eve", { op: "init", name: "eve", endpoints, exposedPorts: [] });
      const refusal = await mesh.ask("eve", { op: "node-rotate" }).catch((error: Error) => error.message);
      expect(refusal).toContain("such a device has one private key");
      expect(refusal).toContain("--tunnel user");
      expect(readdirSync(state("eve")).includes("node.key.next")).toBe(false);
    });

    test("no private key is in a log", () => {
      expect(secrets.length).toBe(2);
      for (const name of NAMES)
        for (const secret of secrets) expect(mesh.log(name).includes(secret)).toBe(false);
    });
  },
);
