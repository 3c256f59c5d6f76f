/**
 * Leaks between VPCs of an edge while the agent is away: it is told to end and comes back, and it is killed. The kernel goes on, and the next agent,
 * which has to hear from the fabric first, takes no route back meanwhile.
 */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { Lab, until } from "../../src/lab/mod.ts";
import { executable, labLacks } from "../support/lab-needs.ts";

setDefaultTimeout(120_000);

const LAB = `apiVersion: causeway.network/v1alpha1
kind: Lab
metadata: { name: agent-edge-leaks }
spec:
  networks:
    - { name: wire, prefix4: 192.0.2.0/24 }
    - { name: fabric, prefix4: 192.168.11.0/24 }
  nodes:
    - { name: hub, role: hub, networks: [wire, fabric] }
`;

const vpc = (name: string, vni: number, from: string, prefix: string) => `---
apiVersion: causeway.network/v1alpha1
kind: VPC
metadata: { name: ${name} }
spec: { vni: ${vni}, underlay: { leaks: [{ from: ${from} }] } }
---
apiVersion: causeway.network/v1alpha1
kind: Subnet
metadata: { name: ${name}.a }
spec: { vpc: ${name}, vni: ${vni + 10}, prefixes: [${prefix}], hostBridge: {} }
`;

/** Files of what runs meanwhile. */
const TMP = `/tmp/causeway-edge-leaks-${process.pid}`;

const EDGE = `apiVersion: causeway.network/v1alpha1
kind: Underlay
metadata: { name: rack }
spec:
  asn: 64514
  links: [{ name: eth1 }]
  neighbors: [{ address: 192.168.11.99, asn: 64512 }]
  tunnelEndpoint: { prefixes: [100.65.0.0/24] }
${vpc("red", 5100, "shared", "10.1.1.0/24")}${vpc("shared", 5200, "red", "10.9.1.0/24")}`;

/** What is behind the bridge of a Subnet: a namespace with an address, whose router is the VPC. */
const machine = (name: string, bridge: string, [address, gateway]: readonly [string, string]) =>
  [
    `ip netns add ${name}`,
    `ip link add to-${name} type veth peer name eth0 netns ${name}`,
    `ip link set to-${name} master ${bridge} up`,
    `ip -n ${name} address add ${address}/24 dev eth0`,
    `ip -n ${name} link set eth0 up`,
    `ip -n ${name} route add default via ${gateway}`,
  ].join("\n");

describe.skipIf(labLacks !== undefined)(
  `leaks of an edge over a restart${labLacks === undefined ? "" : ` (${labLacks})`}`,
  () => {
    let lab: Lab;
    const run = async (command: string) => {
      const { status, stdout, stderr } = await lab.exec("hub", ["sh", "-ec", command]);
      if (status !== 0) throw new Error(`${command}: ${stderr}`);
      return stdout;
    };
    const comes = (what: string, command: string) =>
      until(
        async () => {
          const { status, stdout, stderr } = await lab.exec("hub", ["sh", "-ec", command]);
          return status === 0 ? undefined : stdout + stderr;
        },
        { what, deadlineMs: 60_000 },
      );
    const reaches = (from: string, to: string) =>
      comes(`${from} reaches ${to}`, `ip netns exec ${from} ping -n -c 1 -W 1 ${to}`);

    beforeAll(async () => {
      lab = await Lab.up(LAB, { root: `/run/causeway-test/${process.pid}-edge-leaks`, executable });
      await lab.causewayJson("hub", ["apply", "-f", "-"], EDGE);
      await comes("both bridges are there", "ip link show cwb5110 && ip link show cwb5210");
      await run(machine("client", "cwb5110", ["10.1.1.5", "10.1.1.1"]));
      await run(machine("service", "cwb5210", ["10.9.1.5", "10.9.1.1"]));
      await reaches("client", "10.9.1.5");
      await reaches("service", "10.1.1.5");
    });
    afterAll(async () => {
      await lab?.exec("hub", ["sh", "-c", `rm -f ${TMP}.*`]);
      await lab?.down();
    });

    const DOMAINS = ["cw-5100", "cw-5200"];
    const routes = async () =>
      await Promise.all(DOMAINS.map((domain) => run(`ip netns exec ${domain} ip -d -4 route`)));

    /** Watches both domains' routes, and packets through the leak, while something is done. */
    async function during(work: () => Promise<void>): Promise<{ deleted: string; lost: string }> {
      const monitors = DOMAINS.map(
        (domain) =>
          `ip netns exec ${domain} ip -4 monitor route > ${TMP}.${domain}.routes & echo $! >> ${TMP}.watchers`,
      );
      await run(`rm -f ${TMP}.watchers; ${monitors.join("\n")}
        ip netns exec client ping -n -i 0.05 10.9.1.5 > ${TMP}.pings & echo $! > ${TMP}.pinger`);
      await comes("pings are answered", `grep -q icmp_seq=3 ${TMP}.pings`);
      await work();
      const seen = Number(await run(`grep -c icmp_seq= ${TMP}.pings`));
      await comes("more pings are answered", `[ $(grep -c icmp_seq= ${TMP}.pings) -gt ${seen + 10} ]`);
      await run(`kill -INT $(cat ${TMP}.pinger); kill $(cat ${TMP}.watchers)`);
      await comes("ping has ended", `! kill -0 $(cat ${TMP}.pinger) 2>/dev/null`);
      const answered = [...(await run(`cat ${TMP}.pings`)).matchAll(/icmp_seq=(\d+) ttl/g)].map(([, n]) =>
        Number(n),
      );
      const lost = answered.filter((n, i) => n !== i + 1).join();
      const deleted = await run(
        `cat ${DOMAINS.map((domain) => `${TMP}.${domain}.routes`).join(" ")} | grep ^Deleted || true`,
      );
      return { deleted, lost };
    }

    for (const [how, end] of [
      ["is told to end", () => lab.killAgent("hub", { gently: true })],
      ["is killed", () => lab.killAgent("hub")],
    ] as const)
      test(`the agent ${how}: no route goes, no packet is lost, and the next one has the same`, async () => {
        const before = await routes();
        expect(before[0]).toContain("10.9.1.0/24");
        expect(before[1]).toContain("10.1.1.0/24");
        const seen = await during(async () => {
          await end();
          expect(await routes()).toEqual(before);
          await lab.startAgent("hub");
          await comes("the edge is there again", "causeway status | grep -q 'VPCs red, shared'");
        });
        expect(seen).toEqual({ deleted: "", lost: "" });
        expect(await routes()).toEqual(before);
        await reaches("service", "10.1.1.5");
      });
  },
);
