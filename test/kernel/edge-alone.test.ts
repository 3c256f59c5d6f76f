/**
 * An edge of files alone, on two nodes that belong to no mesh: packets flow before there is a hub or Kubernetes, and go on while the agent is killed,
 * while files come and go, and while the node joins a mesh and leaves it. What a link was like before it is again after `causeway leave`.
 */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { rmSync } from "node:fs";
import type { Status } from "../../src/agent/mod.ts";
import { Lab, until } from "../../src/lab/mod.ts";
import { executable, labLacks } from "../support/lab-needs.ts";
import { lostPings } from "../support/lost-pings.ts";

setDefaultTimeout(240_000);

const LAB = `apiVersion: causeway.network/v1alpha1
kind: Lab
metadata: { name: edge-alone }
spec:
  networks:
    - { name: wire, prefix4: 192.0.2.0/24 }
    - { name: fabric, prefix4: 192.168.11.0/24 }
  nodes:
    - { name: hub, role: hub, networks: [wire] }
    - { name: a, role: none, networks: [wire, fabric] }
    - { name: b, role: none, networks: [wire, fabric] }
`;

const NODES = ["a", "b"] as const;
type Name = (typeof NODES)[number];
const SERVICE = { a: "10.99.1.1", b: "10.99.2.1" } as const;
const FOLDER = "/etc/causeway/manifests";

/** All that a node is told; no register gives it an index. */
const FILE = (name: Name) => `apiVersion: causeway.network/v1alpha1
kind: Underlay
metadata: { name: rack }
spec:
  asn: 64514
  index: { number: ${NODES.indexOf(name)} }
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
---
apiVersion: causeway.network/v1alpha1
kind: BgpRouter
metadata: { name: services }
spec:
  asn: 64515
  routerId: ${SERVICE[name]}
  install: true
  requirePolicy: false
  networks: [${SERVICE[name]}/32]
  neighbors:
    - address: 192.169.10.1
      asn: 64514
      connectRetry: 1s
      families: { ipv4-unicast: { allowOwnAsn: 1 } }
`;

const BLUE = `apiVersion: causeway.network/v1alpha1
kind: VPC
metadata: { name: blue }
spec: { vni: 5200, underlay: {} }
---
apiVersion: causeway.network/v1alpha1
kind: Subnet
metadata: { name: blue.web }
spec: { vpc: blue, vni: 5210, prefixes: [10.7.0.0/24], hostBridge: {} }
`;

/** What the links are like that are moved. */
const SET_UP = `ip link set eth1 mtu 1450 alias rack-7 txqueuelen 500
ip address add 192.168.12.3/24 dev eth1 metric 400
ip route add 203.0.113.0/24 via 192.168.12.1 dev eth1 metric 77
sysctl -qw net/ipv4/conf/eth1/rp_filter=2 net/ipv4/conf/eth1/proxy_arp=1 net/ipv6/conf/eth1/accept_ra=2`;
const SEEN = `ip -o link show dev eth1; ip -o address show dev eth1 scope global; ip route show dev eth1
cd /proc/sys/net; grep -rs . ipv4/conf/eth1 ipv4/neigh/eth1 ipv6/conf/eth1 ipv6/neigh/eth1 | sort || true`;

describe.skipIf(labLacks !== undefined)(
  `an edge of files alone${labLacks === undefined ? "" : ` (${labLacks})`}`,
  () => {
    const root = `/run/causeway-test/${process.pid}-edge-alone`;
    let lab: Lab;
    let before: Readonly<Record<Name, string>>;
    beforeAll(async () => {
      lab = await Lab.up(LAB, { root, executable });
      for (const name of NODES) {
        await run(name, `${SET_UP}\nip address add ${SERVICE[name]}/32 dev lo; mkdir -p ${FOLDER}`);
        await write(name, "edge.yaml", FILE(name));
      }
      before = { a: await seen("a"), b: await seen("b") };
      for (const name of NODES) await lab.startAgent(name);
    });
    afterAll(async () => {
      await lab?.down();
      rmSync(root, { recursive: true, force: true });
    });

    const run = async (place: string, command: string) => {
      const { status, stdout, stderr } = await lab.exec(place, ["sh", "-ec", command]);
      if (status !== 0) throw new Error(`${place}: ${command}: ${stderr}`);
      return stdout;
    };
    const write = (place: string, name: string, text: string) =>
      run(
        place,
        `cat > ${FOLDER}/${name}.new <<'END'\n${text}\nEND\nmv ${FOLDER}/${name}.new ${FOLDER}/${name}`,
      );
    const seen = (place: string) => run(place, SEEN);
    const status = async (place: string) =>
      JSON.parse((await lab.exec(place, ["causeway", "status", "--json"])).stdout) as Status;
    const leave = async (place: string, ...options: readonly string[]) => {
      const done = await lab.causeway(place, ["leave", ...options]);
      expect([done.status, done.stderr]).toEqual([0, expect.any(String)]);
      return done.stderr;
    };
    const becomes = (what: string, missing: () => Promise<string | undefined>) =>
      until(missing, { what, deadlineMs: 60_000 });
    const reaches = (place: string, to: string, more = "") =>
      becomes(`${place} reaches ${to}`, async () =>
        (await lab.exec(place, ["sh", "-c", `ping -n -c 1 -W 1 ${more} ${to}`])).status === 0
          ? undefined
          : "no answer",
      );
    const bothReach = async () => {
      await reaches("a", SERVICE.b, `-I ${SERVICE.a}`);
      await reaches("b", SERVICE.a, `-I ${SERVICE.b}`);
    };
    /** What is told and heard is as it was: the host's route, and what the fabric has of the other node. */
    const isBack = (name: Name) =>
      becomes(`everything is told again by ${name}`, async () => {
        const red = (await status(name)).edge?.routers[0]?.domains.find(({ vni }) => vni === 5100);
        if (red?.fromHost.includes(`${SERVICE[name]}/32`) !== true) return "the host's route is not known";
        return red.remote.prefixes > 0 ? undefined : "the fabric has told nothing";
      });
    /** The link is the host's, and as it was; nothing is left of the router. */
    const isGivenBack = async (name: Name, except = /^$/) => {
      await becomes(`${name} has its link as before`, async () => {
        const [was = [], now = []] = [before[name], await seen(name)].map((text) =>
          text.split("\n").filter((line) => !except.test(line)),
        );
        const changed = [
          ...was.filter((line) => !now.includes(line)).map((line) => `- ${line}`),
          ...now.filter((line) => !was.includes(line)).map((line) => `+ ${line}`),
        ];
        return changed.length === 0 ? undefined : changed.join("\n");
      });
      expect(await run(name, "ip netns list; ip -br link")).not.toMatch(/cw/);
      expect(await run(name, "ls /var/lib/causeway")).not.toMatch(/edge-(links|chains)/);
    };

    /** What a flow of packets between hosts loses while something is done. */
    async function lostWhile(work: () => Promise<void>): Promise<number[]> {
      const argv = lab.command("a", ["ping", "-n", "-i", "0.02", "-I", SERVICE.a, SERVICE.b]);
      const ping = Bun.spawn([...argv], { stdout: "pipe", stderr: "ignore" });
      let output = "";
      const reading = (async () => {
        for await (const part of ping.stdout) output += Buffer.from(part).toString();
      })();
      const goesOn = async (count: number) => {
        const answers = () => output.split("icmp_seq=").length - 1;
        const wanted = answers() + count;
        await becomes(`${count} answers more`, async () =>
          answers() >= wanted ? undefined : `${answers()} of ${wanted}`,
        );
      };
      await goesOn(10);
      await work();
      await goesOn(50);
      ping.kill("SIGINT");
      await reading;
      return lostPings(output);
    }

    test("hosts reach each other across the fabric, in no mesh", async () => {
      await bothReach();
      expect((await status("a")).node).toBeUndefined();
      expect(await run("a", "ip netns exec cw-underlay ip -br address show dev lo")).toContain(
        "100.65.0.0/32",
      );
      expect(await run("b", "ip netns exec cw-underlay ip -br address show dev lo")).toContain(
        "100.65.0.1/32",
      );
    });

    test("an agent that is killed, and its next one, lose no packet", async () => {
      const lost = await lostWhile(async () => {
        await lab.killAgent("a");
        await reaches("a", SERVICE.b, `-I ${SERVICE.a}`);
        await lab.startAgent("a");
        await isBack("a");
      });
      expect(lost).toEqual([]);
    });

    test("a VPC of a file comes and goes while it runs; others notice nothing", async () => {
      const lost = await lostWhile(async () => {
        for (const name of NODES) await write(name, "blue.yaml", BLUE);
        for (const [i, name] of NODES.entries()) {
          await becomes(`${name} has blue`, async () =>
            (await run(name, "ip -br link")).includes("cwb5210") ? undefined : "no bridge",
          );
          await run(name, `ip address add 10.7.0.${11 + i}/24 dev cwb5210`);
        }
        await reaches("a", "10.7.0.12");
        await reaches("b", "10.7.0.11");
        for (const name of NODES) await run(name, `rm ${FOLDER}/blue.yaml`);
        for (const name of NODES)
          await becomes(`${name} has blue no more`, async () => {
            const left = await run(name, "ip netns list; ip -br link");
            return /52[01]0/.test(left) ? left : undefined;
          });
      });
      expect(lost).toEqual([]);
    });

    test("causeway leave --edge gives the link back as it was; the next agent takes it again", async () => {
      // What is said twice by mistake gives nothing back that the machine may be reached by.
      const refused = await lab.causeway("a", ["leave"]);
      expect([refused.status, refused.stderr]).toEqual([1, expect.stringContaining("belongs to no mesh")]);
      await bothReach();
      const said = await leave("a", "--edge");
      expect(said).toContain("router underlay of the edge has ended; it had eth1\n");
      expect(said).toContain("its links are as they were before\n");
      expect(said).toContain(`an Underlay is in ${FOLDER}; the next agent takes its links again`);
      await isGivenBack("a");
      expect(await leave("a", "--edge")).toContain("no link of this node is in an edge\n");
      // A file that changes is no reason to take it.
      await write("a", "blue.yaml", BLUE);
      await run("a", `rm ${FOLDER}/blue.yaml`);
      await lab.killAgent("a", { gently: true });
      await isGivenBack("a");
      await lab.startAgent("a");
      await bothReach();
    });

    const join = async (name: Name) => {
      const { token } = await lab.causewayJson<{ token: string }>("hub", ["token", "create"]);
      await lab.causewayJson(name, ["join", "-", "--name", name], token);
    };

    test("a node that joins a mesh, and leaves it, loses no packet; told once more, it gives the link back", async () => {
      await isBack("a");
      const lost = await lostWhile(async () => {
        await join("a");
        expect((await status("a")).node?.name).toBe("a");
        await isBack("a");
        const said = await leave("a");
        expect(said).toContain("the hub has removed this node\n");
        expect(said).toContain(`the edge that files in ${FOLDER} ask for goes on`);
        await isBack("a");
      });
      expect(lost).toEqual([]);
      await leave("a", "--edge");
      await isGivenBack("a");
    });

    test("nor does a membership that cannot be used stand in the way", async () => {
      await join("b");
      await lab.killAgent("b");
      await run("b", "echo broken > /var/lib/causeway/member.json");
      await lab.startAgent("b");
      expect(await run("b", "ip netns list")).toContain("cw-underlay");
      await leave("b", "--force");
      expect(await leave("b", "--edge")).toContain("its links are as they were before\n");
      // What the node's settings were before is the membership's affair, and that was lost.
      await isGivenBack("b", /forwarding:/);
    });
  },
);
