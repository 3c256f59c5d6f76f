/**
 * Chaos among VPCs: tenants with the same addresses on real agents, of which some are killed (SIGKILL) or lose their power at random moments while
 * pods come and go. After each round everybody in a VPC reaches everybody in it and nobody else, and no address is lost or there twice.
 *
 * `SEED=… bun test test/kernel/lab-vpc-chaos.test.ts` repeats what is drawn; `CHAOS_MINUTES=10` is the long run.
 */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdirSync, rmSync } from "node:fs";
import { Lab, until } from "../../src/lab/mod.ts";
import { executable, labLacks } from "../support/lab-needs.ts";
import { Pinger } from "../support/pinger.ts";
import { newSeed, Random } from "../support/random.ts";
import { ChaosPlan, type Deed, tenant } from "../support/vpc-chaos-plan.ts";
import { manifest, NODES, VPCS } from "../support/vpc-chaos-world.ts";
import { ChaosLab } from "../support/vpc-chaos.ts";

const seed = newSeed();
const minutes = Number(process.env["CHAOS_MINUTES"] ?? 0);
const roundsMs = minutes === 0 ? 25_000 : minutes * 60_000;

const root = `/run/causeway-test/${process.pid}-vpc-chaos`;
/** Guards against hanging only. */
const DEADLINE_MS = 60_000;
/** On a machine with more to do than it can, a flow stands still so much longer than the one beside it. */
const MOST_GAP_MS = 500;
setDefaultTimeout(300_000);

const suffix = labLacks === undefined ? ` (SEED=${seed})` : ` (skipped: ${labLacks})`;

describe.skipIf(labLacks !== undefined)(`VPCs in chaos${suffix}`, () => {
  let lab: Lab;
  let chaos: ChaosLab;
  beforeAll(async () => {
    mkdirSync(root, { recursive: true });
    await Lab.remove("vpc-chaos", { root });
    lab = await Lab.up(manifest, { root, executable });
    chaos = new ChaosLab(lab);
    await apply([...VPCS, "crowd"].map(tenant).join(""));
  });
  afterAll(async () => {
    await Lab.remove("vpc-chaos", { root });
    rmSync(root, { recursive: true, force: true });
  });

  const apply = (text: string) => lab.causewayJson("hub", ["apply", "-f", "-"], text);

  /** A flow between two pods that are not touched: what happens to agents and to ways is nothing to it. */
  const steadyFlows = async (pods: ReturnType<ChaosPlan["steady"]>, stack: AsyncDisposableStack) => {
    if (pods === undefined) return [];
    const [from, to] = pods;
    const overlay = (await lab.status(to.node))?.node?.overlay4 ?? "";
    // What the machine loses under its load is not the VPC's affair: the same between their nodes.
    const weather = new Pinger(`${from.node} → ${to.node}`, overlay, {
      command: (argv) => lab.command(from.node, argv),
      everySeconds: 0.05,
    });
    const target = (await chaos.addressesOf(to.name))[0] as string;
    const flow = new Pinger(`${from.name} on ${from.node} → ${to.name} on ${to.node}`, target, {
      command: (argv) => lab.command(from.name, argv),
      everySeconds: 0.05,
    });
    const flows = [flow, weather].map((one) => stack.use(one));
    for (const one of flows) {
      const what = `the flow ${one.name}`;
      await until(() => (one.since(0) > 0 ? undefined : "no answer"), { what, deadlineMs: DEADLINE_MS });
    }
    return flows;
  };

  const lossOf = ([flow, weather]: readonly Pinger[]) => {
    if (flow === undefined || weather === undefined || flow.lost === 0) return undefined;
    const { gapMs, afterMs } = flow.longestGap(0);
    if (gapMs < weather.longestGap(0).gapMs + MOST_GAP_MS) return undefined;
    return `${flow.name} lost ${flow.lost} pings; no answer for ${Math.round(gapMs)} ms from ${new Date(afterMs).toISOString()} on`;
  };

  test("50 ADDs at once on one node", async () => {
    const wish = ChaosLab.wish({ vpc: "crowd", subnet: "web", guarded: false, out: false });
    const names = Array.from({ length: 50 }, (_, i) => `crowd-${i}`);
    await lab.addPod("b", "crowd", wish);
    await Promise.all(names.map((name) => lab.addPod("a", name, wish)));
    const addresses = (await Promise.all(names.map((name) => chaos.addressesOf(name)))).flat();
    expect(new Set(addresses).size).toBe(100);
    const silent = async () => {
      const answers = await chaos.whoAnswers("crowd", addresses);
      return answers.size === addresses.length ? undefined : `${answers.size} of ${addresses.length} answers`;
    };
    await until(silent, { what: "each to be reached from another node", deadlineMs: DEADLINE_MS });
    await Promise.all(["crowd", ...names].map((name) => lab.deletePod(name)));
    expect(await lab.causewayJson<unknown[]>("a", ["vpc", "list"])).toEqual([]);
  });

  test("a virtual machine moves between nodes, with its address and its MAC, while it is pinged", async () => {
    const fixed = { args: { cni: { ips: ["10.1.0.200"], mac: "02:00:00:00:00:c8", owner: "vm lab/db" } } };
    const place = { vpc: "crowd", subnet: "web", guarded: false, out: false };
    const watchers = NODES.map((node) => `watch-${node}`);
    for (const node of NODES) await lab.addPod(node, `watch-${node}`, ChaosLab.wish(place));
    // What a node hears in the first three seconds of a segment it takes for older than what it has itself.
    await Bun.sleep(3_500);
    await lab.addPod("a", "vm-0", ChaosLab.wish(place, fixed));
    await chaos.mark("vm-0");
    await using flow = new Pinger("watch-c → vm", "10.1.0.200", {
      command: (argv) => lab.command("watch-c", argv),
    });
    const answersBy = async (name: string) => {
      for (const watcher of watchers)
        await until(
          async () => {
            const who = (await chaos.whoAnswers(watcher, ["10.1.0.200"])).get("10.1.0.200");
            return who === name ? undefined : (who ?? "no answer");
          },
          { what: `${name} to answer ${watcher}`, deadlineMs: DEADLINE_MS },
        );
    };
    await answersBy("vm-0");
    // Twice on one node, too: the next one begins before the last one has ended.
    for (const [i, node] of ["b", "hub", "c", "a", "a"].entries()) {
      const [last, next] = [`vm-${i}`, `vm-${i + 1}`];
      await lab.addPod(node, next, ChaosLab.wish(place, fixed));
      await chaos.mark(next);
      await answersBy(next);
      await lab.deletePod(last);
      await answersBy(next);
      const now = Date.now();
      await until(() => (flow.since(now) > 20 ? undefined : "no answers"), { what: `the flow to ${next}` });
    }
    console.log(`${flow.lost} pings lost in five moves, the longest gap ${flow.longestGap(0).gapMs} ms`);
    for (const name of ["vm-5", ...watchers]) await lab.deletePod(name);
    await lab.causewayJson("hub", ["vpc", "release", "crowd-web", "10.1.0.200"]);
  });

  test(
    `rounds of ${roundsMs / 1000} s`,
    async () => {
      const plan = new ChaosPlan(new Random(seed));
      await chaos.outside.begin(plan.ways.gateways);
      const end = Date.now() + roundsMs;
      let rounds = 0;
      let kills = 0;
      const round = async (deeds: readonly Deed[]) => {
        try {
          await using stack = new AsyncDisposableStack();
          const flows = await steadyFlows(plan.steady(deeds), stack);
          await chaos.perform(deeds);
          await chaos.expectAll(plan);
          const loss = lossOf(flows);
          if (loss !== undefined) throw new Error(loss);
        } catch (error) {
          const log = `There happened: ${JSON.stringify(deeds)}\n${chaos.lastWords()}`;
          throw new Error(`Round ${rounds}, SEED=${seed}: ${(error as Error).message}\n${log}`);
        }
        kills += deeds.filter(({ kind }) => kind === "kill" || kind === "reboot").length;
        rounds++;
      };
      await round(plan.begin());
      while (Date.now() < end) await round(plan.round());
      console.log(`${rounds} rounds, ${kills} kills and reboots, ${chaos.retried} calls tried again`);
      await round(plan.end());
    },
    roundsMs + 300_000,
  );

  test.skipIf(minutes === 0)(
    `in the end all addresses are returned${minutes === 0 ? " (with CHAOS_MINUTES only: it takes two)" : ""}`,
    () => chaos.expectNothingClaimed(),
  );
});
