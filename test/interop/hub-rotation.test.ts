/** Two hubs that share a register in etcd both want another key: one changes after the other, and packets through and to them go on. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { CountedFlow } from "../support/counted-flow.ts";
import { EtcdCluster, etcdFolder } from "../support/etcd.ts";
import { executable } from "../support/lab-needs.ts";
import { ownLacks } from "../support/own-needs.ts";
import { SmallMesh } from "../support/small-mesh.ts";
import { tool } from "../support/tunnel-pair.ts";

setDefaultTimeout(400_000);
const PER_SECOND = 100;
const OURS = ["--tunnel", "user"];
/** No way from ann to bob but by a hub. */
const APART = "table ip apart { chain o { type filter hook output priority 0; ip daddr 10.77.0.4 drop; }; }";
const NAMES = ["one", "two", "ann", "bob", "box"];
const { folder, lacks } = etcdFolder();
const skip = ownLacks ?? lacks;

describe.skipIf(skip !== undefined)(
  `two hubs change their keys${skip === undefined ? "" : ` (skipped: ${skip})`}`,
  () => {
    let mesh: SmallMesh;
    let etcd: EtcdCluster;
    let port = 7_000;

    beforeAll(async () => {
      mesh = await SmallMesh.open(
        [executable],
        NAMES.map((name) => ({ name, agentOptions: OURS })),
      );
      const { address, netns } = mesh.node("box");
      const net = `--net=/proc/${process.pid}/fd/${netns.fd.number}`;
      const command = (_: number, argv: readonly string[]) => ["nsenter", net, ...argv];
      etcd = new EtcdCluster(folder as string, { addresses: [address], command });
      etcd.startAll();
      const { certificate, key } = etcd.authority.sign("hub", "DNS:hub");
      const given = { endpoints: [...etcd.endpoints], ca: etcd.authority.ca, certificate, key };
      await Promise.all(["one", "two", "ann", "bob"].map((name) => mesh.start(name)));
      const endpoint = (name: string) => `${mesh.node(name).address}:51820`;
      await mesh.wait("etcd", () =>
        mesh
          .ask("one", {
            op: "init",
            name: "one",
            endpoints: [endpoint("one")],
            exposedPorts: [],
            etcd: given,
          })
          .then(
            () => undefined,
            (error: Error) => error.message,
          ),
      );
      const hub = await mesh.ask("one", {
        op: "token-create",
        uses: 1,
        expiresMs: 3_600_000,
        role: "hub",
      });
      await mesh.ask("two", {
        op: "join",
        name: "two",
        token: hub.token,
        endpoints: [endpoint("two")],
        etcd: given,
      });
      const { token } = await mesh.ask("one", { op: "token-create", uses: 2, expiresMs: 3_600_000 });
      for (const name of ["ann", "bob"]) await mesh.ask(name, { op: "join", name, token, endpoints: [] });
      tool(mesh.node("ann").netns, "nft -f -", APART);
    });
    afterAll(async () => {
      await mesh?.[Symbol.asyncDispose]();
      await etcd?.[Symbol.asyncDispose]();
    });

    const nodes = async () => (await mesh.ask("one", { op: "node-list" })).nodes;

    async function flow(from: string, to: string): Promise<CountedFlow> {
      const address = (await nodes()).find((node) => node.name === to)?.overlay4 as string;
      const [source, sink] = [mesh.node(from).netns, mesh.node(to).netns];
      return new CountedFlow(source, { netns: sink, address, port: port++, perSecond: PER_SECOND });
    }

    test("one after the other, and nothing is lost", async () => {
      await mesh.wait("the relay", async () => {
        for (const [from, to] of [
          ["ann", "bob"],
          ["bob", "ann"],
        ] as const) {
          const shown = await mesh.peer(from, to);
          if (shown?.path !== "relay") return `${from}: ${shown?.path}: ${shown?.reason}`;
        }
        return undefined;
      });
      await Bun.sleep(5_000);
      const pairs = ["ann → bob", "bob → ann", "one → two", "two → one", "one → ann", "ann → two"];
      const flows = await Promise.all(pairs.map((pair) => flow(...(pair.split(" → ") as [string, string]))));
      await mesh.wait("all to flow", () =>
        flows.every(({ received }) => received > PER_SECOND) ? undefined : "not yet",
      );
      const keys = async () =>
        new Map((await nodes()).filter(({ hub }) => hub).map((one) => [one.name, one.publicKey]));
      const before = await keys();
      await Promise.all(["one", "two"].map((name) => mesh.ask(name, { op: "node-rotate" })));
      const order: string[] = [];
      await mesh.wait("both to have another key", async () => {
        const now = await keys();
        for (const name of ["one", "two"])
          if (now.get(name) !== before.get(name) && !order.includes(name)) order.push(name);
        return order.length === 2 ? undefined : `changed: ${order.join()}`;
      });
      await Bun.sleep(5_000);
      const lost = await Promise.all(flows.map(async (one) => (await one.stop()).lost));
      expect(Object.fromEntries(pairs.map((pair, i) => [pair, lost[i]]))).toEqual(
        Object.fromEntries(pairs.map((pair) => [pair, 0])),
      );
      for (const name of ["one", "two"]) expect(mesh.log(name)).toContain("is another one now");
    });
  },
);
