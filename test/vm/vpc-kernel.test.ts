/** A VPC of two nodes over the kernel's WireGuard: packets of the largest size, and streams both ways. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { kernelHasWireguard } from "../../src/netlink/mod.ts";
import type { Json } from "../../src/resources/mod.ts";
import { run } from "../../src/sys/mod.ts";
import { ownLacks } from "../support/own-needs.ts";
import { SmallMesh } from "../support/small-mesh.ts";
import { SmallPods } from "../support/small-pods.ts";
import { tool } from "../support/tunnel-pair.ts";
import { wholeStream } from "../support/whole-stream.ts";

setDefaultTimeout(600_000);
const skip = ownLacks ?? (kernelHasWireguard() ? undefined : "needs a kernel with WireGuard");
const executable = process.env["CAUSEWAY_EXECUTABLE"];
const program =
  executable === undefined
    ? [process.execPath, new URL("../../src/main.ts", import.meta.url).pathname]
    : [executable];

const STREAM_BYTES = 4 << 20;
/** IPv4, UDP, VXLAN, Ethernet (RFC 7348 section 5). */
const VXLAN_BYTES = 20 + 8 + 8 + 14;
/** IP and ICMP headers. */
const HEADERS = { 4: 28, 6: 48 } as const;

const resource = (kind: string, name: string, spec: Json) => ({
  ...{ apiVersion: "causeway.network/v1alpha1", kind, metadata: { name }, spec },
});
const RED = [
  resource("VPC", "red", { allow: { namespaces: ["*"] } }),
  resource("Subnet", "web", { vpc: "red", prefixes: ["10.1.0.0/24", "fd00:1::/64"] }),
  resource("Subnet", "db", { vpc: "red", prefixes: ["10.2.0.0/24", "fd00:2::/64"] }),
];

describe.skipIf(skip !== undefined)(
  `a VPC over the kernel's WireGuard${skip === undefined ? "" : ` (${skip})`}`,
  () => {
    let mesh: SmallMesh;
    let pods: SmallPods;

    beforeAll(async () => {
      const agentOptions = ["--tunnel", "kernel"];
      mesh = await SmallMesh.open(program, [
        { name: "hub", agentOptions },
        { name: "a", agentOptions },
      ]);
      pods = new SmallPods(mesh);
      await Promise.all(["hub", "a"].map((name) => mesh.start(name)));
      const endpoints = [`${mesh.node("hub").address}:51820`];
      await mesh.ask("hub", { op: "init", name: "hub", endpoints, exposedPorts: [] });
      const { token } = await mesh.ask("hub", { op: "token-create", uses: 1, expiresMs: 3_600_000 });
      await mesh.ask("a", { op: "join", name: "a", token, endpoints: [] });
      await mesh.ask("hub", { op: "resource-apply", resources: RED });
      await mesh.wait("the news", () =>
        mesh.ask("a", { op: "resource-get", kind: "Subnet", name: "db" }).then(
          () => undefined,
          (error: Error) => error.message,
        ),
      );
    });
    afterAll(async () => {
      pods?.[Symbol.dispose]();
      await mesh?.[Symbol.asyncDispose]();
    });

    test("what fits passes whole, inside a Subnet and to another, both ways", async () => {
      const here = await pods.add("hub", "here", { subnet: "web" });
      const there = await pods.add("a", "there", { subnet: "web" });
      const other = await pods.add("a", "other", { subnet: "db" });
      expect(tool(mesh.node("a").netns, "ip -d link show cw0")).toContain(" wireguard ");
      const mtuOf = (netns: typeof here.netns, link: string) =>
        Number(/ mtu (\d+) /.exec(tool(netns, `ip link show ${link}`))?.[1]);
      const most = mtuOf(mesh.node("hub").netns, "cw0") - VXLAN_BYTES;
      for (const [from, to, family] of [
        [here, there, 4],
        [there, here, 6],
        [here, other, 6],
        [other, here, 4],
      ] as const) {
        expect(mtuOf(from.netns, "net1")).toBe(most);
        const address = to.addresses[family === 4 ? 0 : 1]?.split("/")[0] as string;
        const size = most - HEADERS[family];
        await mesh.wait(`an answer of ${address}`, async () => {
          const argv = `ping -n -c1 -W2 -M do -s ${size} ${address}`.split(" ");
          const { status, stdout, stderr } = await run(argv, { netns: from.netns });
          return status === 0 ? undefined : stdout + stderr;
        });
        const came = await wholeStream(from.netns, { netns: to.netns, address }, STREAM_BYTES);
        expect([address, came]).toEqual([address, true]);
      }
    });
  },
);
