/** Peerings: three domains on a node in a row; what the prefixes of a peering let through, and that nobody gets further than next door. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import {
  type Domain,
  type DomainPeering,
  peeringEnds,
  peeringObjects,
  serviceRuleset,
} from "../../src/domain/mod.ts";
import { parsePrefix } from "../../src/net/mod.ts";
import { Inbox, sendDatagram } from "../support/datagrams.ts";
import { DomainWorld, Talk, Voice } from "../support/domain-world.ts";
import { tenant } from "../support/gateway-world.ts";
import { Answerer, askTcp, askUdp } from "../support/port-traffic.ts";
import { lacksTool, notRoot } from "../support/scratch.ts";
import { sourcesOf } from "../support/sources.ts";

setDefaultTimeout(15_000);
const cannot = notRoot ?? lacksTool("nft");
const suffix = cannot === undefined ? "" : ` (skipped: ${cannot})`;

/** The whole of domain 300 is 10.3.0.0/16 and fd03::/16, and so on. */
function range(vni: number): string[] {
  return [`10.${vni / 100}.0.0/16`, `fd0${vni / 100}::/16`];
}

function peering(vni: number, prefixes = range(vni)): DomainPeering {
  return { with: vni, prefixes: prefixes.map((text) => parsePrefix(text)) };
}

type Peerings = Readonly<Record<number, readonly DomainPeering[]>>;

describe.skipIf(cannot !== undefined)(`domains: peerings${suffix}`, () => {
  let lab: DomainWorld;
  const listeners: Disposable[] = [];
  const inboxes = new Map<string, Inbox>();

  beforeAll(async () => {
    lab = new DomainWorld();
    for (const vni of [300, 400, 500]) {
      const x = vni / 100;
      lab.router(`${vni}`);
      for (const subnet of [1, 2]) {
        lab.bridge(`${vni}`, `br${subnet}`, `10.${x}.${subnet}.1/24`, `fd0${x}:${subnet}::1/64`);
        const addresses = [`10.${x}.${subnet}.5/24`, `fd0${x}:${subnet}::5/64`];
        const name = `pod${x}${subnet}`;
        lab.pod(name, { domain: `${vni}`, bridge: `br${subnet}`, addresses });
        listeners.push(await Answerer.open(lab.netns(name), name, [80]));
        const inbox = await Inbox.open(lab.netns(name), [["::", 9000]]);
        inboxes.set(name, inbox);
        listeners.push(inbox);
      }
      lab.run(`${vni}`, "ip route add unreachable default metric 4278198272");
    }
    peer({ 300: [peering(400)], 400: [peering(300), peering(500)], 500: [peering(400)] });
  });
  afterAll(() => {
    for (const one of listeners) one[Symbol.dispose]();
    lab?.[Symbol.dispose]();
  });

  /** Makes exactly these peerings true. */
  function peer(peerings: Peerings): void {
    const domains = new Map<number, Domain>(
      [300, 400, 500].map((vni) => [vni, { ...tenant(vni, range(vni)), peerings: peerings[vni] ?? [] }]),
    );
    const netnsOf = (vni: number) => lab.netns(`${vni}`);
    const wanted = [...domains.values()].map((domain) => [domain, peeringEnds(domain, domains)] as const);
    // What goes, goes first at both ends.
    for (const [{ vni }, ends] of wanted)
      for (const scope of lab.engine(`${vni}`).scopes())
        if (scope.startsWith("peering/") && !ends.some(({ other }) => scope === `peering/${other}`))
          lab.engine(`${vni}`).remove(scope);
    for (const [{ vni }] of wanted) lab.engine(`${vni}`).apply();
    for (const [domain, ends] of wanted) {
      const text = serviceRuleset({ domain, peerings: ends, groupLists: [], groups: new Map() });
      lab.set(`${domain.vni}`, "rules", text === "" ? [] : [{ kind: "ruleset", family: "inet", text }]);
      for (const end of ends)
        lab.set(`${domain.vni}`, `peering/${end.other}`, peeringObjects(end, { mtuBytes: 1400, netnsOf }));
    }
  }

  const both = (name: string) => {
    const [x, subnet] = [name.at(-2), name.at(-1)];
    return [`10.${x}.${subnet}.5`, `fd0${x}:${subnet}::5`];
  };

  /** Which pods of others a pod reaches by datagram, IPv4 and IPv6. */
  async function reach(from: string): Promise<string[]> {
    const out: string[] = [];
    for (const [to, inbox] of inboxes) {
      if (to === from) continue;
      inbox.heard.length = 0;
      for (const address of both(to))
        sendDatagram(lab.netns(from), { to: address, port: 9000, text: `${from} to ${address}` });
      const domain = lab.netns(`${Number(to.at(-2)) * 100}`);
      sendDatagram(domain, { to: both(to)[0] as string, port: 9000, text: "end" });
      await inbox.until("end");
      const found = inbox.heard.length - 1;
      if (found > 0) out.push(`${to}${found === 2 ? "" : ` only ${inbox.heard}`}`);
    }
    return out;
  }

  test("peered domains reach each other, by their own addresses; nobody reaches further than next door", async () => {
    expect(await reach("pod31")).toEqual(["pod32", "pod41", "pod42"]);
    expect(await reach("pod41")).toEqual(["pod31", "pod32", "pod42", "pod51", "pod52"]);
    expect(await reach("pod52")).toEqual(["pod41", "pod42", "pod51"]);
    for (const to of both("pod42")) {
      const question = { from: lab.netns("pod31"), to, port: 80 };
      const sees = `pod42 sees ${both("pod31")[to.includes(":") ? 1 : 0]}`;
      expect([await askTcp(question), await askUdp(question)]).toEqual([sees, sees]);
    }
  });

  test("a route by hand to the domain after next is of no use", async () => {
    for (const [family, route] of [
      ["-4", "10.5.0.0/16 via 169.254.0.1"],
      ["-6", "fd05::/16 via fe80::1"],
    ])
      lab.run("300", `ip ${family} route add ${route} dev cwp400 onlink`);
    using sources = sourcesOf(lab, "500", "cwp400");
    expect(await reach("pod31")).toEqual(["pod32", "pod41", "pod42"]);
    expect(await reach("pod41")).toEqual(["pod31", "pod32", "pod42", "pod51", "pod52"]);
    expect(sources.seen()).toEqual(both("pod41").sort());
    for (const [family, route] of [
      ["-4", "10.5.0.0/16"],
      ["-6", "fd05::/16"],
    ])
      lab.run("300", `ip ${family} route del ${route}`);
  });

  test("nor are prefixes that are written too wide: what came by one peering does not leave by another", async () => {
    peer({
      300: [peering(400, ["10.4.0.0/15"])],
      400: [peering(300, ["10.3.0.0/16"]), peering(500, ["10.5.0.0/16"])],
      500: [peering(400, ["10.2.0.0/15", "10.4.0.0/16"])],
    });
    using sources = sourcesOf(lab, "500", "cwp400");
    sendDatagram(lab.netns("pod31"), { to: "10.5.1.5", port: 9000, text: "through" });
    sendDatagram(lab.netns("pod41"), { to: "10.5.1.5", port: 9000, text: "next door" });
    const inbox = inboxes.get("pod51") as Inbox;
    await inbox.until("next door");
    expect(inbox.heard.filter((one) => one.startsWith("through"))).toEqual([]);
    expect(sources.seen()).toEqual(["10.4.1.5"]);
  });

  test("only the prefixes of the peering pass, both ways, and to nothing else that is there", async () => {
    // Of 400 only its second subnet is to be had.
    const some = ["10.4.2.0/24", "fd04:2::/64"];
    peer({ 300: [peering(400, some)], 400: [peering(300)] });
    expect(await reach("pod31")).toEqual(["pod32", "pod42"]);
    expect(await reach("pod42")).toEqual(["pod31", "pod32", "pod41"]);
    expect(await reach("pod41")).toEqual(["pod42"]);
    // Who has the routes all the same is stopped by the rules.
    lab.run("300", "ip route add 10.4.1.0/24 via 169.254.0.1 dev cwp400 onlink");
    lab.run("400", "ip address add 10.4.9.9/32 dev lo");
    lab.run("300", "ip route add 10.4.9.9/32 via 169.254.0.1 dev cwp400 onlink");
    expect(await reach("pod31")).toEqual(["pod32", "pod42"]);
    using router = await Inbox.open(lab.netns("400"), [["::", 9000]]);
    for (const to of ["10.4.1.1", "10.4.9.9"])
      sendDatagram(lab.netns("pod31"), { to, port: 9000, text: `to ${to}` });
    sendDatagram(lab.netns("pod41"), { to: "10.4.1.1", port: 9000, text: "end" });
    await router.until("end");
    expect(router.heard).toEqual(["end from 10.4.1.5"]);
    lab.run("300", "ip route del 10.4.1.0/24");
    lab.run("300", "ip route del 10.4.9.9/32");
  });

  test("a peering that only one side wants is none", async () => {
    peer({ 300: [peering(400)] });
    expect(await reach("pod31")).toEqual(["pod32"]);
    expect(lab.run("300", "ip -br link").includes("cwp")).toBe(false);
    expect(lab.run("400", "ip -br link").includes("cwp")).toBe(false);
    expect(lab.run("300", "nft list tables").trim()).toBe("");
  });

  test("running flows end when the peering goes, or loses their prefix", async () => {
    const whole = { 300: [peering(400)], 400: [peering(300)] };
    for (const after of [{}, { 300: [peering(400, ["10.4.1.0/24", "fd04:1::/64"])], 400: [peering(300)] }]) {
      peer(whole);
      using server = Talk.listen(lab.netns("pod42"), 8001);
      using talk = await Talk.connect(lab.netns("pod31"), { to: "10.4.2.5", port: 8001 });
      using there = await Voice.open(lab.netns("pod42"), "10.4.2.5", 7001);
      using here = await Voice.open(lab.netns("pod31"), "10.3.1.5", 7001);
      talk.say("before.");
      await talk.until("before.");
      here.say(there, "before");
      await there.until("before");
      peer(after);
      talk.say("meanwhile.");
      here.say(there, "meanwhile");
      there.say(here, "back");
      expect(await reach("pod31")).not.toContain("pod42");
      expect([server.heard.join(""), ...there.heard, ...here.heard]).toEqual(["before.", "before"]);
      peer(whole);
      await talk.until("meanwhile.");
    }
  });

  test("a packet that is too big for the peering is told so, and the error gets through", async () => {
    peer({ 300: [peering(400)], 400: [peering(300)] });
    for (const [address, size] of [
      ["10.4.2.5", 1450],
      ["fd04:2::5", 1430],
    ] as const) {
      expect(() => lab.run("pod31", `ping -c 1 -W 1 -M do -s ${size} ${address}`)).toThrow();
      expect(lab.run("pod31", `ip route get ${address}`)).toContain("mtu 1400");
    }
    // Behind the peering too: there the error is the other domain's.
    lab.run("400", "ip link set br2 mtu 1300");
    expect(() => lab.run("pod31", "ping -c 1 -W 1 -M do -s 1350 10.4.2.5")).toThrow();
    expect(lab.run("pod31", "ip route get 10.4.2.5")).toContain("mtu 1300");
    lab.run("400", "ip link set br2 mtu 1500");
  });
});
