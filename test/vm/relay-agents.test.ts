/** Whole agents where every node, the hub too, has the kernel's WireGuard: what cannot go directly is relayed by the process beside it. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { readFileSync } from "node:fs";
import { kernelHasWireguard } from "../../src/netlink/mod.ts";
import { run } from "../../src/sys/mod.ts";
import { Pinger } from "../support/pinger.ts";
import { SmallMesh } from "../support/small-mesh.ts";
import { tool } from "../support/tunnel-pair.ts";

setDefaultTimeout(400_000);
const skip =
  process.getuid?.() !== 0
    ? "needs root"
    : kernelHasWireguard()
      ? undefined
      : "needs a kernel with WireGuard";
const executable = process.env.CAUSEWAY_EXECUTABLE;
const program =
  executable === undefined
    ? [process.execPath, new URL("../../src/main.ts", import.meta.url).pathname]
    : [executable];
const KERNEL = ["--tunnel", "kernel"];
/** No way from a to b but by the hub. */
const APART = "table ip apart { chain o { type filter hook output priority 0; ip daddr 10.77.0.3 drop; }; }";

describe.skipIf(skip !== undefined)(
  `agents on the kernel's WireGuard, the hub too${skip === undefined ? "" : ` (${skip})`}`,
  () => {
    let mesh: SmallMesh;

    beforeAll(async () => {
      mesh = await SmallMesh.open(
        program,
        ["hub", "a", "b"].map((name) => ({ name, agentOptions: KERNEL })),
      );
      await Promise.all(["hub", "a", "b"].map((name) => mesh.start(name)));
    });
    afterAll(async () => {
      await mesh?.[Symbol.asyncDispose]();
    });

    const relayed = async () => (await mesh.ask("hub", { op: "status" })).relay;

    test("they join; where two cannot reach each other the hub's process relays, and says so", async () => {
      const given = { endpoints: [`${mesh.node("hub").address}:51820`], exposedPorts: [] };
      await mesh.ask("hub", { op: "init", name: "hub", ...given });
      const { tunnel } = await mesh.ask("hub", { op: "status" });
      expect(tunnel).toMatchObject({ backend: "kernel" });
      expect(tool(mesh.node("hub").netns, "ip -d link show cw0")).toContain(" wireguard ");
      const done = await run(["nft", "-f", "-"], { netns: mesh.node("a").netns, input: APART });
      expect([done.status, done.stderr]).toEqual([0, ""]);
      const { token } = await mesh.ask("hub", { op: "token-create", uses: 2, expiresMs: 3_600_000 });
      for (const name of ["a", "b"]) await mesh.ask(name, { op: "join", name, token, endpoints: [] });
      await mesh.wait("a to know b", async () => ((await mesh.peer("a", "b")) ? undefined : "not yet"));
      const { netns } = mesh.node("a");
      const command = (argv: readonly string[]) => [
        "nsenter",
        `--net=/proc/${process.pid}/fd/${netns.fd.number}`,
        "--",
        ...argv,
      ];
      const address = (await mesh.peer("a", "b"))?.overlay4 ?? "";
      await using flow = new Pinger("a → b", address, { command, everySeconds: 0.1 });
      const answered = (sinceMs: number) =>
        mesh.wait("answers", () => (flow.since(sinceMs) < 20 ? `${flow.since(sinceMs)}` : undefined));
      await answered(Date.now());
      // Where everything is emulated a probe of the hub may come late for a moment.
      await mesh.wait("the way through the hub", async () => {
        const { path, relay, reason } = (await mesh.peer("a", "b")) ?? {};
        return path === "relay" && relay === "hub" ? undefined : `${path} ${relay} ${reason}`;
      });
      await mesh.wait("the hub to have relayed", async () => {
        const found = await relayed();
        return (found?.datagrams ?? 0) > 20 ? undefined : JSON.stringify(found);
      });
      expect(await relayed()).toMatchObject({ nodes: 2, liveNodes: 2, pairs: 1, xdpLinks: [] });

      // The process ends: another one begins with nothing, and nodes notice.
      const pid = mesh
        .processes("hub")
        .find((one) => readFileSync(`/proc/${one}/cmdline`, "utf8").includes("hub-relay"));
      expect(pid).toBeDefined();
      process.kill(pid as number, "SIGKILL");
      const deadMs = Date.now();
      await mesh.wait("another process", async () =>
        (await relayed())?.liveNodes === 2 ? undefined : JSON.stringify(await relayed()),
      );
      await answered(Math.max(deadMs, Date.now()));
      expect((await relayed())?.pairs).toBe(1);
    });
  },
);
