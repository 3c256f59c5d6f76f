/** Whole agents on the kernel's WireGuard, with a hub on our engine: they join, find each other, are relayed, lose the hub, change a key, and leave. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { kernelHasWireguard } from "../../src/netlink/mod.ts";
import { run } from "../../src/sys/mod.ts";
import { ownLacks } from "../support/own-needs.ts";
import { Pinger } from "../support/pinger.ts";
import { SmallMesh } from "../support/small-mesh.ts";
import { tool } from "../support/tunnel-pair.ts";

setDefaultTimeout(600_000);
const skip = ownLacks ?? (kernelHasWireguard() ? undefined : "needs a kernel with WireGuard");
const executable = process.env.CAUSEWAY_EXECUTABLE;
const program =
  executable === undefined
    ? [process.execPath, new URL("../../src/main.ts", import.meta.url).pathname]
    : [executable];
const KERNEL = ["--tunnel", "kernel"];
/** No way from a to b but by the hub. */
const APART = "table ip apart { chain o { type filter hook output priority 0; ip daddr 10.77.0.3 drop; }; }";

describe.skipIf(skip !== undefined)(
  `agents on the kernel's WireGuard${skip === undefined ? "" : ` (${skip})`}`,
  () => {
    let mesh: SmallMesh;
    const measured: string[] = [];

    beforeAll(async () => {
      mesh = await SmallMesh.open(program, [
        { name: "hub", agentOptions: ["--tunnel", "user"] },
        { name: "a", agentOptions: KERNEL },
        { name: "b", agentOptions: KERNEL },
      ]);
      await Promise.all(["hub", "a", "b"].map((name) => mesh.start(name)));
    });
    afterAll(async () => {
      if (measured.length > 0) console.log(measured.join("\n"));
      await mesh?.[Symbol.asyncDispose]();
    });

    const pinger = async (from: string, to: string) => {
      const { netns } = mesh.node(from);
      const address = (await mesh.peer(from, to))?.overlay4 ?? "";
      const command = (argv: readonly string[]) => [
        "nsenter",
        `--net=/proc/${process.pid}/fd/${netns.fd.number}`,
        "--",
        ...argv,
      ];
      return new Pinger(`${from} → ${to}`, address, { command, everySeconds: 0.05 });
    };
    const answered = (one: Pinger, sinceMs = Date.now()) =>
      mesh.wait(`answers of ${one.name}`, () =>
        one.since(sinceMs) < 20 ? `${one.since(sinceMs)}` : undefined,
      );
    const gap = (event: string, one: Pinger, sinceMs: number) => {
      const { gapMs } = one.longestGap(sinceMs);
      measured.push(`${event}: ${one.name}: longest gap ${Math.round(gapMs)} ms, ${one.lost} lost`);
    };

    /** Waits until a and b see each other on one of the paths. */
    const path = (...kinds: string[]) =>
      mesh.wait(`a path ${kinds.join(" or ")}`, async () => {
        for (const [one, other] of [
          ["a", "b"],
          ["b", "a"],
        ] as const) {
          const shown = await mesh.peer(one, other);
          if (!kinds.includes(shown?.path ?? "")) return `${one}: ${shown?.path}: ${shown?.reason}`;
        }
        return undefined;
      });

    test("they join, and each pair is direct", async () => {
      const given = { endpoints: [`${mesh.node("hub").address}:51820`], exposedPorts: [] };
      await mesh.ask("hub", { op: "init", name: "hub", ...given });
      const { token } = await mesh.ask("hub", { op: "token-create", uses: 2, expiresMs: 3_600_000 });
      for (const name of ["a", "b"]) await mesh.ask(name, { op: "join", name, token, endpoints: [] });
      const backends = [];
      for (const name of ["hub", "a", "b"])
        backends.push((await mesh.ask(name, { op: "status" })).tunnel?.backend);
      expect(backends).toEqual(["user", "kernel", "kernel"]);
      expect(tool(mesh.node("a").netns, "ip -d link show cw0")).toContain(" wireguard ");
      await mesh.wait("a and b to know each other", async () =>
        (await mesh.peer("a", "b")) && (await mesh.peer("b", "a")) ? undefined : "not yet",
      );
      await path("lan", "direct", "punched");
      await using flow = await pinger("a", "b");
      await answered(flow);
    });

    test("where they cannot reach each other the hub relays; it is lost, and comes back", async () => {
      await using flow = await pinger("a", "b");
      await answered(flow);
      const apartMs = Date.now();
      const done = await run(["nft", "-f", "-"], { netns: mesh.node("a").netns, input: APART });
      expect([done.status, done.stderr]).toEqual([0, ""]);
      await path("relay");
      await answered(flow);
      gap("the direct path dies", flow, apartMs);

      await mesh.kill("hub");
      const deadMs = Date.now();
      await path("down");
      expect(flow.since(deadMs + 1_000)).toBe(0);
      const backMs = Date.now();
      await mesh.revive("hub");
      await answered(flow, backMs);
      await path("relay");
      measured.push(`the hub is started again: answers after ${Math.round(flow.firstAfter(backMs) ?? 0)} ms`);

      tool(mesh.node("a").netns, "nft delete table ip apart");
      const { lost } = flow;
      await path("lan", "direct", "punched");
      await answered(flow);
      measured.push(`from the relay to the direct path: ${flow.lost - lost} lost`);
    });

    test("a key is changed while packets flow", async () => {
      await using flow = await pinger("b", "a");
      await answered(flow);
      const keyOf = async () => (await mesh.ask("a", { op: "status" })).node?.publicKey;
      const before = await keyOf();
      const { lost } = flow;
      const startMs = Date.now();
      await mesh.ask("a", { op: "node-rotate" });
      await mesh.wait("another key", async () => ((await keyOf()) === before ? "the old one" : undefined));
      await mesh.wait("b to have that only", async () => {
        const { stdout } = await run(["wg", "show", "cw0", "peers"], { netns: mesh.node("b").netns });
        return stdout.includes((await keyOf()) ?? "-") && !stdout.includes(before ?? "-")
          ? undefined
          : stdout;
      });
      await answered(flow);
      gap(`a key is changed, ${flow.lost - lost} pings were lost by it`, flow, startMs);
    });

    test("a node leaves: it keeps nothing, and nobody keeps it", async () => {
      await mesh.ask("b", { op: "leave", force: false });
      await mesh.wait("a to forget b", async () => ((await mesh.peer("a", "b")) ? "not yet" : undefined));
      const peers = () => tool(mesh.node("a").netns, "wg show cw0 peers").trim().split("\n").length;
      await mesh.wait("a's device to forget b", () => (peers() === 1 ? undefined : `${peers()} peers`));
      await mesh.wait("b to have no link", () => {
        const links = tool(mesh.node("b").netns, "ip -br link");
        return links.includes("cw0") ? links : undefined;
      });
    });
  },
);
