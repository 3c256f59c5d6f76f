import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdirSync, readFileSync, rmSync } from "node:fs";
import { Lab, pingMatrix, servicePorts, type Status, until } from "../../src/lab/mod.ts";
import { formatIp, parseIp } from "../../src/net/mod.ts";
import { inParallel, probeTcp } from "../../src/sys/mod.ts";
import { executable, labLacks as skip } from "../support/lab-needs.ts";
import { lostPings } from "../support/lost-pings.ts";

const root = `/run/causeway-test/${process.pid}-failures`;

/** Guards against hanging only. */
const DEADLINE_MS = 240_000;

/** The demo's network, with somebody outside who looks at it. */
function manifest(): string {
  const demo = readFileSync(`${import.meta.dir}/../../examples/demo.yaml`, "utf8");
  return `${demo.replace("name: demo", "name: failures")}
  hosts:
    - { name: stranger, networks: [transit] }
`;
}

/** The addresses of a node, which must never change. */
function identity(status: Status | undefined) {
  const { name, overlay4, overlay6, pods4, pods6, publicKey } = status?.node ?? {};
  return { name, overlay4, overlay6, pods4, pods6, publicKey };
}

describe.skipIf(skip !== undefined)(`a mesh in trouble${skip === undefined ? "" : ` (${skip})`}`, () => {
  let lab: Lab;
  beforeAll(async () => {
    mkdirSync(root, { recursive: true });
    await Lab.remove("failures", { root });
    const onProgress = process.env.CAUSEWAY_LAB_VERBOSE ? (text: string) => console.error(text) : undefined;
    lab = await Lab.up(manifest(), { root, executable, ...(onProgress === undefined ? {} : { onProgress }) });
  }, DEADLINE_MS);
  afterAll(async () => {
    if (process.env.CAUSEWAY_LAB_KEEP) return;
    await Lab.remove("failures", { root });
    rmSync(root, { recursive: true, force: true });
  }, DEADLINE_MS);

  /** Waits until every pod reaches every pod; says who does not. */
  async function everybodyReachesEverybody(pods?: readonly string[]): Promise<void> {
    await until(
      async () => {
        const matrix = await pingMatrix(lab, { count: 1, ...(pods === undefined ? {} : { pods }) });
        const failed = matrix.filter((cell) => !cell.ok);
        if (failed.length === 0) return undefined;
        const shown = failed.slice(0, 4).map((cell) => `${cell.from} → ${cell.to} IPv${cell.family}`);
        return `${failed.length} of ${matrix.length} fail: ${shown.join(", ")}`;
      },
      { what: "all pods to reach all pods", deadlineMs: DEADLINE_MS },
    );
  }

  const ip4 = (pod: string) => formatIp(lab.pod(pod).ip4 ?? parseIp("0.0.0.0"));

  /** The packets that a ping lost while `work` ran. */
  async function lostDuring(
    pairs: readonly (readonly [string, string])[],
    work: () => Promise<void>,
  ): Promise<string[]> {
    let over = false;
    const pings = pairs.map(async ([from, to]) => {
      const lost: string[] = [];
      let sent = 0;
      while (!over || sent === 0) {
        const done = await lab.exec(from, ["ping", "-n", "-i", "0.02", "-c", "50", "-W", "5", ip4(to)]);
        sent += 50;
        const missing = lostPings(done.stdout);
        if (missing.length > 0) lost.push(`${from} → ${to}: ${missing.join(" ")} of ${sent}`);
      }
      return lost;
    });
    try {
      await work();
    } finally {
      over = true;
    }
    return (await Promise.all(pings)).flat();
  }

  /** Records the internet and a home while `work` runs; tells what was on the wires beside the one UDP port. */
  async function strangeOn(networks: readonly string[], work: () => Promise<void>): Promise<string[]> {
    const wires = await Promise.all(networks.map((network) => lab.capture(network)));
    await work();
    const reports = await Promise.all(wires.map((wire) => wire.stop()));
    const flows = reports.flatMap((report) => report.udpFlows);
    expect(reports.map((report) => report.udpFlows.length > 0)).toEqual(networks.map(() => true));
    expect(servicePorts(lab, flows)).toEqual([51820]);
    const protocols = new Set(reports.flatMap((report) => report.protocols));
    return [...protocols].filter((name) => !["arp", "icmp6", "udp"].includes(name));
  }

  test(
    "all pods reach all pods, and the wires show one UDP port and no plain text",
    async () => {
      await everybodyReachesEverybody();
      const marker = "causeway-marker!";
      const networks = lab.topology.networks.map((network) => network.name);
      const wires = await Promise.all(networks.map((network) => lab.capture(network)));
      const matrix = await pingMatrix(lab, { count: 1, marker });
      const reports = await Promise.all(wires.map((wire) => wire.stop(marker)));
      expect(matrix.filter((cell) => !cell.ok)).toEqual([]);
      expect(matrix.length).toBe(10 * 9 * 2);
      expect(reports.map((report) => report.markerSeen)).toEqual(networks.map(() => false));
      expect(reports.every((report) => report.udpFlows.length > 0)).toBe(true);
      expect(
        servicePorts(
          lab,
          reports.flatMap((report) => report.udpFlows),
        ),
      ).toEqual([51820]);
      const protocols = new Set(reports.flatMap((report) => report.protocols));
      // A NAT box that is probed at a port that it has not opened says so.
      expect([...protocols].filter((name) => !["arp", "icmp", "icmp6", "udp"].includes(name))).toEqual([]);
      // Between a public node and any other there is no reason for a way round; tunnels come up with the packets.
      const roundabout = async () =>
        (await lab.peers("c1"))
          .filter((peer) => peer.path === "relay" || peer.path === "down")
          .map((peer) => `${peer.name}: ${peer.reason}`);
      await until(async () => (await roundabout()).join("; ") || undefined, {
        what: "direct paths from c1 to all nodes",
        deadlineMs: DEADLINE_MS,
      });
    },
    DEADLINE_MS,
  );

  test(
    "a scan from outside sees no cluster port, the overlay does, and the user's own ports stay",
    async () => {
      const cluster = [179, 2379, 6443, 10250];
      const own = [22, 80];
      const servers: { stop(force?: boolean): void }[] = [];
      using c1 = lab.netns("c1");
      using hub = lab.netns("hub");
      for (const netns of [c1, hub])
        netns.run(() => {
          for (const port of [...cluster, ...own])
            servers.push(Bun.listen({ hostname: "::", port, socket: { data: () => {} } }));
        });
      try {
        for (const node of ["c1", "hub"]) {
          const target = parseIp(lab.address(node));
          const answers = await lab.scan("stranger", target, [
            ...cluster,
            ...own,
            4789,
            8472,
            7472,
            7473,
            51820,
          ]);
          expect([node, ...cluster.map((port) => answers.tcp.get(port))]).toEqual([
            node,
            ...cluster.map(() => "silent" as const),
          ]);
          expect([node, ...own.map((port) => answers.tcp.get(port))]).toEqual([
            node,
            ...own.map(() => "open" as const),
          ]);
          expect(
            [...answers.tcp].filter(([port, answer]) => answer === "open" && !own.includes(port)),
          ).toEqual([]);
          expect([...answers.udp].filter(([, answer]) => answer === "answered")).toEqual([]);
        }
        using a1 = lab.netns("a1");
        const status = await lab.status("c1");
        for (const host of [status?.node?.overlay4, status?.node?.overlay6]) {
          const answers = await inParallel([...cluster, ...own], 8, (port) =>
            probeTcp({ netns: a1, host: host ?? "", port, timeoutMs: 20_000 }),
          );
          expect([host, ...answers]).toEqual([host, ...answers.map(() => "open" as const)]);
        }
        // A stranger who routes overlay addresses to the node gets nothing.
        const overlay = status?.node?.overlay4 ?? "";
        await lab.exec("stranger", ["ip", "route", "replace", overlay, "via", lab.address("c1")]);
        const forged = await lab.scan("stranger", parseIp(overlay), [...cluster, ...own]);
        expect([...forged.tcp.values()]).toEqual([...cluster, ...own].map(() => "silent" as const));
      } finally {
        for (const server of servers) server.stop(true);
      }
    },
    DEADLINE_MS,
  );

  test(
    "a restart of agents loses no packet",
    async () => {
      const pairs = [
        ["a1-p1", "c1-p1"],
        ["a2-p1", "b1-p1"],
        ["b1-p2", "hub-p1"],
      ] as const;
      const lost = await lostDuring(pairs, async () => {
        for (const node of ["a1", "b1", "hub"]) {
          await lab.killAgent(node, { gently: node !== "b1" });
          await lab.startAgent(node);
        }
        await lab.settled();
      });
      expect(lost).toEqual([]);
      for (const node of ["a1", "b1", "hub"])
        expect(await lab.causewayJson<unknown>(node, ["plan"])).toMatchObject({ steps: [] });
    },
    DEADLINE_MS,
  );

  test(
    "with the hub's agent dead, pods go on; when it is back, all is as before",
    async () => {
      const before = await Promise.all(
        ["hub", "a1", "b1", "c1"].map(async (node) => identity(await lab.status(node))),
      );
      await lab.killAgent("hub");
      await everybodyReachesEverybody();
      // A node that is restarted meanwhile comes up from what it knows.
      await lab.killAgent("a1");
      await lab.startAgent("a1");
      await everybodyReachesEverybody(["a1-p1", "a2-p1", "b1-p1", "c1-p1"]);
      await lab.startAgent("hub");
      await lab.settled({ deadlineMs: DEADLINE_MS });
      expect(
        await Promise.all(["hub", "a1", "b1", "c1"].map(async (node) => identity(await lab.status(node)))),
      ).toEqual(before);
      await everybodyReachesEverybody();
    },
    DEADLINE_MS,
  );

  test(
    "the hub's machine loses power: the others go on, and it comes back as it was",
    async () => {
      const before = identity(await lab.status("hub"));
      await lab.reboot("hub");
      expect(identity(await lab.status("hub"))).toEqual(before);
      await lab.settled({ deadlineMs: DEADLINE_MS });
      await lab.addPods("hub");
      await everybodyReachesEverybody();
    },
    DEADLINE_MS,
  );

  test(
    "a rebooted node has its addresses, and its pods work again after CNI ADD",
    async () => {
      const before = identity(await lab.status("a2"));
      const range = before.pods4 ?? "";
      await lab.reboot("a2");
      expect(lab.pods().filter((pod) => pod.node === "a2")).toEqual([]);
      expect(identity(await lab.status("a2"))).toEqual(before);
      await lab.settled({ deadlineMs: DEADLINE_MS });
      const pods = await lab.addPods("a2");
      expect(pods.map((pod) => pod.name)).toEqual(["a2-p1", "a2-p2"]);
      expect(range).toContain(formatIp(pods[0]?.ip4 ?? parseIp("0.0.0.0")).replace(/\.\d+$/, "."));
      for (const pod of pods) await lab.checkPod(pod.name);
      await everybodyReachesEverybody();
    },
    DEADLINE_MS,
  );

  test(
    "NAT boxes that forget everything are survived",
    async () => {
      lab.flushNat("nat-a");
      lab.flushNat("nat-b");
      await everybodyReachesEverybody();
      await lab.settled({ deadlineMs: DEADLINE_MS });
    },
    DEADLINE_MS,
  );

  test(
    "a node that leaves is gone everywhere, with what was made on it, and can join again",
    async () => {
      for (const pod of ["a2-p1", "a2-p2"]) await lab.deletePod(pod);
      // Not the transit: what the stranger of the scan still has to say is heard there.
      const wires = ["dsl", "home-a"];
      const strange = await strangeOn(wires, async () => {
        const left = await lab.causeway("a2", ["leave"]);
        expect([left.status, left.stderr]).toEqual([0, expect.any(String)]);
      });
      // Those who have not heard of it yet are told by a2's kernel that nobody listens any more.
      expect(strange.filter((name) => name !== "icmp")).toEqual([]);
      for (const node of ["hub", "a1", "b1", "c1"])
        await until(
          async () =>
            (await lab.peers(node)).some((peer) => peer.name === "a2") ? "a2 is still known" : undefined,
          { what: `${node} to forget a2`, deadlineMs: DEADLINE_MS },
        );
      await until(
        async () => {
          const links = (await lab.exec("a2", ["ip", "-br", "link"])).stdout;
          const rules = (await lab.exec("a2", ["nft", "list", "ruleset"])).stdout;
          return /^cw/m.test(links) || rules.includes("causeway") ? `${links}${rules}` : undefined;
        },
        { what: "a2 to be clean", deadlineMs: DEADLINE_MS },
      );
      const { token } = await lab.causewayJson<{ token: string }>("hub", ["token", "create"]);
      // Enrolment has no port of its own: it goes through the tunnel as everything does.
      const enrolment = await strangeOn(wires, async () => {
        await lab.causewayJson("a2", ["join", "-", "--name", "a2", "--site", "a"], token);
        await lab.settled({ deadlineMs: DEADLINE_MS });
      });
      // A NAT box says to a1 that a2's old port is gone.
      expect(enrolment.filter((name) => name !== "icmp")).toEqual([]);
      await lab.addPods("a2");
      await everybodyReachesEverybody();
    },
    DEADLINE_MS,
  );

  test(
    "a node that is removed at the hub is cut off",
    async () => {
      const removed = await lab.causeway("hub", ["node", "remove", "b1"]);
      expect([removed.status, removed.stderr]).toEqual([0, expect.any(String)]);
      for (const node of ["hub", "a1", "a2", "c1"])
        await until(
          async () =>
            (await lab.peers(node)).some((peer) => peer.name === "b1") ? "b1 is still known" : undefined,
          { what: `${node} to forget b1`, deadlineMs: DEADLINE_MS },
        );
      const done = await lab.exec("b1-p1", ["ping", "-n", "-c", "2", "-W", "1", ip4("c1-p1")]);
      expect(done.status).not.toBe(0);
      await everybodyReachesEverybody(["hub-p1", "a1-p1", "a2-p1", "c1-p1"]);
    },
    DEADLINE_MS,
  );
});
