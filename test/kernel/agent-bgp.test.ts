/** BGP inside agents: routers from manifests in /etc/causeway/manifests, between two nodes of a laboratory, over the tunnel. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { rmSync } from "node:fs";
import { Lab, until } from "../../src/lab/mod.ts";
import { gatewayExample, routeExample } from "../../src/resources/mod.ts";
import { executable, labLacks } from "../support/lab-needs.ts";
import type { Json } from "../support/scratch.ts";

setDefaultTimeout(180_000);

const MANIFEST = `apiVersion: causeway.network/v1alpha1
kind: Lab
metadata: { name: agent-bgp }
spec:
  networks: [{ name: wire, prefix4: 192.0.2.0/24 }]
  nodes:
    - { name: hub, role: hub, networks: [wire] }
    - { name: a, networks: [wire] }
`;

const FILE = "/etc/causeway/manifests/bgp.yaml";

function router(name: string, own: string, other: string, network: string): string {
  return JSON.stringify({
    apiVersion: "causeway.network/v1alpha1",
    kind: "BgpRouter",
    metadata: { name },
    spec: {
      asn: 65001,
      routerId: own,
      networks: [network],
      neighbors: [
        {
          address: other,
          asn: "internal",
          source: own,
          connectRetry: "1s",
          bfd: {},
          families: { "ipv4-unicast": {} },
        },
      ],
    },
  });
}

describe.skipIf(labLacks !== undefined)(
  `BGP in agents${labLacks === undefined ? "" : ` (${labLacks})`}`,
  () => {
    const root = `/run/causeway-test/${process.pid}-agent-bgp`;
    let lab: Lab;
    const overlay: Record<string, string> = {};
    beforeAll(async () => {
      lab = await Lab.up(MANIFEST, { root, executable });
      for (const name of ["hub", "a"]) overlay[name] = (await lab.status(name))?.node?.overlay4 as string;
    });
    afterAll(async () => {
      await lab?.down();
      rmSync(root, { recursive: true, force: true });
    });

    const write = async (node: string, text: string) => {
      const script = `mkdir -p /etc/causeway/manifests && cat > ${FILE}.new && mv ${FILE}.new ${FILE}`;
      const { status, stderr } = await lab.exec(node, ["sh", "-ec", script], { input: text });
      if (status !== 0) throw new Error(stderr);
    };
    const summary = async (node: string): Promise<Json> => {
      const { status, stdout } = await lab.exec(node, ["causeway", "bgp", "summary", "--json"]);
      // Beside the node's own, which VPCs have.
      return status === 0 ? JSON.parse(stdout).find((one: Json) => one.router !== "cluster") : undefined;
    };
    const settled = async (node: string, fits: (router: Json) => boolean) =>
      await until(
        async () =>
          fits(await summary(node)) ? undefined : (JSON.stringify(await summary(node)) ?? "no answer"),
        {
          what: `BGP at ${node}`,
          deadlineMs: 90_000,
        },
      );
    const { hub, a } = { hub: () => overlay["hub"] as string, a: () => overlay["a"] as string };
    const up = (network: number) => (one: Json) =>
      one?.neighbors[0]?.state === "established" && one.neighbors[0].families[0]?.received === network;

    test("a manifest that is put there runs, and is followed, also beside a gateway's", async () => {
      const gateway = `${gatewayExample}---\n${routeExample.replace("spi: 1234", "spi: 1")}`;
      await write("hub", `${router("hub", hub(), a(), "10.50.1.0/24")}\n---\n${gateway}`);
      await write("a", router("a", a(), hub(), "10.50.2.0/24"));
      await settled("hub", up(1));
      await settled("a", up(1));
      const { stdout } = await lab.exec("hub", ["causeway", "bgp", "routes", "10.50.2.7", "--json"]);
      expect(JSON.parse(stdout)[0]).toMatchObject({ route: "10.50.2.0/24", nextHop: a(), best: true });
    });

    test("a manifest with a mistake changes nothing", async () => {
      const [before] = (await summary("a")).neighbors;
      await write("a", router("a", a(), hub(), "10.50.2.0/33"));
      await Bun.sleep(5000);
      const [after] = (await summary("a")).neighbors;
      expect([after.state, after.established]).toEqual(["established", before.established]);
      await write("a", router("a", a(), hub(), "10.50.2.0/24"));
    });

    test("BFD goes on while the agent is killed and starts again, and the other keeps its routes", async () => {
      const sessions = async (): Promise<Json> => {
        const { stdout } = await lab.exec("hub", ["causeway", "bfd", "sessions", "--json"]);
        return JSON.parse(stdout).sessions[0];
      };
      await until(async () => ((await sessions())?.state === "up" ? undefined : "not up"), { what: "BFD" });
      const { downs } = await sessions();
      await lab.killAgent("a");
      await Bun.sleep(3000);
      const stale = await summary("hub");
      expect(stale.neighbors[0].families[0]).toMatchObject({ received: 1, stale: true });
      await lab.startAgent("a");
      await settled("hub", (one) => up(1)(one) && !one.neighbors[0].families[0].stale);
      expect((await sessions()).downs).toBe(downs);
    });

    test("a security group beside it is told of, where the node has no edge", async () => {
      const one = (kind: string, name: string, spec: string) =>
        `apiVersion: causeway.network/v1alpha1\nkind: ${kind}\nmetadata: { name: ${name} }\nspec: { ${spec} }\n`;
      const shows = (what: string, wanted = true) =>
        until(
          async () => {
            const { stdout } = await lab.exec("a", ["causeway", "status"]);
            return stdout.includes(what) === wanted ? undefined : stdout;
          },
          { what: `status ${wanted ? "shows" : "does not show"} ${what}`, deadlineMs: 30_000 },
        );
      const before = router("a", a(), hub(), "10.50.2.0/24");
      await lab.causewayJson("hub", ["apply", "-f", "-"], one("VPC", "m", ""));
      await write("a", `${before}\n---\n${one("SecurityGroup", "in", "vpc: none")}`);
      await shows('SecurityGroup "in": spec.vpc none is no VPC that is there');
      await write("a", `${before}\n---\n${one("SecurityGroup", "in", "vpc: m")}`);
      await shows('SecurityGroup "in": spec.vpc m is a VPC of the mesh');
      await write("a", before);
      await shows("SecurityGroup", false);
    });

    test("a manifest that is taken away ends its router", async () => {
      await lab.exec("a", ["rm", FILE]);
      await until(async () => ((await summary("a")) === undefined ? undefined : "still there"), {
        what: "no router",
      });
      await settled("hub", (one) => one?.neighbors[0]?.state !== "established");
    });
  },
);
