/**
 * A VPC of our nodes and of FRR, with real agents: the same subnet on both, subnets that are on one side only, networks behind FRR's router, an
 * address that moves from one to the other, and who reflects.
 *
 * ```
 *  hub 10.77.0.1 (reflects) ─┐
 *  a   10.77.0.2 ────────────┼── wire: VXLAN goes over it
 *  frr 10.77.0.10 ───────────┘
 * ```
 */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import type { Json } from "../../src/resources/mod.ts";
import { type Netns, run } from "../../src/sys/mod.ts";
import { FRR, FrrVtep, plug } from "./frr-vtep.ts";
import { SmallMesh } from "./small-mesh.ts";
import { type SmallPod, SmallPods } from "./small-pods.ts";
import { ip } from "./tunnel-pair.ts";
import { wholeStream } from "./whole-stream.ts";

/** FrrVpcOptions are where it runs. */
export interface FrrVpcOptions {
  readonly title: string;
  /** Why it cannot run. */
  readonly skip: string | undefined;
  /** Where FRR is unpacked. */
  readonly root: string | undefined;
  /** Whether FRR's tenant is in a VRF. */
  readonly vrf: boolean;
  readonly agentOptions: readonly string[];
  /** One node, and what needs FRR as it is used: for a guest that is slow. */
  readonly brief: boolean;
}

const MOVER = { mac: "02:bb:00:00:00:07", ips: ["10.1.0.7/24", "fd00:1::7/64"] } as const;

const resource = (kind: string, name: string, spec: Json) => ({
  ...{ apiVersion: "causeway.network/v1alpha1", kind, metadata: { name }, spec },
});
const subnet = (name: string, net: number, more: Record<string, Json> = {}) =>
  resource("Subnet", name, {
    ...{ vpc: "red", vni: 5000 + net, prefixes: [`10.${net}.0.0/24`, `fd00:${net}::/64`] },
    ...more,
  });
const RED = [
  resource("VPC", "red", { vni: 5000, allow: { namespaces: ["*"] } }),
  subnet("web", 1, { gatewayMac: FRR.gatewayMac, fixed: ["10.1.0.7", "fd00:1::7"] }),
  subnet("db", 2),
  // Only FRR has it.
  subnet("far", 3),
];

/** frrVpcSuite declares the tests. */
export function frrVpcSuite({ title, skip, root, vrf, agentOptions, brief }: FrrVpcOptions): void {
  setDefaultTimeout(300_000);
  const nodes = brief ? ["hub"] : ["hub", "a"];
  /** Where pods are. */
  const node = nodes.at(-1) as string;
  const executable = process.env["CAUSEWAY_EXECUTABLE"];
  const program =
    executable === undefined
      ? [process.execPath, new URL("../../src/main.ts", import.meta.url).pathname]
      : [executable];

  describe.skipIf(skip !== undefined)(`${title}${skip === undefined ? "" : ` (${skip})`}`, () => {
    let mesh: SmallMesh;
    let pods: SmallPods;
    let frr: FrrVtep;
    let near: Netns;
    let far: Netns;
    let mover: Netns;
    let web: SmallPod;
    let db: SmallPod;

    beforeAll(async () => {
      mesh = await SmallMesh.open(
        program,
        nodes.map((name) => ({ name, agentOptions })),
      );
      frr = new FrrVtep(mesh, { root: root as string, vrf });
      near = frr.host("h1", 5001, { ips: ["10.1.0.200/24", "fd00:1::200/64"] });
      mover = frr.host("h7", 5001, MOVER);
      far = frr.host("h3", 5003, { ips: ["10.3.0.5/24", "fd00:3::5/64"] });
      await Promise.all(nodes.map((name) => mesh.start(name)));
      await mesh.ask("hub", { op: "init", name: "hub", endpoints: ["10.77.0.1:51820"], exposedPorts: [] });
      if (!brief) {
        const { token } = await mesh.ask("hub", { op: "token-create", uses: 1, expiresMs: 3_600_000 });
        await mesh.ask("a", { op: "join", name: "a", token, endpoints: [] });
      }
      await frr.start("client");
      pods = new SmallPods(mesh);
    });
    afterAll(async () => {
      pods?.[Symbol.dispose]();
      await frr?.[Symbol.asyncDispose]();
      await mesh?.[Symbol.asyncDispose]();
    });

    /** The mesh as it is, with other values for some fields; undefined takes one away. */
    async function change(fields: object): Promise<void> {
      const { resource: now } = await mesh.ask("hub", { op: "mesh-show" });
      const { spec, ...rest } = now as { spec: object };
      const manifest = JSON.stringify({ ...rest, spec: { ...spec, ...fields } });
      await mesh.ask("hub", { op: "mesh-apply", manifest });
    }
    const vteps = (...vpcs: string[]) => [{ name: "frr", address: FRR.address, vpcs }];

    const ping = async (from: Netns, address: string) =>
      (await run(["ping", "-n", "-c1", "-W2", address], { netns: from })).status === 0;
    async function reaches(from: Netns, ...addresses: readonly string[]): Promise<void> {
      for (const address of addresses)
        await mesh
          .wait(`an answer of ${address}`, async () => ((await ping(from, address)) ? undefined : "none"))
          .catch((error: Error) => {
            const seen = nodes.map((name) => mesh.log(name)).join("\n");
            throw new Error(`${error.message}\n${frr.state}\n${frr.routes(4)}\n${frr.routes(6)}\n${seen}`);
          });
    }
    const bare = (addresses: readonly string[]) => addresses.map((one) => one.split("/")[0] as string);

    const streams = async (from: Netns, netns: Netns, address: string) =>
      expect([address, await wholeStream(from, { netns, address })]).toEqual([address, true]);

    test("in one subnet, IPv4 and IPv6: who speaks first does not matter", async () => {
      await change({ vxlanLink: "eth0", vteps: vteps("red") });
      await mesh.ask("hub", { op: "resource-apply", resources: RED });
      await mesh.wait("the news", async () =>
        (await mesh.ask(node, { op: "resource-get", kind: "Subnet", name: "far" }).catch(() => undefined))
          ? undefined
          : "none",
      );
      web = await pods.add(node, "web", { subnet: "web" });
      await reaches(near, ...bare(web.addresses));
      await reaches(web.netns, "10.1.0.200", "fd00:1::200");
      await streams(web.netns, near, "10.1.0.200");
      await streams(near, web.netns, bare(web.addresses)[1] as string);
    });

    test("from subnet to subnet: ours is not at FRR, FRR's is not here", async () => {
      db = await pods.add(node, "db", { subnet: "db" });
      // FRR tells of an address what its router knows: of one that has never spoken to that, nothing. Then its network leads there, where we have none of that.
      await reaches(near, "10.1.0.1", "fd00:1::1");
      await reaches(web.netns, "10.3.0.5", "fd00:3::5");
      await reaches(far, ...bare(db.addresses), ...bare(web.addresses));
      await reaches(db.netns, "10.1.0.200", "fd00:1::200", "10.3.0.5", "fd00:3::5");
      await streams(db.netns, far, "fd00:3::5");
      await streams(far, db.netns, bare(db.addresses)[0] as string);
      const [four, six] = bare(db.addresses);
      const via = `${mesh.node(node).address} dev br5000 .*onlink`;
      expect(frr.routes(4)).toMatch(new RegExp(`^${four} .*via ${via}`, "m"));
      expect(frr.routes(6)).toMatch(new RegExp(`^${six} .*via ::ffff:${via}`, "m"));
    });

    test("networks behind its router, which are no subnets", async () => {
      await reaches(web.netns, "10.4.0.1", "fd00:4::1");
      await reaches(db.netns, "10.4.0.1", "fd00:4::1");
      expect(frr.routes(4)).toMatch(
        new RegExp(`^10\\.2\\.0\\.0/24 .*via ${mesh.node(node).address} dev br5000`, "m"),
      );
    });

    if (!brief)
      test("an address moves from FRR to us and back, with who looks for it on both sides", async () => {
        // FRR 8.4 forgets the MAC address of a router that it has one route to, when the sequence of that one changes: here it has a second.
        const beside = await pods.add("hub", "db2", { subnet: "db" });
        const watchers = [web.netns, db.netns, beside.netns, near, far];
        const everybody = async () => {
          for (const one of watchers) await reaches(one, ...bare(MOVER.ips));
        };
        await reaches(mover, "10.1.0.1", "fd00:1::1");
        await everybody();
        // The machine is here and there for a moment, as a virtual machine that is moved.
        ip(mover, "link set net1 down");
        const here = await pods.add("hub", "mover", { subnet: "web", ...runtime() });
        expect(here.addresses).toEqual([...MOVER.ips]);
        await everybody();
        expect(await counted(here.netns)).toBeGreaterThan(0);
        plug(mover, 5001, MOVER.ips);
        await reaches(mover, "10.1.0.1", "fd00:1::1");
        const before = await counted(here.netns);
        await everybody();
        expect(await counted(here.netns)).toBe(before);
        await pods.remove("mover");
        await everybody();
      });

    const runtime = () => ({ runtimeConfig: { mac: MOVER.mac, ips: MOVER.ips } });
    /** Echo requests that a pod has got. */
    async function counted(netns: Netns): Promise<number> {
      const { stdout } = await run(["sh", "-c", "cat /proc/net/snmp /proc/net/snmp6"], { netns });
      const [names, values] = stdout.split("\n").filter((line) => line.startsWith("Icmp:"));
      const at = names?.split(" ").indexOf("InEchos") ?? -1;
      return Number(values?.split(" ")[at]) + Number(/Icmp6InEchos\s+(\d+)/.exec(stdout)?.[1]);
    }

    if (!brief)
      test("a VPC that it may not serve: what it says is refused, what it sends is dropped", async () => {
        await change({ vteps: vteps() });
        await mesh.wait("a refusal", () =>
          /VTEP frr announces .* where it may not serve VPC red/.test(mesh.log("hub")) ? undefined : "none",
        );
        await mesh.wait("silence", async () =>
          (await ping(near, bare(web.addresses)[0] as string)) ? "no" : undefined,
        );
        await change({ vteps: vteps("red") });
        await reaches(near, ...bare(web.addresses));
      });

    test("FRR reflects for our nodes, and the hub no more", async () => {
      await change({ vteps: undefined, reflectors: { addresses: [FRR.address] } });
      await frr.start("reflector");
      const other = await pods.add("hub", "web2", { subnet: "web" });
      await reaches(web.netns, ...bare(other.addresses), "10.1.0.200", "fd00:1::200", "10.4.0.1");
      await reaches(far, ...bare(other.addresses), ...bare(db.addresses));
      await reaches(other.netns, ...bare(db.addresses), "10.3.0.5", "fd00:3::5");
    });
  });
}
