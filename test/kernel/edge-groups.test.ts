/**
 * Security groups of pods in a fabric's VPC: rules by group across the fabric, changed and taken away, beside leaks, and over agents that end as by
 * kill -9. What cannot be guarded is not attached.
 */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { existsSync } from "node:fs";
import type { LocalAttachment } from "../../src/domain/mod.ts";
import { formatIp, mac, parseIp } from "../../src/net/mod.ts";
import { Netns } from "../../src/sys/mod.ts";
import { Inbox, sendDatagram } from "../support/datagrams.ts";
import { EdgeLab, type EdgeNode } from "../support/edge-lab.ts";
import { until } from "../support/evpn-cluster.ts";
import { lacksTool, notRoot } from "../support/scratch.ts";

setDefaultTimeout(120_000);
const cannot =
  notRoot ??
  lacksTool("nft") ??
  (existsSync("/proc/sys/net/bridge/bridge-nf-call-iptables") ? undefined : "br_netfilter is not loaded");

/** The fabric's number, and that of all edges. */
const [FABRIC, ASN] = [64512, 64514];
const [RED, BLUE] = [5100, 5200] as const;
const PORTS = [80, 81, 9999] as const;

const vpc = (name: string, vni: number, prefix: string, more = "") => `---
apiVersion: causeway.network/v1alpha1
kind: VPC
metadata: {name: ${name}}
spec: {vni: ${vni}, underlay: {${more}}}
---
apiVersion: causeway.network/v1alpha1
kind: Subnet
metadata: {name: ${name}.web}
spec: {vpc: ${name}, vni: ${vni + 10}, prefixes: [${prefix}]}
`;
const group = (name: string, rules: string) => `---
apiVersion: causeway.network/v1alpha1
kind: SecurityGroup
metadata: {name: ${name}}
spec: {vpc: red, rules: [${rules}]}
`;
const WEB = group("red.web", "{direction: egress}");
/** Who is in red.web, and one port for all of blue. */
const DB = group(
  "red.db",
  "{direction: ingress, protocol: udp, ports: [80], groups: [red.web]}, {direction: ingress, protocol: udp, ports: [81], prefixes: [10.2.0.0/24]}",
);
const red = vpc("red", RED, "10.1.0.0/24", "leaks: [{from: blue, prefixes: [10.2.0.0/24]}]");
const blue = vpc("blue", BLUE, "10.2.0.0/24", "leaks: [{from: red, prefixes: [10.1.0.0/24]}]");
const REST = red + blue + WEB + DB;

describe.skipIf(cannot !== undefined)(
  `security groups in a fabric${cannot === undefined ? "" : ` (skipped: ${cannot})`}`,
  () => {
    let lab: EdgeLab;
    let a: EdgeNode;
    let b: EdgeNode;
    const pods = new Map<
      string,
      { readonly netns: Netns; readonly local: LocalAttachment; node: EdgeNode }
    >();
    const inboxes = new Map<string, Inbox>();
    let serial = 0;
    let made = 0;
    beforeAll(async () => {
      lab = new EdgeLab({ names: ["a", "b"] });
      [a, b] = [lab.node("a"), lab.node("b")];
      lab.ours([ASN, ASN]);
      for (const node of [a, b]) {
        node.start();
        follow(node, REST);
      }
      for (const [name, node, domain, groups] of [
        ["db", a, RED, ["red.db"]],
        ["plain-a", a, RED, []],
        ["near", a, RED, ["red.web"]],
        ["web", b, RED, ["red.web"]],
        ["plain", b, RED, []],
        ["blue", a, BLUE, []],
      ] as const)
        await pod(name, node, { domain, groups });
    });
    afterAll(async () => {
      for (const inbox of inboxes.values()) inbox[Symbol.dispose]();
      await lab?.[Symbol.asyncDispose]();
    });

    function follow(node: EdgeNode, rest: string): void {
      const at = lab.nodes.indexOf(node);
      node.follow(`
apiVersion: causeway.network/v1alpha1
kind: Underlay
metadata: {name: rack}
spec:
  asn: ${ASN}
  routerIds: 10.0.${at}.0/24
  links: [{name: eth1}]
  neighbors: [{address: 192.168.${11 + at}.2, asn: ${FABRIC}, connectRetry: 1s}]
  tunnelEndpoint: {prefixes: [100.65.0.${1 + at}/32]}
${rest}`);
    }
    async function pod(
      name: string,
      node: EdgeNode,
      { domain, groups }: { readonly domain: number; readonly groups: readonly string[] },
    ): Promise<void> {
      const netns = lab.scratch.another();
      lab.scratch.text("ip link set lo up", netns);
      const number = ++made;
      const address = `10.${domain === RED ? 1 : 2}.0.${10 + number}`;
      const local: LocalAttachment = {
        ...{
          id: `pod${String(number).padStart(8, "0")}`,
          ifname: "eth0",
          mac: mac(0x0a58_0000_0000 + number),
        },
        ...{ domain, segment: domain + 10, addresses: [parseIp(address)], mtuBytes: 1500 },
        ...{ defaultRoute: true, groups },
      };
      const place = node.edge.place(domain);
      if (place === undefined) throw new Error(`VNI ${domain} is not on ${node.name}`);
      place.attach(local, netns);
      await until(`${name} is up`, async () => place.missing(local, netns).length === 0);
      pods.set(name, { netns, local, node });
      inboxes.set(
        name,
        await Inbox.open(
          netns,
          PORTS.map((port) => ["::", port] as const),
        ),
      );
    }
    const podOf = (name: string) => pods.get(name) as NonNullable<ReturnType<typeof pods.get>>;
    const inboxOf = (name: string) => inboxes.get(name) as Inbox;
    const addressOf = (name: string) => formatIp(podOf(name).local.addresses[0] ?? parseIp("0.0.0.0"));
    const send = (
      from: Netns,
      to: string,
      { port, text }: { readonly port: number; readonly text: string },
    ) => sendDatagram(from, { to: addressOf(to), port, text });

    /** Whether a pod hears one datagram of another: what was sent after it on the same way, to one that nobody guards, has arrived by then. */
    async function hears(to: string, from: string, port: number): Promise<boolean> {
      const text = `${from} ${serial++}`;
      const { netns } = podOf(from);
      send(netns, to, { port, text });
      await arrives("plain-a", netns, `after ${text}`);
      // From the VPC's own router, which no group judges.
      using router = Netns.open(`${a.folder}/netns/cw-${RED}`);
      await arrives(to, router, `settled ${text}`);
      return isHeard(to, text);
    }
    const isHeard = (name: string, text: string) =>
      inboxOf(name).heard.some((one) => one.startsWith(`${text} `));
    /** More than once: the first packets of all have no way yet. */
    const arrives = (to: string, from: Netns, text: string) =>
      until(`${to} hears "${text}"`, async () => {
        send(from, to, { port: 9999, text });
        return isHeard(to, text);
      });
    const untilHeard = (to: string, from: string, port: number) =>
      until(`${to} hears ${from} at ${port}`, () => hears(to, from, port));
    /** What reaches the guarded pod. */
    async function reach(): Promise<string[]> {
      const found: string[] = [];
      for (const from of ["web", "near", "plain", "plain-a", "blue"])
        for (const port of [80, 81]) if (await hears("db", from, port)) found.push(`${from}:${port}`);
      return found;
    }
    /** The fabric has told of the other node's pods: what an earlier agent knew of them stays until then. */
    const told = () =>
      until("the fabric has told of the other node's pods", async () =>
        a.edge
          .status()
          .some(({ domains }) => domains.some(({ vni, remote }) => vni === RED && remote.hosts === 2)),
      );
    const ALLOWED = ["web:80", "near:80", "blue:81"];
    const rules = (node: EdgeNode, vni = RED) =>
      node.text("nft -s list ruleset", `cw-${vni}`).replace(/mark-\w+-\w+/g, "mark");

    test("what groups of both nodes allow, and nothing else; beside them all is free", async () => {
      await untilHeard("db", "web", 80);
      await untilHeard("db", "near", 80);
      await untilHeard("db", "blue", 81);
      await untilHeard("plain-a", "plain", 80);
      expect(await reach()).toEqual(ALLOWED);
      expect(await hears("near", "plain", 80)).toBe(false);
      expect(a.problems).toEqual([]);
    });

    test("a group that changes holds at once, for open flows too", async () => {
      follow(a, red + blue + WEB + group("red.db", "{direction: ingress, protocol: udp, ports: [81]}"));
      expect(await reach()).toEqual(["web:81", "near:81", "plain:81", "plain-a:81", "blue:81"]);
      follow(a, red + blue + WEB + group("red.db", ""));
      expect(await reach()).toEqual([]);
      // A group that nobody knows allows nothing.
      follow(a, red + blue + WEB);
      expect(await reach()).toEqual([]);
      follow(a, REST);
      expect(await reach()).toEqual(ALLOWED);
    });

    test("an agent that ends as by kill -9, and its next one, change no rule", async () => {
      const before = rules(a);
      for (const part of ["chain leaks_forward", "chain ingress-"]) expect(before).toContain(part);
      using inside = Netns.open(`${a.folder}/netns/cw-${RED}`);
      const monitor = inside.run(() =>
        Bun.spawn(["nft", "monitor", "ruleset"], { stdout: "pipe", stderr: "ignore" }),
      );
      let heard = "";
      const reading = (async () => {
        for await (const part of monitor.stdout) heard += Buffer.from(part).toString();
      })();
      /** What came before has been told when this is. */
      const mark = async () => {
        const name = `mark${serial++}`;
        await until("nft tells of changes", async () => {
          a.text(`nft add table ip ${name}`, `cw-${RED}`);
          a.text(`nft delete table ip ${name}`, `cw-${RED}`);
          return heard.includes(`delete table ip ${name}`);
        });
      };
      try {
        await mark();
        a.attached = [RED, BLUE].flatMap((vni) => a.edge.place(vni)?.attachments(vni) ?? []);
        a.stop();
        expect(await reach()).toEqual(ALLOWED);
        a.start();
        follow(a, REST);
        expect(await reach()).toEqual(ALLOWED);
        await told();
        expect(await reach()).toEqual(ALLOWED);
        await mark();
      } finally {
        monitor.kill();
        await reading;
      }
      const ours = heard.split("\n").filter((line) => / causeway( |$)/.test(line));
      expect(ours).toEqual([]);
      expect(rules(a)).toBe(before);
      expect(a.problems).toEqual([]);
    });

    test("pods of a VPC that leaves the node's router stay guarded, also over another agent", async () => {
      const before = rules(a);
      a.attached = [RED, BLUE].flatMap((vni) => a.edge.place(vni)?.attachments(vni) ?? []);
      follow(a, blue + WEB + DB);
      a.stop();
      a.start();
      follow(a, blue + WEB + DB);
      // Of this node's pods: the fabric has forgotten the VPC here.
      for (const [from, port] of [
        ["near", 81],
        ["plain-a", 80],
      ] as const)
        expect([from, await hears("db", from, port)]).toEqual([from, false]);
      expect(await hears("db", "near", 80)).toBe(true);
      follow(a, REST);
      await told();
      await untilHeard("db", "web", 80);
      await untilHeard("db", "blue", 81);
      expect(await reach()).toEqual(ALLOWED);
      await until("the rules are as before", async () => rules(a) === before);
    });

    test("a member that goes is let in no more, and the rules go with the last guarded pod", async () => {
      const { node, local } = podOf("web");
      const isMember = () => rules(a).includes(addressOf("web"));
      expect(isMember()).toBe(true);
      // While the VPC is not there, nobody hears of it here.
      follow(a, blue + WEB + DB);
      node.edge.place(RED)?.detach(local.id);
      // What the fabric tells of this one comes after that.
      await pod("late", b, { domain: BLUE, groups: [] });
      await until("the fabric has told what came later", async () =>
        a.edge
          .status()
          .some(({ domains }) => domains.some(({ vni, remote }) => vni === BLUE && remote.hosts === 1)),
      );
      follow(a, REST);
      await until("it is no member any more", async () => !isMember());
      a.edge.place(RED)?.detach(podOf("db").local.id);
      a.edge.place(RED)?.detach(podOf("near").local.id);
      expect(rules(a)).not.toContain("chain ingress-");
      expect(a.text("sysctl -n net.bridge.bridge-nf-call-iptables", `cw-${RED}`).trim()).toBe("0");
    });

    test("where its rules cannot be set, a pod is not attached, and nothing of it stays", async () => {
      using inside = Netns.open(`${b.folder}/netns/cw-${BLUE}`);
      const links = () => b.text("ip -br link show type veth", `cw-${BLUE}`);
      const before = links();
      // Another program's table of our name, which the kernel lets nobody else touch.
      const other = inside.run(() =>
        Bun.spawn(["nft", "-i"], { stdin: "pipe", stdout: "ignore", stderr: "ignore" }),
      );
      try {
        other.stdin.write("add table inet causeway { flags owner; }\n");
        await other.stdin.flush();
        await until("it is there", async () =>
          b.text("nft list tables", `cw-${BLUE}`).includes("inet causeway"),
        );
        await expect(pod("refused", b, { domain: BLUE, groups: ["red.db"] })).rejects.toThrow(
          "its rules cannot be set",
        );
        expect(links()).toBe(before);
      } finally {
        other.kill();
        await other.exited;
      }
      await pod("taken", b, { domain: BLUE, groups: ["red.db"] });
    });
  },
);
