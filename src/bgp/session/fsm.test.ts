/** RFC 4271 section 8.2.2 as a table: every event in every state. */
import { describe, expect, test } from "bun:test";
import { parseIp } from "../../net/mod.ts";
import { bgpError, CEASE, decodeNotification, ERROR, MESSAGE, OPEN_ERROR } from "../wire/mod.ts";
import type { FsmCause, FsmEffect, FsmTimer } from "./fsm-event.ts";
import { type Fsm, FSM_NAMES, type FsmName, NEW_FSM } from "./fsm-state.ts";
import { type FsmConfig, idleHoldMs, LARGE_HOLD_MS, step } from "./fsm.ts";
import type { Negotiated } from "./negotiated.ts";
import { nextDeadline } from "./timers.ts";

const open = new Uint8Array(29).fill(0xff);
open[18] = MESSAGE.open;

const config: FsmConfig = {
  passive: false,
  delayOpenMs: 0,
  connectRetryMs: 10_000,
  idleHoldMs: 1_000,
  idleHoldMostMs: 60_000,
  stableMs: 300_000,
  open,
};

const negotiated: Negotiated = {
  localAs: 65001,
  localId: parseIp("10.0.0.1"),
  remoteAs: 65002,
  remoteId: parseIp("10.0.0.2"),
  external: true,
  as4: true,
  holdMs: 90_000,
  keepaliveMs: 30_000,
  families: new Set(),
  addPathSend: new Set(),
  addPathReceive: new Set(),
  extendedNextHop: new Set(),
  extendedMessagesSend: false,
  extendedMessagesReceive: false,
  refresh: true,
  enhancedRefresh: false,
  longLived: new Map(),
  capabilities: [],
};

const counters = { retries: 5, flaps: 2 };
/** The six states; Connect and Active without a connection, and with one while DelayOpenTimer runs. */
const states: Readonly<Record<string, Fsm>> = {
  Idle: { kind: "idle", ...counters },
  Connect: { kind: "connect", ...counters, connectRetryAtMs: 5_000 },
  "Connect+D": { kind: "connect", ...counters, delayOpenAtMs: 5_000 },
  Active: { kind: "active", ...counters, connectRetryAtMs: 5_000 },
  "Active+D": { kind: "active", ...counters, delayOpenAtMs: 5_000 },
  OpenSent: { kind: "open-sent", ...counters, holdAtMs: LARGE_HOLD_MS },
  OpenConfirm: { kind: "open-confirm", ...counters, negotiated, holdAtMs: 90_000, keepaliveAtMs: 30_000 },
  Established: { kind: "established", ...counters, negotiated, sinceMs: 0, keepaliveAtMs: 30_000 },
};

const cease = bgpError(ERROR.cease, CEASE.administrativeShutdown, { text: "stop" });
const timer = (name: FsmTimer): FsmCause => ({ kind: "timer", timer: name });
const notification = (code: number, subcode: number): FsmCause => ({
  kind: "notification",
  error: bgpError(code, subcode, { text: "of theirs" }),
});

/** The RFC's numbers. 3 to 7 are starts like 1: which of them it is, the configuration says. 14 is the kernel's. */
const events: Readonly<Record<string, FsmCause>> = {
  "1 ManualStart": { kind: "start" },
  "2 ManualStop": { kind: "stop", error: cease },
  "8 AutomaticStop": { kind: "stop", error: cease, automatic: true },
  "9 ConnectRetryTimer_Expires": timer("connect-retry"),
  "10 HoldTimer_Expires": timer("hold"),
  "11 KeepaliveTimer_Expires": timer("keepalive"),
  "12 DelayOpenTimer_Expires": timer("delay-open"),
  "13 IdleHoldTimer_Expires": timer("idle-hold"),
  "15 Tcp_CR_Invalid": { kind: "tcp-invalid" },
  "16 Tcp_CR_Acked": { kind: "tcp-connected" },
  "17 TcpConnectionConfirmed": { kind: "tcp-accepted" },
  "18 TcpConnectionFails": { kind: "tcp-failed", reason: "ECONNRESET" },
  "19 BGPOpen": { kind: "open", negotiated },
  "21 BGPHeaderErr": { kind: "header-error", error: bgpError(ERROR.header, 1, { text: "bad" }) },
  "22 BGPOpenMsgErr": { kind: "open-error", error: bgpError(ERROR.open, 2, { text: "bad" }) },
  "23 OpenCollisionDump": { kind: "collision" },
  "24 NotifMsgVerErr": notification(ERROR.open, OPEN_ERROR.unsupportedVersion),
  "25 NotifMsg": notification(ERROR.cease, CEASE.administrativeReset),
  "26 KeepAliveMsg": { kind: "keepalive" },
  "27 UpdateMsg": { kind: "update" },
  "28 UpdateMsgErr": { kind: "update-error", error: bgpError(ERROR.update, 1, { text: "bad" }) },
  "29 SendHoldTimer_Expires": timer("send-hold"),
};

function shown(effect: FsmEffect): string {
  switch (effect.kind) {
    case "send": {
      const type = effect.bytes[18];
      if (type === MESSAGE.open) return "OPEN";
      if (type === MESSAGE.keepalive) return "KEEPALIVE";
      const { code, subcode } = decodeNotification(effect.bytes, 19, effect.bytes.length);
      return `${code}/${subcode}`;
    }
    case "ended":
      return "";
    default:
      return effect.kind;
  }
}

/** `-`: nothing changes. Else the next state, what is done, and what becomes of ConnectRetryCounter (5 before) unless it stays. */
function outcome(state: Fsm, cause: FsmCause, with_: Partial<FsmConfig> = {}): string {
  const [next, effects] = step(state, { ...cause, nowMs: 1_000, chance: 0 }, { ...config, ...with_ });
  const done = effects.map(shown).filter((text) => text !== "");
  if (next === state && done.length === 0) return "-";
  const retries = next.retries === 5 ? "" : next.retries === 0 ? " =0" : " +1";
  return `${FSM_NAMES[next.kind]}${retries}${done.length === 0 ? "" : `: ${done.join(" ")}`}`;
}

const tables = {
  Idle: `
    1 ManualStart                 Connect =0: connect
    2 ManualStop                  Idle =0
    13 IdleHoldTimer_Expires      Connect =0: connect
    *                             -`,
  // "The start events (Events 1, 3-7) are ignored in the Connect state."
  Connect: `
    1 ManualStart                 -
    2 ManualStop                  Idle =0: disconnect
    9 ConnectRetryTimer_Expires   Connect: disconnect connect
    12 DelayOpenTimer_Expires     OpenSent: OPEN
    15 Tcp_CR_Invalid             -
    16 Tcp_CR_Acked               OpenSent: OPEN
    17 TcpConnectionConfirmed     OpenSent: OPEN
    18 TcpConnectionFails         Active
    24 NotifMsgVerErr             Idle: disconnect
    *                             Idle +1: disconnect`,
  "Connect+D": `
    1 ManualStart                 -
    2 ManualStop                  Idle =0: disconnect
    9 ConnectRetryTimer_Expires   Connect: disconnect connect
    12 DelayOpenTimer_Expires     OpenSent: OPEN
    15 Tcp_CR_Invalid             -
    16 Tcp_CR_Acked               OpenSent: OPEN
    17 TcpConnectionConfirmed     OpenSent: OPEN
    18 TcpConnectionFails         Active
    19 BGPOpen                    OpenConfirm: OPEN KEEPALIVE
    24 NotifMsgVerErr             Idle: disconnect
    *                             Idle +1: disconnect`,
  Active: `
    1 ManualStart                 -
    2 ManualStop                  Idle =0: disconnect
    9 ConnectRetryTimer_Expires   Connect: connect
    12 DelayOpenTimer_Expires     OpenSent: OPEN
    15 Tcp_CR_Invalid             -
    16 Tcp_CR_Acked               OpenSent: OPEN
    17 TcpConnectionConfirmed     OpenSent: OPEN
    24 NotifMsgVerErr             Idle: disconnect
    *                             Idle +1: disconnect`,
  "Active+D": `
    1 ManualStart                 -
    2 ManualStop                  Idle =0: disconnect
    9 ConnectRetryTimer_Expires   Connect: connect
    12 DelayOpenTimer_Expires     OpenSent: OPEN
    15 Tcp_CR_Invalid             -
    16 Tcp_CR_Acked               OpenSent: OPEN
    17 TcpConnectionConfirmed     OpenSent: OPEN
    19 BGPOpen                    OpenConfirm: OPEN KEEPALIVE
    24 NotifMsgVerErr             Idle: disconnect
    *                             Idle +1: disconnect`,
  // RFC 6608: 5/1 is an unexpected message in OpenSent.
  OpenSent: `
    1 ManualStart                 -
    2 ManualStop                  Idle =0: 6/2 disconnect
    8 AutomaticStop               Idle +1: 6/2 disconnect
    10 HoldTimer_Expires          Idle +1: 4/0 disconnect
    15 Tcp_CR_Invalid             -
    16 Tcp_CR_Acked               -
    17 TcpConnectionConfirmed     -
    18 TcpConnectionFails         Active: disconnect
    19 BGPOpen                    OpenConfirm: KEEPALIVE
    21 BGPHeaderErr               Idle +1: 1/1 disconnect
    22 BGPOpenMsgErr              Idle +1: 2/2 disconnect
    23 OpenCollisionDump          Idle +1: 6/7 disconnect
    24 NotifMsgVerErr             Idle: disconnect
    25 NotifMsg                   Idle +1: disconnect
    *                             Idle +1: 5/1 disconnect`,
  OpenConfirm: `
    1 ManualStart                 -
    2 ManualStop                  Idle =0: 6/2 disconnect
    8 AutomaticStop               Idle +1: 6/2 disconnect
    10 HoldTimer_Expires          Idle +1: 4/0 disconnect
    11 KeepaliveTimer_Expires     OpenConfirm: KEEPALIVE
    15 Tcp_CR_Invalid             -
    16 Tcp_CR_Acked               -
    17 TcpConnectionConfirmed     -
    18 TcpConnectionFails         Idle +1: disconnect
    21 BGPHeaderErr               Idle +1: 1/1 disconnect
    22 BGPOpenMsgErr              Idle +1: 2/2 disconnect
    23 OpenCollisionDump          Idle +1: 6/7 disconnect
    24 NotifMsgVerErr             Idle: disconnect
    25 NotifMsg                   Idle +1: disconnect
    26 KeepAliveMsg               Established: established
    *                             Idle +1: 5/2 disconnect`,
  Established: `
    1 ManualStart                 -
    2 ManualStop                  Idle =0: 6/2 disconnect
    8 AutomaticStop               Idle +1: 6/2 disconnect
    10 HoldTimer_Expires          Idle +1: 4/0 disconnect
    11 KeepaliveTimer_Expires     Established: KEEPALIVE
    15 Tcp_CR_Invalid             -
    16 Tcp_CR_Acked               -
    17 TcpConnectionConfirmed     -
    18 TcpConnectionFails         Idle +1: disconnect
    21 BGPHeaderErr               Idle +1: 1/1 disconnect
    22 BGPOpenMsgErr              Idle +1: 2/2 disconnect
    23 OpenCollisionDump          Idle +1: 6/7 disconnect
    24 NotifMsgVerErr             Idle: disconnect
    25 NotifMsg                   Idle +1: disconnect
    26 KeepAliveMsg               -
    27 UpdateMsg                  -
    28 UpdateMsgErr               Idle +1: 3/1 disconnect
    29 SendHoldTimer_Expires      Idle +1: disconnect
    *                             Idle +1: 5/3 disconnect`,
} as const;

describe("RFC 4271 section 8.2.2: every event in every state", () => {
  for (const [name, table] of Object.entries(tables)) {
    const rows = new Map(
      table
        .trim()
        .split("\n")
        .map((line) => line.trim().split(/ {2,}/) as [string, string]),
    );
    test(`${name}: the table names only events that there are`, () => {
      expect([...rows.keys()].filter((event) => event !== "*" && events[event] === undefined)).toEqual([]);
    });
    for (const [event, cause] of Object.entries(events))
      test(`${name}, ${event}`, () => {
        expect(outcome(states[name] as Fsm, cause)).toBe((rows.get(event) ?? rows.get("*")) as string);
      });
  }
});

describe("session attributes", () => {
  const at = (name: string) => states[name] as Fsm;
  test("passive: waits in Active, and does not connect", () => {
    const [next, effects] = step(
      NEW_FSM,
      { kind: "start", nowMs: 0, chance: 0 },
      { ...config, passive: true },
    );
    expect([next, effects]).toEqual([{ kind: "active", retries: 0, flaps: 0 }, []]);
    expect(nextDeadline(next, { sendHoldMs: 0 })).toBeUndefined();
    expect(outcome(next, { kind: "tcp-accepted" }, { passive: true })).toBe("OpenSent =0: OPEN");
  });

  test("passive: when the connection fails in OpenSent, nothing is tried again", () => {
    const [next] = step(
      at("OpenSent"),
      { kind: "tcp-failed", reason: "", nowMs: 0, chance: 0 },
      { ...config, passive: true },
    );
    expect(next).toEqual({ kind: "active", ...counters });
  });

  test("DelayOpen: the OPEN waits for its timer, or for the peer's", () => {
    const [next, effects] = step(
      at("Connect"),
      { kind: "tcp-connected", nowMs: 1_000, chance: 0 },
      { ...config, delayOpenMs: 3_000 },
    );
    expect([next, effects]).toEqual([{ kind: "connect", ...counters, delayOpenAtMs: 4_000 }, []]);
    expect(nextDeadline(next, { sendHoldMs: 0 })).toEqual({ timer: "delay-open", atMs: 4_000 });
    expect(outcome(next, timer("delay-open"))).toBe("OpenSent: OPEN");
    expect(outcome(next, { kind: "open", negotiated })).toBe("OpenConfirm: OPEN KEEPALIVE");
  });

  test("OpenSent waits four minutes; a hold time of zero stops both timers", () => {
    const [sent] = step(at("Active"), { kind: "tcp-accepted", nowMs: 1_000, chance: 0 }, config);
    expect(nextDeadline(sent, { sendHoldMs: 0 })).toEqual({ timer: "hold", atMs: 241_000 });
    const zero = { ...negotiated, holdMs: 0, keepaliveMs: 0 };
    const [confirm] = step(sent, { kind: "open", negotiated: zero, nowMs: 2_000, chance: 0 }, config);
    expect(nextDeadline(confirm, { sendHoldMs: 0 })).toBeUndefined();
    const [up] = step(confirm, { kind: "keepalive", nowMs: 3_000, chance: 0 }, config);
    expect(nextDeadline(up, { sendHoldMs: 1_000 })).toBeUndefined();
  });

  test("Established: HoldTimer runs from what was heard last, SendHoldTimer from what was taken last", () => {
    const quiet: Fsm = { kind: "established", ...counters, negotiated, sinceMs: 1_000 };
    const due = (view: { heardMs?: number; stuckMs?: number }) =>
      nextDeadline(quiet, { ...view, sendHoldMs: 480_000 });
    expect(due({})).toEqual({ timer: "hold", atMs: 91_000 });
    expect(due({ heardMs: 50_000 })).toEqual({ timer: "hold", atMs: 140_000 });
    expect(due({ heardMs: 600_000, stuckMs: 100_000 })).toEqual({ timer: "send-hold", atMs: 580_000 });
  });

  test("jitter: timers are three quarters to all of their time", () => {
    const retry = (chance: number) => {
      const [next] = step(NEW_FSM, { kind: "start", nowMs: 0, chance }, config);
      return next.kind === "connect" ? next.connectRetryAtMs : undefined;
    };
    expect([retry(0), retry(0.5), retry(0.999_999)]).toEqual([7_500, 8_750, 9_999.997_5]);
  });

  test("damping: at once, then 1, 2, 4 s and so on to the most; a session that lasted begins anew", () => {
    expect([0, 1, 2, 3, 7, 20].map((flaps) => idleHoldMs(config, flaps))).toEqual([
      0, 1_000, 2_000, 4_000, 60_000, 60_000,
    ]);
    const ended = (sinceMs: number) =>
      step(
        { kind: "established", retries: 0, flaps: 3, negotiated, sinceMs },
        { kind: "tcp-failed", reason: "", nowMs: 1_000_000, chance: 1 },
        config,
      )[0];
    expect(ended(999_000)).toEqual({ kind: "idle", retries: 1, flaps: 4, idleHoldAtMs: 1_004_000 });
    expect(ended(1_000)).toEqual({ kind: "idle", retries: 1, flaps: 1, idleHoldAtMs: 1_000_000 });
  });

  test("a manual stop stays; an automatic one comes back, after its own time if it has one", () => {
    const stopped = (cause: FsmCause) =>
      step(at("Established"), { ...cause, nowMs: 1_000, chance: 0 }, config)[0];
    expect(nextDeadline(stopped({ kind: "stop", error: cease }), { sendHoldMs: 0 })).toBeUndefined();
    const later: FsmCause = { kind: "stop", error: cease, automatic: true, restartAfterMs: 30_000 };
    expect(stopped(later)).toMatchObject({ kind: "idle", idleHoldAtMs: 31_000 });
    const held: Fsm = { kind: "idle", ...counters, idleHoldAtMs: 9_000 };
    expect(step(held, { kind: "stop", error: cease, nowMs: 0, chance: 0 }, config)[0]).toEqual(NEW_FSM);
  });

  test("every state has a name", () => {
    expect((Object.keys(FSM_NAMES) as FsmName[]).length).toBe(6);
  });
});
