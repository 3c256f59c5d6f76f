import { expect, test } from "bun:test";
import { formatMac, parseIp, parseMac, parsePrefix } from "../../net/mod.ts";
import type { EvpnHost, LocalHost, Originated } from "../evpn/mod.ts";
import {
  attributesOf,
  encodeCanonical,
  type Nlri,
  printExtendedCommunity,
  printNlriWithRd,
} from "../wire/mod.ts";
import { EvpnOrigin } from "./evpn-origin.ts";
import { TargetWishes } from "./target-wishes.ts";
import { WishAnswers } from "./wish-answers.ts";

const MAC = parseMac("02:aa:00:00:00:05");
const IP = parseIp("10.1.0.5");
const vtep = parseIp("10.90.0.1");
const routerMac = parseMac("02:00:00:00:13:88");

/** What is announced, as text, and what was said on the way. */
function world() {
  const routes = new Map<string, string>();
  const said: string[] = [];
  const logged: string[] = [];
  const moved: string[] = [];
  const raised: string[] = [];
  const targets = new Set<string>();
  let nowMs = 0;
  const answers = new WishAnswers(() => nowMs);
  let others: readonly EvpnHost[] = [];
  const announce = ({ nlri, attributes }: Originated) => {
    const { extendedCommunities = [], localPreference } = attributesOf(encodeCanonical(attributes));
    const labels = nlri.kind === "mac-ip" ? (nlri.labels ?? []).join(",") : "";
    const communities = extendedCommunities
      .map(printExtendedCommunity)
      .filter((text) => !text.startsWith("ET"));
    routes.set(
      printNlriWithRd(nlri),
      [labels, ...communities, localPreference ?? ""].filter((part) => part !== "").join(" "),
    );
    said.push(`+ ${printNlriWithRd(nlri)}`);
  };
  const withdraw = (nlri: Nlri) => {
    routes.delete(printNlriWithRd(nlri));
    said.push(`- ${printNlriWithRd(nlri)}`);
  };
  const wishes = new TargetWishes({
    asn: 64512,
    announce: (nlri) => void targets.add(printNlriWithRd(nlri)),
    withdraw: (nlri) => void targets.delete(printNlriWithRd(nlri)),
    onChange: () => {},
    answers,
  });
  const origin = new EvpnOrigin({
    asn: 64512,
    routerId: vtep,
    wishes,
    answers,
    announce,
    withdraw,
    others: () => others,
    onHosts: () => {},
    onMoved: (vni, mac) =>
      void moved.push(`${vni} ${formatMac(mac)} ${origin.isElsewhere(vni, mac) ? "elsewhere" : "here"}`),
    onRaised: (_, mac, sequence) => void raised.push(`${formatMac(mac)} ${sequence}`),
    log: (event) => void logged.push(event),
    nowMs: () => nowMs,
  });
  return {
    origin,
    routes,
    logged,
    moved,
    raised,
    targets,
    wishes,
    /** What was said since it was asked last. */
    said: () => said.splice(0),
    answers,
    later: (ms: number) => (nowMs += ms),
    others: (...hosts: readonly Partial<EvpnHost>[]) => {
      others = hosts.map((host) => ({
        kind: "host",
        vni: 300,
        targets: ["64512:300"],
        vtep: parseIp("10.90.0.2"),
        mac: MAC,
        sequence: 0,
        sticky: false,
        ...host,
      }));
      origin.contest(MAC);
    },
  };
}
type World = ReturnType<typeof world>;

const segment = { vni: 300, vtep, flood: true };
const held = ({ routes }: World) => [...routes].find(([name]) => name.includes("02:aa:00:00:00:05"))?.[1];

function withHost(claim?: LocalHost["claim"]): World {
  const made = world();
  made.origin.setSegment(segment);
  made.origin.setHost(300, { mac: MAC, ip: IP, ...(claim === undefined ? {} : { claim }) });
  return made;
}

test("a change costs itself: a host more or less says nothing of the others", () => {
  const { origin, said, targets } = withHost();
  const mac = parseMac("02:aa:00:00:00:06");
  said();
  origin.setHost(300, { mac });
  expect(said().length).toBe(1);
  // Said again, it is nothing new.
  origin.setHost(300, { mac });
  origin.setSegment({ ...segment });
  expect(said()).toEqual([]);
  origin.removeHost(300, { mac });
  origin.removeHost(300, { mac });
  expect(said().length).toBe(1);
  expect([...targets].length).toBe(1);
  origin.removeSegment(300);
  expect(said().every((text) => text.startsWith("- "))).toBe(true);
  expect([...targets]).toEqual([]);
});

test("hosts have the L3VNI's label, targets and router as long as it is active", () => {
  const made = world();
  const { origin, routes } = made;
  origin.setSegment({ ...segment, l3vni: 5000 });
  origin.setHost(300, { mac: MAC, ip: IP });
  expect(held(made)).toBe("300 RT:64512:300");
  origin.setRouting({ vni: 5000, vtep, routerMac });
  expect(held(made)).toBe("300,5000 RT:64512:300 RT:64512:5000 Rmac:02:00:00:00:13:88");
  origin.setPrefix(5000, { prefix: parsePrefix("10.1.0.0/24"), localPreference: 200 });
  expect([...routes].find(([name]) => name.includes("10.1.0.0"))?.[1]).toContain(" 200");
  origin.removeRouting(5000);
  expect(held(made)).toBe("300 RT:64512:300");
  expect([...routes.keys()].some((name) => name.includes("10.1.0.0"))).toBe(false);
});

test("other targets, and another distinguisher, leave nothing of the former ones", () => {
  const made = withHost();
  const { origin, routes, targets } = made;
  origin.setSegment({
    ...segment,
    exportTargets: ["64512:77"],
    importTargets: ["64512:77"],
    rd: "10.90.0.1:9",
  });
  expect(held(made)).toBe("300 RT:64512:77");
  expect(routes.size).toBe(2);
  expect([...routes.keys()].every((name) => name.includes("10.90.0.1:9"))).toBe(true);
  expect(targets.size).toBe(1);
});

test("two VNIs that would have one distinguisher have two", () => {
  const { origin, routes } = world();
  origin.setSegment({ ...segment, vni: 65_535 });
  origin.setSegment({ ...segment, vni: 1024 * 100 });
  expect(new Set([...routes.keys()]).size).toBe(2);
});

test("what is not active cannot be announced, and is not there to be taken back", () => {
  const { origin, said } = world();
  expect(() => origin.setHost(300, { mac: MAC })).toThrow("02:aa:00:00:00:05 in VNI 300: it is not active");
  expect(() => origin.setPrefix(5000, { prefix: parsePrefix("10.1.0.0/24") })).toThrow("in VNI 5000");
  origin.removeHost(300, { mac: MAC });
  origin.removeSegment(300);
  origin.removeRouting(5000);
  origin.removePrefix(5000, parsePrefix("10.1.0.0/24"));
  expect(said()).toEqual([]);
});

test("an address that came now has one sequence more than where it was", () => {
  const made = withHost();
  made.others({ sequence: 4 });
  expect(held(made)).toBe("300 RT:64512:300 MM:5");
});

test("an address that came is given up for one that came later, however soon", () => {
  const made = world();
  made.origin.setSegment(segment);
  made.later(60_000);
  made.others({ sequence: 3 });
  made.origin.setHost(300, { mac: MAC, ip: IP });
  expect(held(made)).toBe("300 RT:64512:300 MM:4");
  made.others({ sequence: 5 });
  expect(held(made)).toBeUndefined();
});

test("what comes after the answer to a segment's wish is newer than what came to it", async () => {
  const made = withHost();
  const { origin, answers } = made;
  const neighbor = {};
  answers.up(neighbor);
  // It is on its way, and not answered: this was there before.
  made.others({ sequence: 3 });
  expect(held(made)).toBe("300 RT:64512:300 MM:4");
  const loaded = origin.loaded(300);
  answers.endOfRib(neighbor);
  answers.told();
  await loaded;
  // A moment later it moves away.
  made.others({ sequence: 5 });
  expect(held(made)).toBeUndefined();
  // A wish that is taken back is answered too, which is no answer to the next one.
  origin.setSegment({ ...segment, vni: 299 });
  origin.removeSegment(299);
  answers.sent();
  // Another segment has its own wish, and its own answer.
  origin.setSegment({ ...segment, vni: 301 });
  origin.setHost(301, { mac: MAC, ip: IP });
  answers.sent();
  answers.endOfRib(neighbor);
  answers.told();
  made.others({ sequence: 9, targets: ["64512:301"] });
  expect(held(made)).toBe("301 RT:64512:301 MM:10");
});

test("an address that went away is not announced, and is again when the other is gone", () => {
  const made = withHost();
  made.later(60_000);
  made.others({ sequence: 0 });
  // A tie: the lowest VTEP wins everywhere.
  expect(held(made)).toBe("300 RT:64512:300");
  made.others({ sequence: 1 });
  expect(held(made)).toBeUndefined();
  expect(made.origin.isElsewhere(300, MAC)).toBe(true);
  made.others();
  expect(held(made)).toBe("300 RT:64512:300");
  expect(made.origin.isElsewhere(300, MAC)).toBe(false);
  expect(made.moved).toEqual(["300 02:aa:00:00:00:05 elsewhere", "300 02:aa:00:00:00:05 here"]);
});

test("an address that was here before this process gives way at once", () => {
  const made = withHost("known");
  made.others({ sequence: 1 });
  expect(held(made)).toBeUndefined();
});

test("an address keeps the sequence that it had before this process: an older claim elsewhere does not win", () => {
  const made = world();
  made.origin.setSegment(segment);
  made.origin.setHost(300, { mac: MAC, ip: IP, claim: "known", sequence: 5 });
  expect(held(made)).toBe("300 RT:64512:300 MM:5");
  made.others({ sequence: 4 });
  expect(held(made)).toBe("300 RT:64512:300 MM:5");
  expect(made.raised).toEqual([]);
  made.others({ sequence: 6 });
  expect(held(made)).toBeUndefined();
});

test("who keeps sequences is told of each that rises", () => {
  const made = withHost();
  made.others({ sequence: 4 });
  made.others({ sequence: 4 });
  expect(made.raised).toEqual(["02:aa:00:00:00:05 5"]);
});

test("one of a manifest holds, until it is a duplicate, of which people are told once", () => {
  const made = withHost("always");
  made.later(60_000);
  for (let sequence = 0; sequence < 10; sequence++) made.others({ sequence });
  expect(held(made)).toBe("300 RT:64512:300 MM:4");
  expect(made.logged).toEqual(["evpn address is a duplicate: it is here and elsewhere"]);
});

test("another segment's address is none of ours; a sticky one elsewhere is told of", () => {
  const made = withHost();
  made.others({ sequence: 9, targets: ["64512:301"] });
  expect(held(made)).toBe("300 RT:64512:300");
  made.others({ sticky: true });
  expect(held(made)).toBe("300 RT:64512:300");
  expect(made.logged).toEqual(["evpn address is sticky elsewhere"]);
});

test("a target is asked for as long as somebody imports it", () => {
  const { origin, wishes, targets } = world();
  const shared = ["64512:9"];
  origin.setSegment({ ...segment, importTargets: shared });
  origin.setRouting({ vni: 5000, vtep, routerMac, importTargets: shared });
  origin.removeSegment(300);
  expect(wishes.has(shared)).toBe(true);
  expect(targets.size).toBe(1);
  origin.removeRouting(5000);
  expect(wishes.has(shared)).toBe(false);
  expect(targets.size).toBe(0);
});
