/**
 * What tenants' packets are on their way, with real agents: the first one arrives, large ones fit the tunnel or their sender is told, a stream comes
 * out whole, and VXLAN of anybody who is no VTEP of the tenant ends at the node.
 */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdirSync, rmSync } from "node:fs";
import { routerMac } from "../../src/domain/mod.ts";
import { Lab, until } from "../../src/lab/mod.ts";
import { formatIp, formatMac, type Ip, type Mac, parseIp } from "../../src/net/mod.ts";
import { Rtnetlink } from "../../src/netlink/mod.ts";
import { ethernet, FrameSocket, ipv4 } from "../support/frames.ts";
import { executable, labLacks as skip } from "../support/lab-needs.ts";
import { vxlanPackets } from "../support/vxlan-packet.ts";
import { wholeStream } from "../support/whole-stream.ts";
import { resource } from "../support/resource-text.ts";

const root = `/run/causeway-test/${process.pid}-vpc-wire`;
setDefaultTimeout(200_000);

const manifest = `apiVersion: causeway.network/v1alpha1
kind: Lab
metadata: { name: vpc-wire }
spec:
  networks:
    - { name: wire, prefix4: 203.0.113.0/24 }
  nodes:
    - { name: hub, role: hub, networks: [wire] }
    - { name: a, networks: [wire], endpoint: auto }
    - { name: b, networks: [wire], endpoint: auto }
    - { name: c, networks: [wire], endpoint: auto }
  hosts:
    - { name: world, networks: [{ name: wire, address4: 203.0.113.100 }] }
`;

const subnet = (vpc: string, name: string, vni: number, net: number, more = "") =>
  resource(
    "Subnet",
    `${vpc}-${name}`,
    `vpc: ${vpc}, vni: ${vni}, prefixes: [10.${net}.0.0/24, "fd00:${net}::/64"]${more}`,
  );

/** VNIs of each VPC: its own, and those of its Subnets. */
const VNIS = { red: 5000, blue: 6000 } as const;
/** VPCs of one Subnet, for what happens once in each. */
const FRESH = ["one", "two", "three", "four", "five", "six"];
const TIGHT_BYTES = 1300;
const STREAM_BYTES = 8 << 20;

const tenant = (name: keyof typeof VNIS) =>
  resource("VPC", name, `vni: ${VNIS[name]}, allow: { namespaces: ["*"] }`) +
  subnet(name, "web", VNIS[name] + 1, 1) +
  subnet(name, "db", VNIS[name] + 2, 2) +
  subnet(name, "tight", VNIS[name] + 3, 3, `, mtuBytes: ${TIGHT_BYTES}`);

/** IPv4, UDP, VXLAN, Ethernet (RFC 7348 section 5). */
const VXLAN_BYTES = 20 + 8 + 8 + 14;
/** IP and ICMP headers. */
const HEADERS = { 4: 28, 6: 48 } as const;

describe.skipIf(skip !== undefined)(`tenants' packets${skip === undefined ? "" : ` (${skip})`}`, () => {
  let lab: Lab;
  beforeAll(async () => {
    mkdirSync(root, { recursive: true });
    await Lab.remove("vpc-wire", { root });
    lab = await Lab.up(manifest, { root, executable });
    const fresh = FRESH.map(
      (name, i) =>
        resource("VPC", name, `vni: ${7000 + i}, allow: { namespaces: ["*"] }`) +
        subnet(name, "web", 8000 + i, 1),
    );
    const text = [tenant("red"), tenant("blue"), ...fresh].join("");
    await lab.causewayJson("hub", ["apply", "-f", "-"], text);
    for (const vpc of ["red", "blue", ...FRESH]) await add("b", `${vpc}-b`, `${vpc}-web`);
    for (const vpc of ["red", "blue"]) await add("c", `${vpc}-c`, `${vpc}-db`);
  });
  afterAll(async () => {
    await Lab.remove("vpc-wire", { root });
    rmSync(root, { recursive: true, force: true });
  });

  const add = (node: string, pod: string, name: string) =>
    lab.addPod(node, pod, [
      {
        ifname: "net1",
        config: { cniVersion: "1.0.0", name, type: "causeway", subnet: name, isDefaultGateway: true },
      },
    ]);
  const addressOf = (pod: string, family: 4 | 6) => formatIp(lab.pod(pod)[`ip${family}`] as Ip);
  const mtuOf = (place: string, link: string) => {
    using netns = lab.netns(place);
    using route = Rtnetlink.open({ netns });
    return route.link(link)?.mtuBytes ?? 0;
  };

  /** Whether the only ping is answered. */
  const ping = async (from: string, to: string, family: 4 | 6) =>
    (await lab.exec(from, ["ping", "-n", "-c1", "-W1", addressOf(to, family)])).status === 0;

  /** Waits until other nodes know what has come to one. */
  const reaches = (from: string, to: string, family: 4 | 6) =>
    until(async () => ((await ping(from, to, family)) ? undefined : "no answer"), {
      what: `${from} to reach ${to} over IPv${family}`,
      deadlineMs: 60_000,
    });

  test("the first packet of a Subnet's first pod on a node is answered, unless the other node is late", async () => {
    // Where BGP is not up yet ADD does not wait for it.
    for (const node of ["a", "b", "c"])
      await until(
        async () => {
          const sessions = await lab.causewayJson<{ state: string }[]>(node, ["bgp", "neighbors"]);
          return sessions.some(({ state }) => state === "established") ? undefined : JSON.stringify(sessions);
        },
        { what: `BGP of ${node}` },
      );
    let answered = 0;
    for (const name of ["red", "blue", ...FRESH]) {
      await add("a", `${name}-a`, `${name}-web`);
      if (await ping(`${name}-a`, `${name}-b`, 4)) answered++;
    }
    console.log(`${answered} of ${FRESH.length + 2} first packets were answered`);
    // ADD waits until its own node knows. The other one is told at the same time, and has no processor of its own here.
    expect(answered).toBeGreaterThan(FRESH.length / 2 + 1);
  });

  test("that of every later pod is, for whoever must know has known its node before", async () => {
    for (const [node, pod, name, to, family] of [
      ["a", "red-a2", "red-web", "red-c", 4],
      ["a", "red-a3", "red-web", "red-b", 6],
      ["a", "red-a4", "red-web", "red-b", 4],
      ["a", "blue-a2", "blue-web", "blue-c", 6],
    ] as const) {
      await add(node, pod, name);
      expect([pod, to, await ping(pod, to, family)]).toEqual([pod, to, true]);
    }
  });

  test("what fits the tunnel passes, and whoever sends more is told how much does", async () => {
    await add("c", "red-tight", "red-tight");
    // Its gateway is what the router over there speaks from.
    await add("a", "red-db-a", "red-db");
    const most = mtuOf("a", "cw0") - VXLAN_BYTES;
    expect(mtuOf("red-a", "net1")).toBe(most);
    expect(mtuOf("red-tight", "net1")).toBe(TIGHT_BYTES);
    expect(most).toBeGreaterThan(TIGHT_BYTES);
    const sends = async (from: string, address: string, packetBytes: number) => {
      const size = packetBytes - HEADERS[address.includes(":") ? 6 : 4];
      const argv = `ping -n -c1 -W1 -M do -s ${size} ${address}`.split(" ");
      const { status, stdout, stderr } = await lab.exec(from, argv);
      return status === 0 ? "answered" : stdout + stderr;
    };
    for (const family of [4, 6] as const) {
      for (const pod of ["red-b", "red-c"]) {
        const address = addressOf(pod, family);
        await reaches("red-a", pod, family);
        expect([address, await sends("red-a", address, most)]).toEqual([address, "answered"]);
        expect(await sends("red-a", address, most + 1)).toMatch(
          new RegExp(`local error: message too long, mtu[=:] ?${most}\n`),
        );
      }
    }
    // The router on the other node says so: by its own VNI, and by the Subnet's where that is there too. A pod that was told knows it by itself.
    await add("b", "red-far", "red-web");
    for (const from of ["red-a", "red-far"]) {
      for (const family of [4, 6] as const) {
        const address = addressOf("red-tight", family);
        await reaches(from, "red-tight", family);
        expect([from, address, await sends(from, address, TIGHT_BYTES)]).toEqual([from, address, "answered"]);
        expect(await sends(from, address, TIGHT_BYTES + 1)).toMatch(
          new RegExp(`From .*(Frag needed and DF set|Packet too big).*mtu ?= ?${TIGHT_BYTES}`),
        );
      }
      await add("c", `red-web-${from}`, "red-web");
    }
  });

  test("a stream comes out whole, from the moment that a pod is there, inside a Subnet and to others", async () => {
    await add("b", "red-b2", "red-web");
    await add("a", "red-a6", "red-web");
    for (const [from, to, family] of [
      ["red-a6", "red-b2", 4],
      ["red-b2", "red-a6", 6],
      ["red-a6", "red-c", 4],
      ["red-c", "red-a6", 6],
      ["red-a6", "red-tight", 4],
    ] as const) {
      using source = lab.netns(from);
      using netns = lab.netns(to);
      const address = addressOf(to, family);
      const came = await wholeStream(source, { netns, address }, STREAM_BYTES);
      expect([from, to, family, came]).toEqual([from, to, family, true]);
    }
  });

  describe("VXLAN of who is no VTEP", () => {
    const resources = new DisposableStack();
    afterAll(() => resources.dispose());
    /** Somebody who sends. */
    interface Sender {
      readonly name: string;
      readonly socket: FrameSocket;
      readonly address: string;
      /** Its own and the next hop's; the tunnel has none. */
      readonly macs?: readonly [string, string];
    }
    const open = (place: string, link: string) => {
      using netns = lab.netns(place);
      using route = Rtnetlink.open({ netns });
      return resources.use(new FrameSocket(netns, route.link(link)?.index ?? 0));
    };
    const macOf = (place: string, link: string) => {
      using netns = lab.netns(place);
      using route = Rtnetlink.open({ netns });
      return formatMac(route.link(link)?.mac as Mac);
    };
    const overlayOf = async (node: string) => (await lab.status(node))?.node?.overlay4 ?? "";
    /** A pod, with the address of its default gateway. */
    async function pod(name: string, link: string): Promise<Sender> {
      const ip = async (...words: string[]) =>
        JSON.parse((await lab.exec(name, ["ip", "-4", "-j", ...words])).stdout) as Record<string, string>[];
      const gateway = (await ip("route", "show", "default"))[0]?.["gateway"] as string;
      await lab.exec(name, ["ping", "-n", "-c1", "-W1", gateway]);
      const mac = (await ip("neigh", "show", gateway))[0]?.["lladdr"] as string;
      return { name, socket: open(name, link), address: addressOf(name, 4), macs: [macOf(name, link), mac] };
    }

    test("ends at the node: from outside, from pods of the default network, and of other tenants", async () => {
      await add("a", "victim", "red-web");
      await add("a", "blue-a3", "blue-web");
      await lab.addPod("a", "plain-a");
      await lab.addPod("b", "plain-b");
      const [overlay, vtep] = [await overlayOf("a"), await overlayOf("b")];
      const targets = [lab.address("a"), overlay];
      const routed = formatMac(routerMac(parseIp(overlay)));
      const victim = open("victim", "net1");
      const to = { 5000: routed, 5001: macOf("victim", "net1") } as const;
      let serial = 0;
      /** Sends a frame of red-b's for the victim, in its Subnet or by its router; returns what to look for. */
      const send = (from: Sender, source: string, target: string, vni: keyof typeof to) => {
        const mark = `<frame ${serial++}>`;
        const inner = ipv4(addressOf("red-b", 4), addressOf("victim", 4), mark);
        const frame = ethernet(macOf("red-b", "net1"), to[vni], 0x0800, inner);
        for (const packet of vxlanPackets({ source, target, vni }, frame))
          from.socket.send(from.macs === undefined ? packet : ethernet(...from.macs, 0x0800, packet));
        return mark;
      };
      const honest: Sender = { name: "b", socket: open("b", "cw0"), address: vtep };
      /** What of these the victim got until then: what a true VTEP sends last of all has come by the same way or a longer one. */
      const heard = (marks: readonly string[]) => {
        const last = send(honest, vtep, overlay, 5001);
        for (const seen = new Set<string>(); ;) {
          const got = victim.receive(10_000);
          if (got === undefined) throw new Error("what a true VTEP sent did not arrive");
          const text = Buffer.from(got).toString("latin1");
          if (text.includes(last)) return [...seen];
          // More than once: the victim says that nobody listens there.
          for (const mark of marks) if (text.includes(mark)) seen.add(mark);
        }
      };
      for (const vni of [5000, 5001] as const) {
        const mark = send(honest, vtep, overlay, vni);
        expect(heard([mark])).toEqual([mark]);
      }

      const outside = {
        socket: open("world", "eth0"),
        macs: [macOf("world", "eth0"), macOf("a", "eth0")],
      } as const;
      const senders = [
        { name: "world", address: lab.address("world"), ...outside },
        await pod("plain-a", "eth0"),
        await pod("plain-b", "eth0"),
        await pod("blue-a3", "net1"),
        await pod("blue-b", "net1"),
      ];
      for (const from of senders) {
        const before = await dropped();
        const own = targets.flatMap((target) =>
          ([5000, 5001] as const).map((vni) => send(from, from.address, target, vni)),
        );
        expect([from.name, heard(own)]).toEqual([from.name, []]);
        // A tenant's packets do not even come that far.
        const came = (await dropped()) - before;
        if (!from.name.startsWith("blue")) expect(came).toBeGreaterThanOrEqual(own.length);
        const names = [vtep, overlay, lab.address("b"), lab.address("a")];
        const others = names.flatMap((source) =>
          targets.flatMap((target) => ([5000, 5001] as const).map((vni) => send(from, source, target, vni))),
        );
        expect([from.name, heard(others)]).toEqual([from.name, []]);
      }
    });

    /** How many packets the guard of node a has dropped. */
    async function dropped(): Promise<number> {
      const { stdout } = await lab.exec("a", ["nft", "list", "chain", "inet", "causeway", "vxlan"]);
      return [...stdout.matchAll(/counter packets (\d+)/g)].reduce((sum, [, n]) => sum + Number(n), 0);
    }
  });
});
