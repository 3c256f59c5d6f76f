/** VXLAN over IPv6: two nodes with real agents, on a LAN of their own that has no IPv4. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { type Netns, run } from "../../src/sys/mod.ts";
import { ownLacks } from "../support/own-needs.ts";
import { SmallMesh } from "../support/small-mesh.ts";
import { type SmallPod, SmallPods } from "../support/small-pods.ts";
import { ip, tool } from "../support/tunnel-pair.ts";
import { wholeStream } from "../support/whole-stream.ts";

setDefaultTimeout(300_000);
const executable = process.env["CAUSEWAY_EXECUTABLE"];
const program =
  executable === undefined
    ? [process.execPath, new URL("../../src/main.ts", import.meta.url).pathname]
    : [executable];

const resource = (kind: string, name: string, spec: Record<string, string[] | string | number | object>) =>
  JSON.parse(JSON.stringify({ apiVersion: "causeway.network/v1alpha1", kind, metadata: { name }, spec }));
const RED = [
  resource("VPC", "red", { vni: 5000, allow: { namespaces: ["*"] } }),
  resource("Subnet", "web", { vpc: "red", vni: 5001, prefixes: ["10.1.0.0/24", "fd00:1::/64"] }),
  resource("Subnet", "db", { vpc: "red", vni: 5002, prefixes: ["10.2.0.0/24", "fd00:2::/64"] }),
];

describe.skipIf(ownLacks !== undefined)(
  `VTEPs of IPv6${ownLacks === undefined ? "" : ` (${ownLacks})`}`,
  () => {
    let mesh: SmallMesh;
    let pods: SmallPods;
    beforeAll(async () => {
      const agentOptions = ["--tunnel", "user"];
      mesh = await SmallMesh.open(program, [
        { name: "hub", agentOptions },
        { name: "a", agentOptions },
      ]);
      const [hub, a] = [mesh.node("hub").netns, mesh.node("a").netns];
      ip(hub, `link add lan type veth peer name lan netns /proc/${process.pid}/fd/${a.fd.number}`);
      for (const [i, netns] of [hub, a].entries()) {
        ip(netns, `address add fd00:77::${i + 1}/64 dev lan nodad`);
        ip(netns, "link set lan up");
      }
      await Promise.all(["hub", "a"].map((name) => mesh.start(name)));
      await mesh.ask("hub", { op: "init", name: "hub", endpoints: ["10.77.0.1:51820"], exposedPorts: [] });
      const { token } = await mesh.ask("hub", { op: "token-create", uses: 1, expiresMs: 3_600_000 });
      await mesh.ask("a", { op: "join", name: "a", token, endpoints: [] });
      const { resource: now } = await mesh.ask("hub", { op: "mesh-show" });
      const { spec, ...rest } = now as { spec: object };
      const manifest = JSON.stringify({ ...rest, spec: { ...spec, vxlanLink: "lan" } });
      await mesh.ask("hub", { op: "mesh-apply", manifest });
      await mesh.ask("hub", { op: "resource-apply", resources: RED });
      pods = new SmallPods(mesh);
    });
    afterAll(async () => {
      pods?.[Symbol.dispose]();
      await mesh?.[Symbol.asyncDispose]();
    });

    const bare = ({ addresses }: SmallPod) => addresses.map((one) => one.split("/")[0] as string);
    async function reaches(from: Netns, ...addresses: readonly string[]): Promise<void> {
      for (const address of addresses)
        await mesh
          .wait(`an answer of ${address}`, async () => {
            const { status } = await run(["ping", "-n", "-c1", "-W1", address], { netns: from });
            return status === 0 ? undefined : "none";
          })
          .catch((error: Error) => {
            throw new Error(`${error.message}\n${["hub", "a"].map((name) => mesh.log(name)).join("\n")}`);
          });
    }

    test("in a subnet and from one to another, both families, pings and streams", async () => {
      const one = await pods.add("a", "one", { subnet: "web" });
      const two = await pods.add("hub", "two", { subnet: "web" });
      const db = await pods.add("hub", "db", { subnet: "db" });
      await reaches(one.netns, ...bare(two), ...bare(db));
      await reaches(db.netns, ...bare(one));
      for (const to of [two, db])
        for (const address of bare(to))
          expect([address, await wholeStream(one.netns, { netns: to.netns, address })]).toEqual([
            address,
            true,
          ]);
    });

    test("the outer packets are of IPv6, and let through for these VTEPs and VNIs alone", () => {
      const pairs = JSON.parse(tool(mesh.node("a").netns, "nft -j list set inet causeway vxlan6")) as {
        nftables: { set?: { elem?: { concat: [string, number] }[] } }[];
      };
      const elements = pairs.nftables.flatMap(({ set }) => set?.elem ?? []).map(({ concat }) => concat);
      expect(elements.map(([address]) => address)).toEqual(elements.map(() => "fd00:77::1"));
      expect(elements.map(([, word]) => word / 256).sort()).toEqual([5000, 5001]);
      expect(tool(mesh.node("a").netns, "nft list set inet causeway vxlan4")).not.toContain("elements");
    });
  },
);
