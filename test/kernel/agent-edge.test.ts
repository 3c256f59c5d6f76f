/**
 * An edge in agents: an Underlay and a VPC from the register, on two nodes that are each other's fabric by an unnumbered session. What runs on the
 * hosts is a BgpRouter of their own.
 */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import type { Status } from "../../src/agent/mod.ts";
import { Lab, until } from "../../src/lab/mod.ts";
import { executable, labLacks } from "../support/lab-needs.ts";

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
    let lab: Lab;
    beforeAll(async () => {
      lab = await Lab.up(LAB, { root: `/run/causeway-test/${process.pid}-agent-edge`, executable });
      await lab.causewayJson("hub", ["apply", "-f", "-"], EDGE);
      for (const [index, name] of ["hub", "a"].entries()) {
        await run(name, `ip address add ${SERVICE[name]}/32 dev lo`);
        await write(name, "host.yaml", host(name, index));
      }
    });
    afterAll(async () => await lab?.down());

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
