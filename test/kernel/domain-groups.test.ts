/** Security groups: who reaches whom, bridged and routed, from this node and from others; and flows that a change ends. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { existsSync } from "node:fs";
import type { SecurityGroup } from "../../src/domain/mod.ts";
import { Inbox, sendDatagram } from "../support/datagrams.ts";
import { addresses, Talk, Voice } from "../support/domain-world.ts";
import { arp, bytes, ethernet, FrameSocket, icmp6, ipv4, join } from "../support/frames.ts";
import { GroupWorld, prefixes, rule } from "../support/group-world.ts";
import { lacksTool, notRoot } from "../support/scratch.ts";

setDefaultTimeout(15_000);
const cannot =
  notRoot ??
  lacksTool("nft") ??
  (existsSync("/proc/sys/net/bridge/bridge-nf-call-iptables") ? undefined : "br_netfilter is not loaded");
const suffix = cannot === undefined ? "" : ` (skipped: ${cannot})`;

const PORTS = [80, 81, 5432] as const;
const NAMES = ["web", "db", "plain", "more", "back", "client", "remote"] as const;

describe.skipIf(cannot !== undefined)(`domains: security groups${suffix}`, () => {
  let lab: GroupWorld;
  const inboxes = new Map<string, Inbox>();
  let serial = 0;

  beforeAll(async () => {
    lab = new GroupWorld();
    for (const name of NAMES)
      inboxes.set(
        name,
        await Inbox.open(
          lab.netns(name),
          [...PORTS, 9999].map((port) => ["::", port] as const),
        ),
      );
  });
  afterAll(() => {
    for (const inbox of inboxes.values()) inbox[Symbol.dispose]();
    lab?.[Symbol.dispose]();
  });

  const inboxOf = (name: string) => inboxes.get(name) as Inbox;
  const group = (name: string, ...rules: SecurityGroup["rules"]): SecurityGroup => ({ name, rules });

  /** What comes to a pod from the node's side, past all rules: the node's own datagram is the last in the line. */
  async function settled(name: string): Promise<void> {
    const text = `settled ${serial++}`;
    sendDatagram(lab.netns("here"), { to: lab.four(name), port: 9999, text });
    await inboxOf(name).until(text);
  }

  /** Who reaches which ports of a pod, IPv4 and IPv6 alike; where they differ, it says so. */
  async function reach(to: string, from: readonly string[] = NAMES): Promise<string[]> {
    const inbox = inboxOf(to);
    const out: string[] = [];
    inbox.heard.length = 0;
    const others = from.filter((name) => name !== to);
    for (const name of others)
      for (const port of PORTS)
        for (const address of [lab.four(to), lab.six(to)])
          sendDatagram(lab.netns(name), { to: address, port, text: `${name}:${port}` });
    // Neighbours of remote ones have to be found first; what is sent to them leaves when they are.
    for (const name of others) if (name === "client" || name === "remote") await resolved(name);
    await settled(to);
    for (const name of others)
      for (const port of PORTS) {
        const found = inbox.heard.filter((one) => one.startsWith(`${name}:${port} `)).length;
        if (found > 0) out.push(`${name}:${port}${found === 2 ? "" : ` only ${found} of 2`}`);
      }
    return out.sort();
  }

  /** A frame after all others of a remote pod, to one that nobody guards. */
  async function resolved(name: string): Promise<void> {
    const text = `resolved ${serial++}`;
    sendDatagram(lab.netns(name), { to: lab.four("plain"), port: 9999, text });
    await inboxOf("plain").until(text);
  }

  const all = (...names: string[]) => names.flatMap((name) => PORTS.map((port) => `${name}:${port}`)).sort();

  test("without groups everything is allowed, and nothing is tracked", async () => {
    lab.groups([], {});
    expect(await reach("web")).toEqual(all("db", "plain", "more", "back", "client", "remote"));
    expect(lab.run("here", "sysctl -n net.bridge.bridge-nf-call-iptables").trim()).toBe("0");
    expect(lab.run("here", "cat /proc/sys/net/netfilter/nf_conntrack_count").trim()).toBe("0");
  });

  test("a group without rules allows nothing, in nor out; pods without groups are as free as ever", async () => {
    lab.groups([group("closed")], { web: ["closed"] });
    expect(await reach("web")).toEqual([]);
    expect(await reach("plain")).toEqual(all("db", "more", "back", "client", "remote"));
    expect(await reach("back")).toEqual(all("db", "plain", "more", "client", "remote"));
  });

  test("a group that nobody knows allows nothing", async () => {
    lab.groups([], { web: ["lost"] });
    expect(await reach("web")).toEqual([]);
  });

  test("rules by prefix and port, of both families, bridged, routed and from another node", async () => {
    const rules = [
      rule({ direction: "ingress", protocol: "udp", ports: [{ first: 80, last: 80 }] }),
      rule({
        ...{ direction: "ingress", protocol: "udp", ports: [{ first: 5000, last: 6000 }] },
        prefixes: prefixes("10.0.2.0/24", "fd00:2::/64", "10.0.1.9/32", "fd00:1::9/128"),
      }),
    ];
    lab.groups([group("web", ...rules)], { web: ["web"] });
    expect(await reach("web")).toEqual(
      [...NAMES.slice(1).map((name) => `${name}:80`), "back:5432", "remote:5432"].sort(),
    );
  });

  test("rules by group: members are those of all nodes", async () => {
    const list = [
      group("db", rule({ direction: "ingress", protocol: "udp", groups: ["web"] })),
      group("web", rule({ direction: "egress" })),
    ];
    lab.groups(list, { db: ["db"], web: ["web"], remote: ["web"], back: ["web"] });
    expect(await reach("db")).toEqual(all("web", "remote", "back"));
    // Members of one group do not reach each other by that alone.
    expect(await reach("web")).toEqual([]);
  });

  test("of several groups any may allow", async () => {
    const list = [
      group("a", rule({ direction: "ingress", protocol: "udp", ports: [{ first: 80, last: 80 }] })),
      group(
        "b",
        rule({ direction: "ingress", protocol: "udp", prefixes: prefixes("10.0.1.4/32", "fd00:1::4/128") }),
      ),
    ];
    lab.groups(list, { web: ["b", "a"] });
    const expected = [...NAMES.slice(1).map((name) => `${name}:80`), "plain:81", "plain:5432"].sort();
    expect(await reach("web")).toEqual(expected);
  });

  test("rules of egress: what a pod begins, by where it goes", async () => {
    const rules = [
      rule({ direction: "egress", protocol: "udp", prefixes: prefixes("10.0.2.2/32", "fd00:2::2/128") }),
      rule({ direction: "egress", protocol: "udp", ports: [{ first: 81, last: 81 }] }),
    ];
    lab.groups([group("web", ...rules)], { web: ["web"] });
    expect(await reach("back", ["web"])).toEqual(all("web"));
    for (const to of ["plain", "remote"]) expect([to, ...(await reach(to, ["web"]))]).toEqual([to, "web:81"]);
  });

  test("both ends have to allow a flow", async () => {
    const list = [
      group("to80", rule({ direction: "egress", protocol: "udp", ports: [{ first: 80, last: 80 }] })),
      group("at81", rule({ direction: "ingress", protocol: "udp", ports: [{ first: 80, last: 81 }] })),
    ];
    lab.groups(list, { web: ["to80"], db: ["at81"], back: ["at81"] });
    expect(await reach("db")).toEqual(
      [...["plain", "more", "back", "client", "remote"].flatMap((n) => [`${n}:80`, `${n}:81`]), "web:80"]
        .filter((one) => !one.startsWith("back"))
        .sort(),
    );
    expect(await reach("back", ["web"])).toEqual(["web:80"]);
  });

  test("answers pass, and errors that belong to a flow", async () => {
    const list = [group("out", rule({ direction: "egress" })), group("in", rule({ direction: "ingress" }))];
    lab.groups(list, { web: ["out"], db: ["in"] });
    using server = Talk.listen(lab.netns("back"), 8001);
    using talk = await Talk.connect(lab.netns("web"), { to: lab.six("back"), port: 8001 });
    talk.say("hello");
    await talk.until("hello");
    expect(server.heard).toEqual(["hello"]);
    for (const to of ["back", "remote", "db"])
      for (const address of [lab.four(to), lab.six(to)]) lab.run("web", `ping -c 1 -W 2 ${address}`);
    // Port unreachable: the flow is the pod's own.
    await expect(Talk.connect(lab.netns("web"), { to: lab.four("back"), port: 8002 })).rejects.toThrow();
    expect(lab.run("web", "ping -c 1 -W 2 -M do -s 1400 10.0.2.2")).toContain("1 received");
    lab.run("here", "ip link set br2 mtu 1300");
    expect(() => lab.run("web", "ping -c 1 -W 1 -M do -s 1400 10.0.2.2")).toThrow();
    expect(lab.run("web", "ip route get 10.0.2.2")).toContain("mtu 1300");
    lab.run("here", "ip link set br2 mtu 1500");
  });

  test("rules for ICMP allow a ping of both families, and nothing else", async () => {
    lab.groups([group("web", rule({ direction: "ingress", protocol: "icmp" }))], { web: ["web"] });
    for (const from of ["plain", "back", "remote"])
      for (const address of [lab.four("web"), lab.six("web")]) lab.run(from, `ping -c 1 -W 2 ${address}`);
    expect(await reach("web")).toEqual([]);
  });

  for (const [name, from, to] of [
    ["bridged", "plain", "web"],
    ["routed", "back", "web"],
    ["from another node", "remote", "web"],
  ] as const)
    test(`running flows end when the rule goes, and go on when it comes back: ${name}`, async () => {
      const allow = [
        group(
          "web",
          rule({ direction: "ingress", protocol: "tcp", ports: [{ first: 8003, last: 8003 }] }),
          rule({ direction: "ingress", protocol: "udp", ports: [{ first: 80, last: 80 }] }),
        ),
      ];
      const members = { web: ["web"] };
      lab.groups(allow, members);
      using server = Talk.listen(lab.netns(to), 8003);
      using talk = await Talk.connect(lab.netns(from), { to: lab.four(to), port: 8003 });
      talk.say("before.");
      await talk.until("before.");
      const flow = { from: lab.four(from), fromPort: 6000, to: lab.four(to), port: 80 };
      sendDatagram(lab.netns(from), { ...flow, text: `${name} before` });
      await inboxOf(to).until(`${name} before`);
      lab.groups([group("web")], members);
      talk.say("meanwhile.");
      sendDatagram(lab.netns(from), { ...flow, text: `${name} meanwhile` });
      // The server's own words end too: they belong to a flow that is no longer allowed.
      sendDatagram(lab.netns(to), {
        from: lab.four(to),
        fromPort: 8004,
        to: lab.four(from),
        port: 80,
        text: `${name} back`,
      });
      if (from === "remote") await resolved("remote");
      await settled(to);
      expect(server.heard.join("")).toBe("before.");
      expect(inboxOf(to).heard.filter((one) => one.startsWith(`${name} meanwhile`))).toEqual([]);
      expect(inboxOf(from).heard.filter((one) => one.startsWith(`${name} back`))).toEqual([]);
      lab.groups(allow, members);
      await talk.until("meanwhile.");
      sendDatagram(lab.netns(from), { ...flow, text: `${name} after` });
      await inboxOf(to).until(`${name} after`);
    });

  test("running flows end when the other one leaves the group that was let in", async () => {
    const list = [
      group("db", rule({ direction: "ingress", groups: ["web"] })),
      group("web", rule({ direction: "egress" })),
    ];
    lab.groups(list, { db: ["db"], web: ["web"], remote: ["web"] });
    using server = Talk.listen(lab.netns("db"), 8005);
    using stays = await Talk.connect(lab.netns("web"), { to: lab.four("db"), port: 8005 });
    using leaves = await Talk.connect(lab.netns("remote"), { to: lab.six("db"), port: 8005 });
    leaves.say("before.");
    await leaves.until("before.");
    lab.groups(list, { db: ["db"], web: ["web"] });
    leaves.say("meanwhile.");
    await resolved("remote");
    stays.say("stays.");
    await stays.until("stays.");
    expect(server.heard.join("")).toBe("before.stays.");
  });

  test("who was let out is not let in by that: a flow keeps its direction over a change", async () => {
    // The pod may begin what it likes; afterwards it may not, and the other end goes on talking.
    lab.groups([group("web", rule({ direction: "egress" }))], { web: ["web"] });
    using web = await Voice.open(lab.netns("web"), lab.four("web"), 7001);
    using plain = await Voice.open(lab.netns("plain"), lab.four("plain"), 7002);
    web.say(plain, "let out");
    await plain.until("let out");
    plain.say(web, "answer");
    await web.until("answer");
    lab.groups([group("web")], { web: ["web"] });
    plain.say(web, "more of it");
    await settled("web");
    lab.groups([group("web", rule({ direction: "egress" }))], { web: ["web"] });
    plain.say(web, "again");
    await web.until("again");
    expect(web.heard).toEqual(["answer", "again"]);
    // As long as it is remembered who began it; then the other end would be who begins.
    lab.forget("here", addresses(lab.four("web")));
    plain.say(web, "out of nowhere");
    web.say(plain, "let out again");
    await plain.until("let out again");
    expect(web.heard).toEqual(["answer", "again"]);
  });

  test("a guarded port hears nothing but what is sent to it, and says nothing under another address", () => {
    lab.groups([group("open", rule({ direction: "ingress" }), rule({ direction: "egress" }))], {
      web: ["open"],
    });
    const open = (name: string) => {
      const [{ ifindex, address }] = lab.json(name, "ip -j link show eth0");
      return { socket: new FrameSocket(lab.netns(name), ifindex), mac: address as string };
    };
    const [web, plain] = [open("web"), open("plain")];
    using sockets = new DisposableStack();
    sockets.use(web.socket);
    sockets.use(plain.socket);
    const frames: [string, typeof web, typeof web, Uint8Array<ArrayBuffer>][] = [];
    const from = (
      who: typeof web,
      to: typeof web,
      name: string,
      mac: string,
      type: number,
      packet: Uint8Array,
    ) => frames.push([name, who, to, ethernet(who.mac, mac, type, packet)]);
    const BROADCAST = "ff:ff:ff:ff:ff:ff";
    from(plain, web, "to it", web.mac, 0x0800, ipv4(lab.four("plain"), lab.four("web"), "1"));
    from(plain, web, "IPv4 broadcast", BROADCAST, 0x0800, ipv4(lab.four("plain"), "10.0.1.255", "2"));
    from(
      plain,
      web,
      "IPv4 multicast",
      "01:00:5e:00:00:fb",
      0x0800,
      ipv4(lab.four("plain"), "224.0.0.251", "3"),
    );
    from(plain, web, "to another at its MAC", web.mac, 0x0800, ipv4(lab.four("plain"), "10.0.1.77", "4"));
    from(
      plain,
      web,
      "ARP",
      BROADCAST,
      0x0806,
      arp(1, { mac: plain.mac, ip: lab.four("plain") }, { mac: "00:00:00:00:00:00", ip: lab.four("web") }),
    );
    from(web, plain, "from it", plain.mac, 0x0800, ipv4(lab.four("web"), lab.four("plain"), "5"));
    from(
      web,
      plain,
      "from its link-local address",
      plain.mac,
      0x86dd,
      icmp6("fe80::2", "fe80::4", { type: 128, body: new Uint8Array(4) }),
    );
    from(
      web,
      plain,
      "neighbour solicitation",
      plain.mac,
      0x86dd,
      icmp6("fe80::2", lab.six("plain"), { type: 135, body: join([0, 0, 0, 0], bytes(lab.six("plain"))) }),
    );
    const arrived = frames.flatMap(([name, sender, receiver, frame]) => {
      sender.socket.send(frame);
      const last = ethernet(
        sender.mac,
        receiver.mac,
        0x0800,
        sender === web
          ? ipv4(lab.four("web"), lab.four("plain"), `end ${name}`)
          : ipv4(lab.four("plain"), lab.four("web"), `end ${name}`),
      );
      sender.socket.send(last);
      let seen = false;
      for (;;) {
        const got = receiver.socket.receive(10_000);
        if (got === undefined) throw new Error(`the honest frame after "${name}" did not arrive`);
        const text = Buffer.from(got);
        if (text.subarray(0, last.length).equals(Buffer.from(last))) return seen ? [name] : [];
        if (text.subarray(0, frame.length).equals(Buffer.from(frame))) seen = true;
      }
    });
    expect(arrived).toEqual(["to it", "ARP", "from it", "neighbour solicitation"]);
  });
});
