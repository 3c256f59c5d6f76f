import { expect, test } from "bun:test";
import type { Speaker } from "../bgp/mod.ts";
import { Rib } from "../bgp/rib/mod.ts";
import { SpeakerEvpn } from "../bgp/speaker/evpn.ts";
import { printNlriWithRd } from "../bgp/wire/mod.ts";
import type { Domain, LocalAttachment } from "../domain/mod.ts";
import { parseInterfaceAddress, parseIp, parseMac, parsePrefix } from "../net/mod.ts";
import { VpcAnnouncer } from "./vpc-announcer.ts";

const targets = { importTargets: ["64512:5000"], exportTargets: ["64512:5000"] };
const segment = {
  name: "red-1",
  vni: 5001,
  prefixes: [parsePrefix("10.1.0.0/24")],
  gateways: [parseInterfaceAddress("10.1.0.1/24")],
  gatewayMac: parseMac("02:00:00:00:00:01"),
  ...targets,
};
const domain: Domain = { name: "red", vni: 5000, routing: targets, segments: [segment], peerings: [] };
const active = [{ domain, segments: [segment], prefixes: [] }];
const vtep = { address: parseIp("10.90.0.1"), routerMac: parseMac("02:00:00:00:13:88") };
const pod: LocalAttachment = {
  id: "pod",
  ifname: "eth0",
  domain: 5000,
  segment: 5001,
  mac: parseMac("02:aa:00:00:00:05"),
  addresses: [parseIp("10.1.0.5")],
  mtuBytes: 1400,
  defaultRoute: true,
  groups: [],
};

/** EVPN of a speaker without sessions, the hosts that it announces, and how often anything was announced or withdrawn. */
function speaker() {
  const routes = new Set<string>();
  let changes = 0;
  let sequence = 0;
  const evpn = new SpeakerEvpn({
    rib: new Rib({ own: { asn: 64512, routerId: 1, clusterId: 1 } }),
    router: { asn: 64512, routerId: vtep.address },
    announce: (nlri, { extendedCommunities = [] }) => {
      changes++;
      routes.add(printNlriWithRd(nlri));
      for (const one of extendedCommunities) if (one.kind === "mac-mobility") sequence = one.sequence;
    },
    withdraw: (nlri) => {
      changes++;
      routes.delete(printNlriWithRd(nlri));
    },
    log: () => {},
    onWork: () => {},
  });
  const hosts = () => [...routes].filter((route) => route.includes("02:aa:00:00:00:05")).length;
  const takeChanges = () => {
    const count = changes;
    changes = 0;
    return count;
  };
  return {
    hosts,
    takeChanges,
    sequence: () => sequence,
    routes: () => [...routes].sort(),
    speaker: { evpn } as Speaker,
  };
}

test("a pod whose Subnet is gone is no reason for BGP not to start, and is told when it is there again", () => {
  const announcer = new VpcAnnouncer();
  announcer.setHost(pod, { claim: "known" });
  const { hosts, speaker: first } = speaker();
  announcer.setSpeaker(first);
  expect(hosts()).toBe(0);
  announcer.setDomains(active, vtep);
  expect(hosts()).toBe(1);
  announcer.setDomains([], vtep);
  expect(hosts()).toBe(0);
  announcer.setDomains(active, vtep);
  expect(hosts()).toBe(1);
});

test("an address that two attachments have is told until both are gone", () => {
  const announcer = new VpcAnnouncer();
  const { hosts, speaker: evpn } = speaker();
  announcer.setSpeaker(evpn);
  announcer.setDomains(active, vtep);
  announcer.setHost(pod, { claim: "arrived" });
  announcer.setHost({ ...pod, id: "next" }, { claim: "arrived" });
  announcer.removeHost("pod");
  expect(hosts()).toBe(1);
  announcer.removeHost("next");
  expect(hosts()).toBe(0);
});

test("an address is announced with the sequence that it had, by whatever speaker comes", () => {
  const announcer = new VpcAnnouncer();
  announcer.setDomains(active, vtep);
  announcer.setHost(pod, { claim: "known", sequence: 5 });
  const first = speaker();
  announcer.setSpeaker(first.speaker);
  expect(first.sequence()).toBe(5);
  announcer.raise(5001, pod.mac, 7);
  announcer.raise(6001, pod.mac, 9);
  const second = speaker();
  announcer.setSpeaker(second.speaker);
  expect(second.sequence()).toBe(7);
});

test("a speaker in the place of another is told all that there is", () => {
  const announcer = new VpcAnnouncer();
  announcer.setDomains(active, vtep);
  const first = speaker();
  announcer.setSpeaker(first.speaker);
  announcer.setHost(pod, { claim: "arrived" });
  expect(first.hosts()).toBe(1);
  const second = speaker();
  announcer.setSpeaker(second.speaker);
  expect(second.hosts()).toBe(1);
  announcer.removeHost("pod");
  expect(second.hosts()).toBe(0);
  const third = speaker();
  announcer.setSpeaker(third.speaker);
  expect(third.hosts()).toBe(0);
});

/** A domain with one segment, by number. */
function another(number: number, prefixes = segment.prefixes): (typeof active)[number] {
  const vni = 6000 + 2 * number;
  const one = { ...segment, name: `s${number}`, vni: vni + 1, prefixes };
  return { domain: { ...domain, name: `d${number}`, vni, segments: [one] }, segments: [one], prefixes: [] };
}

test("a domain more tells of itself only, and what is told is that of somebody who hears it all at once", () => {
  const announcer = new VpcAnnouncer();
  const told = speaker();
  announcer.setSpeaker(told.speaker);
  let here: (typeof active)[number][] = [];
  const all = () => {
    const whole = new VpcAnnouncer();
    const other = speaker();
    whole.setSpeaker(other.speaker);
    whole.setDomains(here, vtep);
    return other.routes();
  };
  const costs: number[] = [];
  for (let number = 0; number < 50; number++) {
    here = [...here, another(number)];
    announcer.setDomains(here, vtep);
    costs.push(told.takeChanges());
  }
  expect(new Set(costs.slice(1)).size).toBe(1);
  expect(told.routes()).toEqual(all());
  // One changes its prefixes, one is not active any more, and a segment moves to another domain.
  const moved = another(9);
  const heir = { ...moved, domain: { ...moved.domain, vni: 7000, name: "heir" } };
  here = here.filter((_, index) => index !== 7 && index !== 9);
  here[3] = another(3, [parsePrefix("10.9.0.0/24")]);
  here = [...here, heir];
  announcer.setDomains(here, vtep);
  expect(told.takeChanges()).toBeLessThan(20);
  expect(told.routes()).toEqual(all());
  announcer.setDomains(here, vtep);
  expect(told.takeChanges()).toBe(0);
  announcer.setDomains([], vtep);
  expect(told.routes()).toEqual([]);
});
