/**
 * An edge in agents: an Underlay and a VPC from the register, on two nodes that are each other's fabric by an unnumbered session. What runs on the
 * hosts is a BgpRouter of their own.
 */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { rmSync } from "node:fs";
import type { Results, Status } from "../../src/agent/mod.ts";
import { Lab, until } from "../../src/lab/mod.ts";
import { executable, labLacks } from "../support/lab-needs.ts";
import { lostPings } from "../support/lost-pings.ts";

setDefaultTimeout(180_000);

const LAB = `apiVersion: causeway.network/v1alpha1
kind: Lab
metadata: { name: agent-edge }
spec:
  networks:
    - { name: wire, prefix4: 192.0.2.0/24 }
    - { name: fabric, prefix4: 192.168.11.0/24 }
  nodes:
    - { name: hub, role: hub, networks: [wire, fabric] }
    - { name: a, networks: [wire, fabric] }
`;

const EDGE = `apiVersion: causeway.network/v1alpha1
kind: Underlay
metadata: { name: rack }
spec:
  asn: 64514
  links: [{ name: eth1 }]
  neighbors: [{ link: eth1, asn: internal, connectRetry: 1s }]
  tunnelEndpoint: { prefixes: [100.65.0.0/24] }
---
apiVersion: causeway.network/v1alpha1
kind: VPC
metadata: { name: red }
spec:
  vni: 5100
  underlay: {}
  hostSession: { asn: 64514, peerAsn: 64515, prefixes: [192.169.10.0/24], connectRetry: 1s }
`;

const SUBNET = `apiVersion: causeway.network/v1alpha1
kind: Subnet
metadata: { name: red.web }
spec: { vpc: red, vni: 5110, prefixes: [10.1.0.0/24], hostBridge: {} }
`;

/** Two VPCs that have each other's networks; a fabric's neighbor counts as gone when it is silent for the hold time, and leaves nothing behind. */
const LEAKS = `${EDGE.replace("underlay: {}", "underlay: { leaks: [{ from: shared }] }")}---
apiVersion: causeway.network/v1alpha1
kind: VPC
metadata: { name: shared }
spec: { vni: 5200, underlay: { leaks: [{ from: red }] } }
---
apiVersion: causeway.network/v1alpha1
kind: Subnet
metadata: { name: shared.db }
spec: { vpc: shared, vni: 5210, prefixes: [10.9.0.0/24], hostBridge: {} }
---
${SUBNET}`;
const IMPATIENT = LEAKS.replace("connectRetry: 1s", "connectRetry: 1s, hold: 6s, keepalive: 2s").replace(
  "asn: 64514",
  "asn: 64514\n  restartTime: 0",
);
/** What has the hub's router of the fabric lose all packets. */
const SILENCE = `table inet silence {
  chain in { type filter hook input priority -300; iifname eth1 drop; }
  chain out { type filter hook output priority -300; oifname eth1 drop; }
}`;

const SERVICE: Readonly<Record<string, string>> = { hub: "10.99.1.1", a: "10.99.2.1" };

const host = (name: string, index: number) => `apiVersion: causeway.network/v1alpha1
kind: BgpRouter
metadata: { name: services }
spec:
  asn: 64515
  routerId: 10.0.2.${index + 1}
  install: true
  requirePolicy: false
  networks: [${SERVICE[name]}/32]
  neighbors:
    - address: 192.169.10.1
      asn: 64514
      connectRetry: 1s
      families: { ipv4-unicast: { allowOwnAsn: 1 } }
`;

describe.skipIf(labLacks !== undefined)(
  `an edge in agents${labLacks === undefined ? "" : ` (${labLacks})`}`,
  () => {
    const root = `/run/causeway-test/${process.pid}-agent-edge`;
    let lab: Lab;
    beforeAll(async () => {
      lab = await Lab.up(LAB, { root, executable });
      await lab.causewayJson("hub", ["apply", "-f", "-"], EDGE);
      for (const [index, name] of ["hub", "a"].entries()) {
        await run(name, `ip address add ${SERVICE[name]}/32 dev lo`);
        await write(name, "host.yaml", host(name, index));
      }
    });
    afterAll(async () => {
      await lab?.down();
      rmSync(root, { recursive: true, force: true });
    });

    const run = async (node: string, command: string) => {
      const { status, stdout, stderr } = await lab.exec(node, ["sh", "-ec", command]);
      if (status !== 0) throw new Error(`${node}: ${command}: ${stderr}`);
      return stdout;
    };
    const status = async (node: string, ...more: string[]) =>
      (await lab.exec(node, ["causeway", "status", ...more])).stdout;
    const write = async (node: string, name: string, text: string) => {
      const path = `/etc/causeway/manifests/${name}`;
      const script = `mkdir -p /etc/causeway/manifests && cat > ${path}.new && mv ${path}.new ${path}`;
      await lab.exec(node, ["sh", "-ec", script], { input: text });
    };
    const reaches = (from: string, to: string) =>
      until(
        async () => {
          const ping = `ping -n -c 1 -W 1 -I ${SERVICE[from]} ${SERVICE[to]}`;
          const { status, stdout } = await lab.exec(from, ["sh", "-c", ping]);
          return status === 0 ? undefined : stdout;
        },
        { what: `${from} reaches ${to}`, deadlineMs: 60_000 },
      );

    test("both hosts reach each other by the fabric, under addresses that the mesh does not know", async () => {
      await reaches("a", "hub");
      await reaches("hub", "a");
      expect(await run("a", "ip route show 10.99.1.1")).toContain("via 192.169.10.1 dev cwh5100");
      expect(await run("a", "ip netns exec cw-5100 ip route show 10.99.1.1")).toContain(
        "via 100.65.0.0 dev br5100 proto 67 metric 1024 onlink",
      );
      expect(await run("a", "ip netns exec cw-underlay ip -br address show dev lo")).toContain(
        "100.65.0.1/32",
      );
    });

    test("status names routers and VPCs, and has what hosts announce", async () => {
      expect(await status("a")).toMatch(
        /^edge +router underlay of Underlay rack, namespace cw-underlay; VPCs red$/m,
      );
      const { edge } = JSON.parse(await status("a", "--json")) as Status;
      expect([edge?.problems, edge?.resources]).toEqual([[], []]);
      const { domains: _, ...router } = edge!.routers[0]!;
      expect(router).toMatchObject({
        ...{ asn: 64514, links: ["eth1"], endpoints: ["100.65.0.1"], problems: [] },
        legs: [{ vpc: "red", link: "cwh5100", edge: ["192.169.10.1/24"], host: ["192.169.10.3/24"] }],
      });
      expect(edge?.routers.map(({ domains }) => domains.map(({ fromHost }) => fromHost))).toEqual([
        [[`${SERVICE.a}/32`]],
      ]);
    });

    test("metrics count the tunnel, the edge and its sessions", async () => {
      const { stdout } = await lab.exec("a", ["causeway", "metrics"]);
      const lines = stdout.trimEnd().split("\n");
      for (const line of [
        'causeway_agent_peers{path="direct"} 1',
        "causeway_agent_hub_connected 1",
        'causeway_edge_router_up{router="underlay"} 1',
        'causeway_edge_domains{router="underlay"} 1',
        'causeway_edge_host_prefixes{router="underlay",vpc="red"} 1',
        'causeway_edge_failed_resources{kind="Subnet",reason="failed"} 0',
        'causeway_bgp_session_up{router="services",neighbor="192.169.10.1"} 1',
      ])
        expect(lines).toContain(line);
    });

    test("a machine in a bridge of the host reaches its Subnet's gateway: it is no pod, and nobody judges what it sends", async () => {
      await lab.causewayJson("hub", ["apply", "-f", "-"], SUBNET);
      const bridge = ["ip", "link", "show", "cwb5110"];
      const missing = async () => ((await lab.exec("a", bridge)).status === 0 ? undefined : "none");
      await until(missing, { what: "the bridge" });
      for (const command of [
        "ip netns add machine",
        "ip link add port type veth peer name eth0 netns machine",
        "ip link set port master cwb5110 up",
        "ip -n machine link set eth0 up",
        "ip -n machine address add 10.1.0.9/24 dev eth0",
      ])
        await run("a", command);
      // Asked again while the ports begin to forward.
      expect(await run("a", "ip netns exec machine ping -n -c 1 -w 30 10.1.0.1")).toContain(
        " 0% packet loss",
      );
      await run("a", "ip netns del machine");
      await lab.causewayJson("hub", ["delete", "Subnet", "red.web"]);
      const left = async () =>
        (await missing()) === undefined
          ? "the bridge"
          : (await run("a", "ip netns exec cw-5100 ip -br link")).match(/\S*5110\S*/)?.[0];
      await until(left, { what: "nothing of it to be left" });
    });

    test("what of a resource is not on one node the hub knows, until it is there", async () => {
      const text = SUBNET.replace("red.web", "red.db").replace("5110", "5120").replace("10.1.0", "10.1.1");
      await run("hub", "ip link add br-db type bridge");
      const external = text.replace("{}", "{ name: br-db, managed: false }");
      await lab.causewayJson("hub", ["apply", "-f", "-"], external);
      const at = async (node: string, ...what: string[]) =>
        ((await lab.causewayJson(node, ["get", ...what])) as { readonly status?: unknown }).status;
      const becomes = (status: object) =>
        until(
          async () => {
            const said = JSON.stringify(await at("hub", "subnet", "red.db"));
            return said === JSON.stringify(status) ? undefined : said;
          },
          { what: `${JSON.stringify(status)} at the hub`, deadlineMs: 60_000 },
        );
      const message =
        "spec.hostBridge.name br-db is no bridge of this node; make it, or leave out managed: false";
      await becomes({ up: false, reason: `on a: ${message}` });
      const { stdout } = await lab.exec("hub", ["causeway", "get", "all"]);
      expect(stdout).toContain(`subnet/red.db is not up: on a: ${message}`);
      const { nodes } = (await lab.causewayJson("hub", ["node", "list"])) as Results["node-list"];
      const failed = [{ kind: "Subnet", name: "red.db", reason: "failed", message }] as const;
      expect(nodes.find(({ name }) => name === "a")?.edge).toEqual({ failed: [...failed], more: 0 });
      const metrics = (await lab.exec("a", ["causeway", "metrics"])).stdout;
      expect(metrics).toContain('causeway_edge_failed_resources{kind="Subnet",reason="failed"} 1\n');
      // Other nodes are not told.
      expect(await at("a", "subnet", "red.db")).toBeUndefined();
      await run("a", "ip link add br-db type bridge");
      await becomes({ up: true });
      await lab.causewayJson("hub", ["delete", "Subnet", "red.db"]);
      const left = async () =>
        (await run("a", "ip -br link; ip netns exec cw-5100 ip -br link")).match(/\S*5120\S*/)?.[0];
      await until(left, { what: "nothing of it to be left" });
      for (const node of ["hub", "a"]) await run(node, "ip link del br-db");
    });

    test("a killed agent comes back to all of it, and changes nothing", async () => {
      const seen = async () =>
        await Promise.all(
          ["", "ip netns exec cw-underlay ", "ip netns exec cw-5100 "].flatMap((inside) =>
            ["ip -o link", "ip -4 -o address"].map((command) => run("a", `${inside}${command}`)),
          ),
        );
      const before = await seen();
      await lab.killAgent("a");
      await reaches("a", "hub");
      await lab.startAgent("a");
      await reaches("a", "hub");
      expect(await seen()).toEqual(before);
    });

    describe("two VPCs with each other's networks by leaks", () => {
      // Of red: a machine on this node, and what the other node's host announces.
      const [server, elsewhere] = ["10.1.0.8", SERVICE.hub as string];
      const here = "10.1.0.0/24";
      const answers = (to: string) =>
        until(
          async () => {
            const ping = ["ip", "netns", "exec", "client", "ping", "-n", "-c", "1", "-W", "1", to];
            const { status, stdout } = await lab.exec("a", ping);
            return status === 0 ? undefined : stdout;
          },
          { what: `the machine in shared reaches ${to}, which is red's`, deadlineMs: 60_000 },
        );
      const routes = (node = "a") =>
        Promise.all(["cw-5100", "cw-5200"].map((inside) => run(node, `ip netns exec ${inside} ip route`)));
      const isKnown = async (node: string, wanted: readonly [string, boolean][]) =>
        until(
          async () => {
            const known = await routes(node);
            const wrong = wanted.filter(([to, is]) => known.some((text) => text.includes(`${to} `) !== is));
            return wrong.length === 0 ? undefined : known.join("\n");
          },
          { what: `${node} knows ${wanted} in both`, deadlineMs: 60_000 },
        );
      /** Waits for sessions of the present resources: with the short hold time, or without. */
      const held = (node: string, isShort: boolean) =>
        until(
          async () => {
            const { stdout } = await lab.exec(node, ["causeway", "bgp", "neighbors", "--json"]);
            const all = JSON.parse(stdout) as { readonly state: string; readonly holdSeconds?: number }[];
            const isThere = all.length > 0 && all.every(({ state }) => state === "established");
            return isThere && all.some(({ holdSeconds }) => holdSeconds === 6) === isShort
              ? undefined
              : stdout;
          },
          {
            what: `sessions of ${node} ${isShort ? "with" : "without"} the short hold time`,
            deadlineMs: 60_000,
          },
        );
      const silence = async () => {
        const nft = ["ip", "netns", "exec", "cw-underlay", "nft", "-f", "-"];
        const { status, stderr } = await lab.exec("hub", nft, { input: SILENCE });
        if (status !== 0) throw new Error(stderr);
      };
      const end = () => run("hub", "ip netns exec cw-underlay nft delete table inet silence");
      /** Pings again and again while something is done and until it is answered afterwards, and returns which were not. */
      const lostWhile = async (work: () => Promise<void>) => {
        await run(
          "a",
          `ip netns exec client ping -n -i 0.1 ${server} > /run/pings 2>&1 & echo $! > /run/pings.pid`,
        );
        const answered = async () =>
          [...(await run("a", "cat /run/pings")).matchAll(/icmp_seq=\d+ ttl=/g)].length;
        const more = async (what: string) => {
          const before = await answered();
          await until(async () => ((await answered()) > before ? undefined : "none"), {
            what: `an answer ${what}`,
            deadlineMs: 30_000,
          });
        };
        try {
          await more("before");
          await work();
          await more("after");
        } finally {
          await run("a", "kill -INT $(cat /run/pings.pid)");
        }
        return lostPings(await run("a", "cat /run/pings; rm /run/pings /run/pings.pid"));
      };
      /** The next agent's sessions are those of the one before. */
      const restart = async () => {
        await lab.startAgent("a");
        await until(
          async () => {
            const { edge } = JSON.parse(await status("a", "--json")) as Status;
            const heard = edge?.routers.flatMap(({ domains }) => domains.map(({ fromHost }) => fromHost));
            return heard?.flat().includes(`${SERVICE.a}/32`) ? undefined : JSON.stringify(edge);
          },
          { what: "the host has told the next agent", deadlineMs: 60_000 },
        );
      };

      beforeAll(async () => {
        await lab.causewayJson("hub", ["apply", "-f", "-"], LEAKS);
        await until(
          async () => {
            const links = await run("a", "ip -br link");
            return links.includes("cwb5110 ") && links.includes("cwb5210 ") ? undefined : links;
          },
          { what: "the bridges" },
        );
        for (const [machine, bridge, net, own] of [
          ["client", "cwb5210", "10.9.0", 9],
          ["server", "cwb5110", "10.1.0", 8],
        ] as const)
          for (const command of [
            `ip netns add ${machine}`,
            `ip link add ${machine} type veth peer name eth0 netns ${machine}`,
            `ip link set ${machine} master ${bridge} up`,
            `ip -n ${machine} link set eth0 up`,
            `ip -n ${machine} address add ${net}.${own}/24 dev eth0`,
            `ip -n ${machine} route add default via ${net}.1`,
          ])
            await run("a", command);
      });
      afterAll(async () => {
        for (const machine of ["client", "server"]) await run("a", `ip netns del ${machine}`);
        await lab.causewayJson("hub", ["apply", "-f", "-"], EDGE);
        for (const [kind, name] of [
          ["Subnet", "red.web"],
          ["Subnet", "shared.db"],
          ["VPC", "shared"],
        ] as const)
          await lab.causewayJson("hub", ["delete", kind, name]);
      });

      test("a neighbor that is silent for longer than its hold time: its networks go from both VPCs, what is here stays, all comes back", async () => {
        await lab.causewayJson("hub", ["apply", "-f", "-"], IMPATIENT);
        await held("a", true);
        await answers(elsewhere);
        await silence();
        try {
          const lost = await lostWhile(() =>
            isKnown("a", [
              [elsewhere, false],
              [here, true],
            ]),
          );
          expect(lost).toEqual([]);
        } finally {
          await end();
        }
        await answers(elsewhere);
      });

      test("kill -9 loses no packet of a leak, and the next agent changes no route", async () => {
        // With graceful restart again.
        await lab.causewayJson("hub", ["apply", "-f", "-"], LEAKS);
        for (const node of ["a", "hub"]) await held(node, false);
        for (const node of ["a", "hub"])
          await isKnown(node, [
            [here, true],
            [elsewhere, true],
          ]);
        await answers(elsewhere);
        const before = await routes();
        const lost = await lostWhile(async () => {
          await lab.killAgent("a");
          await answers(server);
          await restart();
          await answers(server);
        });
        expect(lost).toEqual([]);
        expect(await routes()).toEqual(before);
      });

      test("an agent that is killed and begins again while its only neighbor is away keeps what it was told before", async () => {
        const before = await routes();
        const lost = await lostWhile(async () => {
          await lab.killAgent("a");
          await silence();
          await restart();
          expect(await routes()).toEqual(before);
        });
        expect(lost).toEqual([]);
        await end();
        await answers(elsewhere);
        expect(await routes()).toEqual(before);
      });
    });

    test("a file on the node counts before the register, and ends with it", async () => {
      await write("a", "red.yaml", EDGE.split("---\n")[1]?.replace("vni: 5100", "vni: 5200") as string);
      await until(
        async () => {
          const { status } = await lab.exec("a", [
            "sh",
            "-c",
            "ip netns exec cw-5200 true && ! ip netns exec cw-5100 true",
          ]);
          return status === 0 ? undefined : "not there";
        },
        { what: "the file's VPC" },
      );
      await run("a", "rm /etc/causeway/manifests/red.yaml");
      await reaches("a", "hub");
    });

    test("when the Underlay is deleted the host has its link again", async () => {
      for (const [kind, name] of [
        ["vpc", "red"],
        ["underlay", "rack"],
      ])
        await lab.exec("hub", ["causeway", "delete", kind as string, name as string]);
      await until(
        async () => {
          const { stdout } = await lab.exec("a", ["ip", "-br", "address", "show", "dev", "eth1"]);
          return /^eth1\S* +UP +192\.168\.11\./.test(stdout) ? undefined : stdout;
        },
        { what: "eth1 is back" },
      );
      await until(
        async () => {
          const left = await run("a", "ip netns list");
          return left.includes("cw-") ? left : undefined;
        },
        { what: "no namespace of the router" },
      );
      expect(await status("a")).not.toContain("edge");
    });
  },
);
