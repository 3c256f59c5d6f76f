/**
 * An agent of an edge ends and comes back (killed, by SIGTERM, or as another build), with BFD on its sessions with fabric and host: neither of them
 * goes down, since BFD outlives the agent and graceful restart bridges the rest. Packets are not lost meanwhile, neither between two VPCs by their leaks nor between hosts whose speaker is the
 * same agent's, so that both sides of their session begin anew.
 */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { copyFileSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import type { Status } from "../../src/agent/mod.ts";
import type { BfdStatus } from "../../src/bfd/mod.ts";
import { Lab, until } from "../../src/lab/mod.ts";
import { executable, labLacks } from "../support/lab-needs.ts";
import { lostPings } from "../support/lost-pings.ts";
import { installOther } from "../support/other-build.ts";

setDefaultTimeout(240_000);

const LAB = `apiVersion: causeway.network/v1alpha1
kind: Lab
metadata: { name: edge-kill }
spec:
  networks:
    - { name: wire, prefix4: 192.0.2.0/24 }
    - { name: fabric, prefix4: 192.168.11.0/24 }
  nodes:
    - { name: hub, role: hub, networks: [wire, fabric] }
    - { name: a, networks: [wire, fabric] }
`;

/** Found after 3 s: the agent is away for longer. */
const BFD = "{ transmit: 300ms, receive: 300ms, multiplier: 10 }";
const vpc = (name: string, vni: number, more: string) => `---
apiVersion: causeway.network/v1alpha1
kind: VPC
metadata: { name: ${name} }
spec: { vni: ${vni}, allow: { namespaces: ["*"] }, ${more} }
---
apiVersion: causeway.network/v1alpha1
kind: Subnet
metadata: { name: ${name}.web }
spec: { vpc: ${name}, vni: ${vni + 10}, prefixes: [10.${vni / 100 - 50}.0.0/24] }
`;
const HOST = `hostSession: { asn: 64514, peerAsn: 64515, prefixes: [192.169.10.0/24], connectRetry: 1s, bfd: ${BFD} }`;
const EDGE = `apiVersion: causeway.network/v1alpha1
kind: Underlay
metadata: { name: rack }
spec:
  asn: 64514
  links: [{ name: eth1 }]
  neighbors: [{ link: eth1, asn: internal, connectRetry: 1s, bfd: ${BFD} }]
  tunnelEndpoint: { prefixes: [100.65.0.0/24] }
${vpc("red", 5100, `underlay: { leaks: [{ from: blue }] }, ${HOST}`)}${vpc("blue", 5200, "underlay: { leaks: [{ from: red }] }")}`;

const SERVICE = { hub: "10.99.1.1", a: "10.99.2.1" } as const;
const host = (name: keyof typeof SERVICE) => `apiVersion: causeway.network/v1alpha1
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
      bfd: ${BFD}
      families: { ipv4-unicast: { allowOwnAsn: 1 } }
`;

/** A stolen CPU may take a session down by itself, and packets with it: where BFD says so it is done again, and nowhere else. */
const ATTEMPTS = 3;

describe.skipIf(labLacks !== undefined)(
  `an edge whose agent is killed${labLacks === undefined ? "" : ` (${labLacks})`}`,
  () => {
    const root = `/run/causeway-test/${process.pid}-edge-kill`;
    let lab: Lab;
    /** Outside /run, which each node has for itself. */
    let folder: string | undefined;
    let installed = "";
    beforeAll(async () => {
      folder = mkdtempSync(`${tmpdir()}/causeway-edge-kill-`);
      installed = `${folder}/causeway`;
      copyFileSync(executable, installed);
      lab = await Lab.up(LAB, { root, executable: installed });
      await lab.causewayJson("hub", ["apply", "-f", "-"], EDGE);
      for (const name of ["hub", "a"] as const) {
        await run(name, `ip address add ${SERVICE[name]}/32 dev lo`);
        const path = "/etc/causeway/manifests";
        await run(name, `mkdir -p ${path}; cat > ${path}/host.yaml <<'END'\n${host(name)}\nEND`);
      }
      for (const [name, node, subnet, other] of [
        ["red-a", "a", "red.web", "10.2.0.0/24 via 10.1.0.1"],
        ["blue-hub", "hub", "blue.web", "10.1.0.0/24 via 10.2.0.1"],
      ] as const) {
        const config = { cniVersion: "1.1.0", name: subnet, type: "causeway", subnet };
        await lab.addPod(node, name, [{ ifname: "net1", config }]);
        await run(name, `ip route add ${other} dev net1`);
      }
    });
    afterAll(async () => {
      await lab?.down();
      rmSync(root, { recursive: true, force: true });
      if (folder !== undefined) rmSync(folder, { recursive: true });
    });

    const run = async (place: string, command: string) => {
      const { status, stdout, stderr } = await lab.exec(place, ["sh", "-ec", command]);
      if (status !== 0) throw new Error(`${place}: ${command}: ${stderr}`);
      return stdout;
    };
    const reaches = (place: string, to: string, more = "") =>
      until(
        async () =>
          (await lab.exec(place, ["sh", "-c", `ping -n -c 1 -W 1 ${more} ${to}`])).status === 0
            ? undefined
            : "no answer",
        { what: `${place} reaches ${to}`, deadlineMs: 60_000 },
      );
    const bfd = async (node: string) =>
      JSON.parse((await lab.exec(node, ["causeway", "bfd", "sessions", "--json"])).stdout) as BfdStatus;
    const downs = async () =>
      (await Promise.all(["hub", "a"].map(bfd))).flatMap(({ sessions }, i) =>
        sessions.map((session) => `${["hub", "a"][i]} ${session.id} ${session.downs} times down`),
      );

    /** A flow of packets that are counted as they are answered. */
    function flow(place: string, to: string, ...more: readonly string[]) {
      const argv = lab.command(place, ["ping", "-n", "-i", "0.02", ...more, to]);
      const ping = Bun.spawn([...argv], { stdout: "pipe", stderr: "ignore" });
      let output = "";
      const reading = (async () => {
        for await (const part of ping.stdout) output += Buffer.from(part).toString();
      })();
      const answers = () => output.split("icmp_seq=").length - 1;
      return {
        /** goesOn waits for so many answers more. */
        goesOn: async (count: number) => {
          const wanted = answers() + count;
          await until(async () => (answers() >= wanted ? undefined : `${answers()} answers`), {
            what: `${wanted} answers`,
            deadlineMs: 60_000,
          });
        },
        lost: async () => {
          ping.kill("SIGINT");
          await reading;
          return lostPings(output);
        },
      };
    }

    /** What is told and heard is as it was: the host's route, and what the fabric has of the other node. */
    const isBack = async () => {
      const { edge } = JSON.parse((await lab.exec("a", ["causeway", "status", "--json"])).stdout) as Status;
      const red = edge?.routers[0]?.domains.find(({ vni }) => vni === 5100);
      if (red?.fromHost.includes(`${SERVICE.a}/32`) !== true) return "the host's route is not known";
      return red.remote.prefixes > 0 ? undefined : "the fabric has told nothing";
    };

    /** What was lost, and how often BFD found something down. */
    async function ended(to: string, how: "kill" | "term" | "upgrade") {
      const before = await downs();
      const flows = [flow("blue-hub", to, "-I", "net1"), flow("a", SERVICE.hub, "-I", SERVICE.a)];
      const all = (count: number) => Promise.all(flows.map(({ goesOn }) => goesOn(count)));
      await all(10);
      const { pid, build } = await bfd("a");
      const wanted = how === "upgrade" ? installOther(installed, build) : build;
      await lab.killAgent("a", { gently: how !== "kill" });
      // Longer than BFD takes to find a neighbor that says nothing.
      await all(200);
      await lab.startAgent("a");
      await until(isBack, { what: "everything is told again", deadlineMs: 60_000 });
      await until(async () => ((await bfd("a")).build === wanted ? undefined : "the old build answers"), {
        what: "BFD of the agent's build",
        deadlineMs: 60_000,
      });
      await all(50);
      const [lost = [], ofHosts = []] = await Promise.all(flows.map((one) => one.lost()));
      const after = await bfd("a");
      return {
        ...{ lost, hostsLost: ofHosts },
        ...{ pid: after.pid === pid, states: after.sessions.map(({ state }) => `${state}`) },
        news: (await downs()).filter((line) => !before.includes(line)),
      };
    }

    let to = "";
    test("hosts and pods reach each other, with BFD on all sessions", async () => {
      const [{ addr_info }] = JSON.parse(await run("red-a", "ip -j -4 address show dev net1"));
      to = addr_info[0].local as string;
      await reaches("blue-hub", to, "-I net1");
      await reaches("a", SERVICE.hub, `-I ${SERVICE.a}`);
      await until(
        async () => {
          const { sessions } = await bfd("a");
          const up = sessions.filter(({ state }) => state === "up").length;
          return up === 3 ? undefined : `${up} of ${sessions.length} sessions are up`;
        },
        { what: "BFD with the fabric, with the host, and the host's own", deadlineMs: 60_000 },
      );
    });

    /** Loses nothing. A BFD process of another build tells the fabric that its end is no failure (RFC 5880 section 6.8.16): the other node counts it. */
    const bridges = async (how: Parameters<typeof ended>[1]) => {
      const isOther = how === "upgrade";
      const told = isOther ? [expect.stringMatching(/^hub \S+\/cw-underlay /)] : [];
      let seen = await ended(to, how);
      for (let attempt = 1; attempt < ATTEMPTS && seen.news.length > told.length; attempt++) {
        console.log(`attempt ${attempt}: ${JSON.stringify(seen)}`);
        seen = await ended(to, how);
      }
      expect(seen).toEqual({
        ...{ lost: [], hostsLost: [], pid: !isOther },
        ...{ states: ["up", "up", "up"], news: told },
      });
    };

    test("packets by leaks and between hosts go on, and BFD finds nothing down: kill -9", () =>
      bridges("kill"));

    test("nor where the agent is told to end: SIGTERM", () => bridges("term"));

    test("nor where another build takes over, with its own BFD: an upgrade", () => bridges("upgrade"));
  },
);
