/** What two route reflectors owe the nodes of a laboratory: one may go, and both may, and what runs goes on. */
import { beforeAll, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { type Lab, until } from "../../src/lab/mod.ts";
import { sleep } from "../../src/sys/mod.ts";
import { Pinger } from "./pinger.ts";
import { resource } from "./vpc-chaos-world.ts";

/** Guards against hanging only. */
const DEADLINE_MS = 60_000;
const MOST_GAP_MS = 500;

/** ReflectorLab is a laboratory with nodes a and b, which are neither hubs nor reflectors. */
export interface ReflectorLab {
  readonly lab: () => Lab;
  readonly reflectors: readonly [string, string];
  /** Where resources are applied. */
  readonly hub: string;
}

/** reflectorSuite defines tests; its own beforeAll comes after the caller's. */
export function reflectorSuite({ lab, reflectors, hub }: ReflectorLab): void {
  const [first, second] = reflectors;
  const wait = (what: string, missing: () => Promise<string | undefined> | string | undefined) =>
    until(missing, { what, deadlineMs: DEADLINE_MS });
  const add = (node: string, pod: string) =>
    lab().addPod(node, pod, [
      { ifname: "net1", config: { cniVersion: "1.0.0", name: "web", type: "causeway", subnet: "web" } },
    ]);
  const addressOf = async (pod: string) => {
    const { stdout } = await lab().exec(pod, ["ip", "-j", "-4", "addr", "show", "net1"]);
    return JSON.parse(stdout)[0].addr_info[0].local as string;
  };
  const reach = async (from: string, to: string) => {
    const target = await addressOf(to);
    await wait(`${from} to reach ${to}`, async () => {
      const { status } = await lab().exec(from, ["ping", "-n", "-c1", "-W1", target]);
      return status === 0 ? undefined : "no answer";
    });
  };
  /** Waits until a node has as many sessions as it can have. */
  const sessions = (node: string, wanted: number) =>
    wait(`${node} to have ${wanted} sessions`, async () => {
      const all = await lab().causewayJson<{ state: string }[]>(node, ["bgp", "neighbors"]);
      const up = all.filter(({ state }) => state === "established").length;
      return up === wanted ? undefined : `${up} of ${all.length}`;
    });
  /** Not a word more, and nobody there who says that nobody is there. */
  const link = async (node: string, state: "up" | "down") =>
    expect((await lab().exec(node, ["ip", "link", "set", "eth0", state])).status).toBe(0);
  const flowing = async (flow: Pinger) => {
    const since = Date.now();
    await wait(`answers to ${flow.name}`, () => (flow.since(since) > 20 ? undefined : "none"));
    if (flow.lost === 0) return;
    const { gapMs, afterMs } = flow.longestGap(0);
    const words = ["a", "b", first, second].map((node) =>
      [`${node}:`, ...readFileSync(lab().place.agentLog(node), "utf8").trimEnd().split("\n").slice(-20)].join(
        "\n  ",
      ),
    );
    const when = `${Math.round(gapMs)} ms from ${new Date(afterMs).toISOString()} on`;
    throw new Error(`${flow.name} lost ${flow.lost} pings; no answer for ${when}\n${words.join("\n")}`);
  };
  const pinger = async () =>
    new Pinger("p-a → p-b", await addressOf("p-b"), { command: (argv) => lab().command("p-a", argv) });

  beforeAll(async () => {
    const resources =
      resource("VPC", "team", 'allow: { namespaces: ["*"] }') +
      resource("Subnet", "web", "vpc: team, prefixes: [10.1.0.0/24]");
    await lab().causewayJson(hub, ["apply", "-f", "-"], resources);
    for (const node of ["a", "b"]) await add(node, `p-${node}`);
    for (const node of ["a", "b"]) await sessions(node, 2);
    await reach("p-a", "p-b");
  });

  test("the agent of a reflector is killed: nothing is lost, and what is new goes by the other", async () => {
    await using flow = await pinger();
    await flowing(flow);
    await lab().killAgent(first);
    await sessions("a", 1);
    await add("b", "p-new");
    await reach("p-a", "p-new");
    await lab().startAgent(first);
    for (const node of ["a", "b"]) await sessions(node, 2);
    await flowing(flow);
  });

  test("both reflectors are dead, one after the other: nothing is lost, and when they are back all goes on", async () => {
    await using flow = await pinger();
    const overlay = (await lab().status("b"))?.node?.overlay4 ?? "";
    await using weather = new Pinger("a → b", overlay, { command: (argv) => lab().command("a", argv) });
    await flowing(flow);
    await link(first, "down");
    await sessions("a", 1);
    await flowing(flow);
    await add("b", "p-one");
    await reach("p-a", "p-one");
    await link(second, "down");
    await sessions("a", 0);
    await sessions("b", 0);
    await sleep(1_000);
    for (const to of ["p-b", "p-new", "p-one"]) await reach("p-a", to);
    await flowing(flow);
    // It starts; that others hear of it has time.
    await add("b", "p-alone");
    for (const node of reflectors) await link(node, "up");
    for (const node of ["a", "b"]) await sessions(node, 2);
    await reach("p-a", "p-alone");
    // Both tell all anew at the same moment: seen once in some runs of a machine with too much to do were 50 to 170 ms.
    console.log(`when both are back: ${flow.lost} lost, and ${weather.lost} between the nodes`);
    expect(flow.longestGap(0).gapMs).toBeLessThan(weather.longestGap(0).gapMs + MOST_GAP_MS);
  });

  test("both agents are killed and come back: nothing is lost", async () => {
    await using flow = await pinger();
    await flowing(flow);
    await Promise.all(reflectors.map((node) => lab().killAgent(node)));
    await sessions("a", 0);
    await flowing(flow);
    await Promise.all(reflectors.map((node) => lab().startAgent(node)));
    for (const node of ["a", "b"]) await sessions(node, 2);
    await add("a", "p-last");
    await reach("p-b", "p-last");
    for (const to of ["p-b", "p-new", "p-one", "p-alone"]) await reach("p-a", to);
    await flowing(flow);
  });

  // Hubs have more to do after a reboot than this is about.
  if (!reflectors.includes(hub))
    test("both machines lose their power at once: nothing is lost, and when they are back all goes on", async () => {
      await using flow = await pinger();
      await flowing(flow);
      await Promise.all(reflectors.map((node) => lab().reboot(node)));
      for (const node of ["a", "b"]) await sessions(node, 2);
      await add("b", "p-power");
      await reach("p-a", "p-power");
      await flowing(flow);
    });
}
