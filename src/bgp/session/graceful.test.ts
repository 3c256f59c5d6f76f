/** Graceful restart, both parts, as timelines. */
import { describe, expect, test } from "bun:test";
import { parseIp } from "../../net/mod.ts";
import { bgpError, CEASE, ERROR, EVPN, familyName, IPV4_UNICAST, IPV6_UNICAST } from "../wire/mod.ts";
import { ceaseFor, keepsRoutes } from "./cease.ts";
import { startDeferral, stepDeferral } from "./deferral.ts";
import type { Ended } from "./fsm-event.ts";
import {
  HELPER_DEFAULTS,
  type HelperConfig,
  helperDeadline,
  type HelperEvent,
  type HelperState,
  stepHelper,
} from "./graceful.ts";
import type { Negotiated, PeerRestart } from "./negotiated.ts";

const restart: PeerRestart = {
  restarting: false,
  notification: false,
  restartMs: 120_000,
  families: new Map([
    [IPV4_UNICAST, true],
    [EVPN, true],
  ]),
};

const negotiated = (more: Partial<Negotiated> = {}): Negotiated => ({
  localAs: 65001,
  localId: parseIp("10.0.0.1"),
  remoteAs: 65002,
  remoteId: parseIp("10.0.0.2"),
  external: true,
  as4: true,
  holdMs: 90_000,
  keepaliveMs: 30_000,
  families: new Set([IPV4_UNICAST, EVPN, IPV6_UNICAST]),
  addPathSend: new Set(),
  addPathReceive: new Set(),
  extendedNextHop: new Set(),
  extendedMessagesSend: false,
  extendedMessagesReceive: false,
  refresh: true,
  enhancedRefresh: false,
  restart,
  longLived: new Map(),
  capabilities: [],
  ...more,
});

/** Runs events and returns, for each, what is to be done. */
function timeline(...events: readonly HelperEvent[]): Timeline {
  return timelineOf(HELPER_DEFAULTS, events);
}

interface Timeline {
  readonly done: string[][];
  readonly state: HelperState;
}

function timelineOf(config: HelperConfig, events: readonly HelperEvent[]): Timeline {
  let state: HelperState = new Map();
  const done = events.map((event) => {
    const [next, effects] = stepHelper(state, event, config);
    state = next;
    return effects.map(({ kind, family }) => `${kind} ${familyName(family)}`);
  });
  return { done, state };
}

const down = (nowMs: number, more: Partial<Negotiated> = {}, graceful = true): HelperEvent => ({
  kind: "down",
  nowMs,
  graceful,
  negotiated: negotiated(more),
});
const up = (nowMs: number, more: Partial<Negotiated> = {}): HelperEvent => ({
  kind: "up",
  nowMs,
  negotiated: negotiated(more),
});
const patient = { ...HELPER_DEFAULTS, sweepMs: 8_000, patient: true };

const endOfRib = (nowMs: number, family: number): HelperEvent => ({ kind: "end-of-rib", nowMs, family });
const time = (nowMs: number): HelperEvent => ({ kind: "time", nowMs });

const longLived = new Map([[EVPN, { forwarding: true, staleMs: 3_600_000 }]]);

describe("helper (RFC 4724 section 4.2)", () => {
  test("families of the capability stay as stale until their End-of-RIB; the others go at once", () => {
    const { done, state } = timeline(
      down(0),
      up(5_000),
      endOfRib(6_000, IPV4_UNICAST),
      endOfRib(7_000, EVPN),
      endOfRib(8_000, EVPN),
    );
    expect(done).toEqual([
      ["stale ipv4-unicast", "stale l2vpn-evpn", "flush ipv6-unicast"],
      [],
      ["sweep ipv4-unicast"],
      ["sweep l2vpn-evpn"],
      [],
    ]);
    expect(state.size).toBe(0);
  });

  test("with patience what is stale stays after End-of-RIB, and over another end, until it is over", () => {
    const { done, state } = timelineOf(patient, [
      down(0),
      up(5_000),
      endOfRib(6_000, EVPN),
      down(7_000),
      up(8_000),
      endOfRib(9_000, EVPN),
      endOfRib(9_000, IPV4_UNICAST),
      time(16_999),
      time(17_000),
    ]);
    expect(done.slice(1)).toEqual([
      [],
      [],
      ["stale ipv4-unicast", "stale l2vpn-evpn", "flush ipv6-unicast"],
      ...[[], [], [], []],
      ["sweep ipv4-unicast", "sweep l2vpn-evpn"],
    ]);
    expect(state.size).toBe(0);
  });

  test("with patience a client that is killed again before its End-of-RIB loses nothing; its End-of-RIB is all the same the last word", () => {
    const ofClient = { ...HELPER_DEFAULTS, patient: true };
    const events = [down(0), up(1_000), down(1_200), up(3_000)];
    const kept = ["stale ipv4-unicast", "stale l2vpn-evpn", "flush ipv6-unicast"];
    expect(timelineOf(ofClient, [...events, endOfRib(4_000, EVPN)]).done).toEqual([
      ...[kept, [], kept, []],
      ["sweep l2vpn-evpn"],
    ]);
    // Not for ever: RESUME after the first end there is no more patience.
    const late = HELPER_DEFAULTS.resumeMs + 1;
    expect(
      timelineOf(ofClient, [down(0), up(1_000), down(late - 1_000), up(late - 500), down(late)]).done.at(-1),
    ).toContain("sweep l2vpn-evpn");
  });

  test("with patience, too, the first End-of-RIB decides, however often it comes again", () => {
    const { done } = timelineOf(patient, [
      ...[down(0), up(5_000), endOfRib(6_000, EVPN), endOfRib(10_000, EVPN), time(13_999), time(14_000)],
    ]);
    expect(done.slice(4)).toEqual([[], ["sweep l2vpn-evpn"]]);
  });

  test("with patience, too, a session that ends again and again keeps what was never told again for six minutes only", () => {
    const flaps = Array.from({ length: 61 }, (_, i) => [
      ...[down(i * 6_000), up(i * 6_000 + 1), endOfRib(i * 6_000 + 2, EVPN)],
    ]).flat();
    const { done } = timelineOf(patient, flaps);
    expect(
      done.flatMap((effects, i) => (effects.includes("sweep l2vpn-evpn") ? [flaps[i]?.nowMs] : [])),
    ).toEqual([HELPER_DEFAULTS.resumeMs]);
    // What came since the last end is stale, and stays.
    expect(done[180]).toEqual([
      ...[
        "sweep ipv4-unicast",
        "stale ipv4-unicast",
        "sweep l2vpn-evpn",
        "stale l2vpn-evpn",
        "flush ipv6-unicast",
      ],
    ]);
  });

  test("without grace all goes, what was stale included", () => {
    expect(timeline(down(0), down(1_000, {}, false)).done[1]).toEqual([
      "flush ipv4-unicast",
      "flush l2vpn-evpn",
      "flush ipv6-unicast",
    ]);
  });

  test("a peer that does not come back loses its routes when its restart time is over", () => {
    const { done, state } = timeline(down(0), time(119_999), time(120_000));
    expect(done.slice(1)).toEqual([[], ["sweep ipv4-unicast", "sweep l2vpn-evpn"]]);
    expect(helperDeadline(state)).toBeUndefined();
    // No longer than we want to wait.
    const forever = { restart: { ...restart, restartMs: 4_095_000 } };
    expect(helperDeadline(timeline(down(0, forever)).state)).toBe(HELPER_DEFAULTS.restartMostMs);
  });

  test("back without its forwarding state, without a family, without the capability: swept at once", () => {
    const lost = { restart: { ...restart, families: new Map([[IPV4_UNICAST, false]]) } };
    expect(timeline(down(0), up(1, lost)).done[1]).toEqual(["sweep ipv4-unicast", "sweep l2vpn-evpn"]);
    const { restart: _, ...none } = negotiated();
    expect(timeline(down(0), { kind: "up", nowMs: 1, negotiated: none }).done[1]).toEqual([
      "sweep ipv4-unicast",
      "sweep l2vpn-evpn",
    ]);
  });

  test("a second restart before the first is over: what was stale goes, what had come since is stale", () => {
    expect(timeline(down(0), up(1), down(2)).done[2]).toEqual([
      "sweep ipv4-unicast",
      "stale ipv4-unicast",
      "sweep l2vpn-evpn",
      "stale l2vpn-evpn",
      "flush ipv6-unicast",
    ]);
  });

  test("an End-of-RIB that never comes is waited for six minutes", () => {
    const { done } = timeline(down(0), up(1_000), time(360_999), time(361_000));
    expect(done.slice(2)).toEqual([[], ["sweep ipv4-unicast", "sweep l2vpn-evpn"]]);
  });
});

describe("long-lived stale routes (RFC 9494 section 4.2)", () => {
  test("after the restart time they stay with the last preference, for the stale time", () => {
    const { done } = timeline(down(0, { longLived }), time(120_000), time(3_719_999), time(3_720_000));
    expect(done.slice(1)).toEqual([
      ["sweep ipv4-unicast", "long-lived l2vpn-evpn"],
      [],
      ["sweep l2vpn-evpn"],
    ]);
  });

  test("a family that is in this capability only has no restart time", () => {
    const only = { longLived, restart: { ...restart, families: new Map() } };
    expect(timeline(down(0, only)).done[0]).toEqual([
      "flush ipv4-unicast",
      "stale l2vpn-evpn",
      "flush ipv6-unicast",
      "long-lived l2vpn-evpn",
    ]);
  });

  test("its clock runs on over another session, until End-of-RIB; without the F bit they go", () => {
    const events = [down(0, { longLived }), time(120_000), up(200_000, { longLived })] as const;
    const { done, state } = timeline(...events, down(300_000, { longLived }));
    expect(done[3]).toContain("stale l2vpn-evpn");
    expect(done[3]).toContain("long-lived l2vpn-evpn");
    expect(state.get(EVPN)).toMatchObject({ phase: "long-lived", untilMs: 3_720_000 });
    expect(timeline(...events, endOfRib(210_000, EVPN)).done[3]).toEqual(["sweep l2vpn-evpn"]);
    const cleared = new Map([[EVPN, { forwarding: false, staleMs: 1 }]]);
    expect(timeline(...events.slice(0, 2), up(200_000, { longLived: cleared })).done[2]).toEqual([
      "sweep l2vpn-evpn",
    ]);
  });
});

describe("restarter (RFC 4724 section 4.1)", () => {
  const begun = () =>
    startDeferral({
      nowMs: 0,
      peers: new Map([
        ["a", [IPV4_UNICAST, EVPN]],
        ["b", [EVPN]],
        ["c", [IPV4_UNICAST]],
      ]),
    });

  test("a family is selected when all peers that count have said End-of-RIB", () => {
    const selected: string[] = [];
    let state = begun();
    const take = (event: Parameters<typeof stepDeferral>[1]) => {
      const [next, families] = stepDeferral(state, event);
      state = next;
      selected.push(families.map(familyName).join(" "));
    };
    take({ kind: "up", peer: "a", negotiated: negotiated() });
    // b restarts itself, c cannot: neither is waited for.
    take({ kind: "up", peer: "b", negotiated: negotiated({ restart: { ...restart, restarting: true } }) });
    const { restart: _, ...none } = negotiated();
    take({ kind: "up", peer: "c", negotiated: none });
    take({ kind: "end-of-rib", peer: "a", family: EVPN });
    take({ kind: "end-of-rib", peer: "a", family: IPV4_UNICAST });
    expect(selected).toEqual(["", "", "", "l2vpn-evpn", "ipv4-unicast"]);
    expect(state.families.size).toBe(0);
  });

  test("a peer that is removed, or never comes, is not waited for for ever", () => {
    const [one, none] = stepDeferral(begun(), { kind: "removed", peer: "b" });
    expect(none).toEqual([]);
    expect(stepDeferral(one, { kind: "time", nowMs: 359_999 })[1]).toEqual([]);
    const [last, both] = stepDeferral(one, { kind: "time", nowMs: 360_000 });
    expect(both).toEqual([IPV4_UNICAST, EVPN]);
    expect(last.families.size).toBe(0);
  });
});

describe("which end keeps routes (RFC 8538)", () => {
  const ended = (by: Ended["by"], code?: number, subcode = 0): Ended => ({
    state: "established",
    by,
    text: "",
    ...(code === undefined ? {} : { error: bgpError(code, subcode, { text: "" }) }),
  });
  const both = negotiated({ restart: { ...restart, notification: true } });
  const rows: readonly (readonly [string, Ended, boolean, boolean])[] = [
    ["connection lost", ended("lost"), true, true],
    ["a new connection of a restarted peer", ended("replaced"), true, true],
    ["hold timer expired", ended("sent", ERROR.holdTimer), false, true],
    ["their hold timer expired", ended("received", ERROR.holdTimer), false, true],
    ["an error of an UPDATE", ended("sent", ERROR.update, 1), false, true],
    ["administrative reset", ended("received", ERROR.cease, CEASE.administrativeReset), false, true],
    ["hard reset sent", ended("sent", ERROR.cease, CEASE.hardReset), false, false],
    ["hard reset received", ended("received", ERROR.cease, CEASE.hardReset), false, false],
  ];
  for (const [title, end, plain, withN] of rows)
    test(title, () => {
      expect([keepsRoutes(negotiated(), end), keepsRoutes(both, end)]).toEqual([plain, withN]);
      const { restart: _, ...none } = negotiated();
      expect(keepsRoutes(none, end)).toBe(false);
    });

  test("ceases that end for good become hard resets, with what they were inside", () => {
    const cease = (subcode: number) =>
      bgpError(ERROR.cease, subcode, { text: "", data: new Uint8Array([9]) });
    const sent = (subcode: number, hard?: boolean) => {
      const { subcode: out, data } = ceaseFor(cease(subcode), { negotiated: both, hard });
      return [out, ...data];
    };
    expect(sent(CEASE.administrativeShutdown)).toEqual([9, 6, 2, 9]);
    expect(sent(CEASE.administrativeReset)).toEqual([4, 9]);
    expect(sent(CEASE.administrativeReset, true)).toEqual([9, 6, 4, 9]);
    expect(sent(CEASE.administrativeShutdown, false)).toEqual([2, 9]);
    expect(ceaseFor(cease(2), { negotiated: negotiated() }).subcode).toBe(2);
    expect(ceaseFor(cease(2), { negotiated: undefined }).subcode).toBe(2);
  });
});
