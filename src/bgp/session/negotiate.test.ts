/** What two OPENs agree on, and which are refused with which subcode. */
import { describe, expect, test } from "bun:test";
import { parseIp } from "../../net/mod.ts";
import {
  decodeOpen,
  encodeOpen,
  EVPN,
  errorName,
  IPV4_UNICAST,
  IPV6_UNICAST,
  type Open,
} from "../wire/mod.ts";
import { localOpen, negotiate, peerConfig, type Role, type SessionConfig } from "./negotiate.ts";
import type { Negotiated } from "./negotiated.ts";

const ours: SessionConfig = {
  localAs: 4_200_000_001,
  remoteAs: 65002,
  routerId: parseIp("10.0.0.1"),
  holdMs: 90_000,
  families: [
    {
      family: IPV4_UNICAST,
      addPath: "receive",
      extendedNextHop: true,
      restart: true,
      longLivedMs: 3_600_000,
    },
    { family: EVPN, restart: true },
  ],
  restart: { restartMs: 120_000, notification: true },
  extendedMessages: true,
  hostname: "a",
  software: "causeway 1",
};
const theirs: SessionConfig = {
  ...ours,
  localAs: 65002,
  remoteAs: 4_200_000_001,
  routerId: parseIp("10.0.0.2"),
  families: [
    { family: IPV4_UNICAST, addPath: "send", extendedNextHop: true, restart: true, longLivedMs: 60_000 },
    { family: IPV6_UNICAST },
  ],
};

/** As it comes off the wire. */
function opened(config: SessionConfig, restarted?: Parameters<typeof localOpen>[1]): Open {
  const bytes = encodeOpen(localOpen(config, restarted));
  const result = decodeOpen(bytes, 19, bytes.length);
  if ("error" in result) throw new Error(result.error.text);
  return result.open;
}

/** The outcome, or the error's name. */
function outcome(open: Open, config = ours): Negotiated | string {
  const result = negotiate(open, config);
  return "subcode" in result ? errorName(result.code, result.subcode) : result;
}

const agreed = (open: Open, config = ours) => {
  const result = outcome(open, config);
  if (typeof result === "string") throw new Error(result);
  return result;
};

describe("negotiate", () => {
  test("what both sides can", () => {
    const result = agreed(opened(theirs, { forwarding: new Set([IPV4_UNICAST]) }));
    expect(result).toMatchObject({
      localAs: 4_200_000_001,
      remoteAs: 65002,
      external: true,
      as4: true,
      holdMs: 90_000,
      keepaliveMs: 30_000,
      extendedMessagesSend: true,
      extendedMessagesReceive: true,
      refresh: true,
      enhancedRefresh: true,
      hostname: "a",
      software: "causeway 1",
    });
    expect(result.families).toEqual(new Set([IPV4_UNICAST]));
    // They send path identifiers, and we take them.
    expect(result.addPathReceive).toEqual(new Set([IPV4_UNICAST]));
    expect(result.addPathSend).toEqual(new Set());
    expect(result.extendedNextHop).toEqual(new Set([IPV4_UNICAST]));
    expect(result.restart).toEqual({
      restarting: true,
      notification: true,
      restartMs: 120_000,
      families: new Map([[IPV4_UNICAST, true]]),
    });
    expect(result.longLived).toEqual(new Map([[IPV4_UNICAST, { forwarding: true, staleMs: 60_000 }]]));
  });

  test("after the first session there is no restart, and packets went on (RFC 4724 section 3)", () => {
    const forwarding = new Set([IPV4_UNICAST]);
    const { restart, longLived } = agreed(opened(theirs, { forwarding, over: true }));
    expect(restart).toMatchObject({ restarting: false, families: new Map([[IPV4_UNICAST, true]]) });
    expect(longLived.get(IPV4_UNICAST)?.forwarding).toBe(true);
  });

  test("a speaker of RFC 4271 alone: IPv4 unicast, two-octet AS numbers, no refresh", () => {
    const open: Open = { as: 65002, holdSeconds: 0, routerId: parseIp("10.0.0.2"), capabilities: [] };
    const result = agreed(open);
    expect(result).toMatchObject({ as4: false, refresh: false, enhancedRefresh: false, holdMs: 0 });
    expect(result).toMatchObject({ extendedMessagesSend: false, extendedMessagesReceive: true });
    expect(result.families).toEqual(new Set([IPV4_UNICAST]));
    expect(result.restart).toBeUndefined();
    expect(result.longLived.size).toBe(0);
  });

  test("the lower hold time, and a third of it between keepalives", () => {
    const hold = (holdMs: number, keepaliveMs?: number) => {
      const config = keepaliveMs === undefined ? ours : { ...ours, keepaliveMs };
      const result = agreed(opened({ ...theirs, holdMs }), config);
      return [result.holdMs, result.keepaliveMs];
    };
    expect([hold(9_000), hold(900_000), hold(3_000), hold(90_000, 10_000)]).toEqual([
      [9_000, 3_000],
      [90_000, 30_000],
      [3_000, 1_000],
      [90_000, 10_000],
    ]);
  });

  test("who is refused", () => {
    const open = opened(theirs);
    expect(outcome({ ...open, as: 65003 })).toBe("OPEN message error: bad peer AS");
    expect(outcome(open, { ...ours, remoteAs: "internal" })).toBe("OPEN message error: bad peer AS");
    expect(typeof outcome(open, { ...ours, remoteAs: "external" })).toBe("object");
    const internal = { ...ours, remoteAs: "internal" } as const;
    expect(agreed({ ...open, as: ours.localAs }, internal).external).toBe(false);
    const twin = { ...open, as: ours.localAs, routerId: ours.routerId };
    expect(outcome(twin, internal)).toBe("OPEN message error: bad BGP identifier");
    // RFC 6286: in another AS the same identifier is fine.
    expect(typeof outcome({ ...open, routerId: ours.routerId })).toBe("object");
  });

  test("no family in common: the data lists what we wanted", () => {
    const result = negotiate(opened({ ...theirs, families: [{ family: IPV6_UNICAST }] }), ours);
    expect(result).toMatchObject({ code: 2, subcode: 7 });
    expect(Buffer.from((result as unknown as { data: Uint8Array }).data).toString("hex")).toBe(
      "010400010001010400190046",
    );
  });

  test("roles face each other (RFC 9234 section 4.2)", () => {
    const roles: readonly Role[] = ["provider", "route-server", "route-server-client", "customer", "peer"];
    const fits = roles.map((role) =>
      roles.filter(
        (other) => typeof outcome(opened({ ...theirs, role: other }), { ...ours, role }) === "object",
      ),
    );
    expect(fits).toEqual([["customer"], ["route-server-client"], ["route-server"], ["provider"], ["peer"]]);
    expect(outcome(opened({ ...theirs, role: "peer" }), { ...ours, role: "customer" })).toBe(
      "OPEN message error: role mismatch",
    );
    expect(typeof outcome(opened(theirs), { ...ours, role: "peer" })).toBe("object");
    expect(outcome(opened(theirs), { ...ours, role: "peer", strictRole: true })).toBe(
      "OPEN message error: role mismatch",
    );
  });

  test("without graceful restart of ours, theirs means nothing", () => {
    const { restart: _, ...plain } = ours;
    const result = agreed(opened(theirs), plain);
    expect([result.restart, result.longLived.size]).toEqual([undefined, 0]);
  });

  test("the send hold time is eight minutes, or twice the hold time (RFC 9687 section 6)", () => {
    expect(peerConfig(ours).sendHoldMs).toBe(480_000);
    expect(peerConfig({ ...ours, holdMs: 600_000 }).sendHoldMs).toBe(1_200_000);
    expect(peerConfig(ours, { sendHoldMs: 0 }).sendHoldMs).toBe(0);
  });
});
