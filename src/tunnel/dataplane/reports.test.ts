import { describe, expect, test } from "bun:test";
import { decodeMessage, type Report } from "./link.ts";
import { REPORT_MS, Reports } from "./reports.ts";
import type { SharedSession } from "./shared-session.ts";

/** What reports read and write of a session. */
function session(localIndex: number): SharedSession {
  return {
    localIndex,
    reported: true,
    sentBytes: 0,
    sentData: false,
    receivedBytes: 0,
    receivedData: false,
    moved: false,
  } as SharedSession;
}

const PLACE = new Uint8Array([1, 2, 3]);

/** Reports whose link has room for `room` messages more; `told` are those that were sent. */
function setUp() {
  const reports = new Reports(() => PLACE);
  const told: Report[] = [];
  const link = { room: Number.POSITIVE_INFINITY };
  const send = (nowMs: number) => {
    reports.send((message) => {
      if (link.room === 0) return false;
      link.room--;
      const read = decodeMessage<Report>(message);
      if (read.kind === "list") told.push(...read.list);
      return true;
    }, nowMs);
    return told.splice(0);
  };
  const pass = (of: SharedSession, bytes: number) => {
    of.sentBytes += bytes;
    of.sentData = true;
    reports.note(of);
  };
  return { reports, link, send, pass };
}

describe("reports", () => {
  test("what goes on is told at once when it begins, then once in each period, as sums", () => {
    const { send, pass, reports } = setUp();
    const one = session(1);
    pass(one, 100);
    expect(send(1000)).toEqual([{ kind: "traffic", session: 1, sent: { data: true, bytes: 100 } }]);
    pass(one, 10);
    pass(one, 20);
    expect(send(1000 + REPORT_MS - 1)).toEqual([]);
    expect(reports.waitMs(1000 + REPORT_MS - 1)).toBe(1);
    expect(send(1000 + REPORT_MS)).toEqual([
      { kind: "traffic", session: 1, sent: { data: true, bytes: 30 } },
    ]);
    expect(send(1000 + 2 * REPORT_MS)).toEqual([]);
    expect(reports.waitMs(1000 + 2 * REPORT_MS)).toBe(-1);
  });

  test("nothing that passed is told twice, and nothing is left out", () => {
    const { send, pass } = setUp();
    const sessions = [session(1), session(2), session(3)];
    const sums = new Map<number, number>();
    let expected = 0;
    for (let nowMs = 0; nowMs < 3000; nowMs += 7) {
      for (const [i, of] of sessions.entries())
        if (nowMs % (i + 2) === 0) {
          pass(of, i + 1);
          expected += i + 1;
        }
      for (const report of send(nowMs))
        if (report.kind === "traffic")
          sums.set(report.session, (sums.get(report.session) ?? 0) + (report.sent?.bytes ?? 0));
    }
    for (const report of send(10_000))
      if (report.kind === "traffic")
        sums.set(report.session, (sums.get(report.session) ?? 0) + (report.sent?.bytes ?? 0));
    expect([...sums.values()].reduce((a, b) => a + b, 0)).toBe(expected);
  });

  test("in haste, what is noted is told before its time", () => {
    const { send, pass, reports } = setUp();
    pass(session(1), 1);
    send(1000);
    pass(session(2), 2);
    reports.hurry();
    expect(reports.waitMs(1001)).toBe(0);
    expect(send(1001)).toHaveLength(1);
    expect(reports.waitMs(1001)).toBe(-1);
  });

  test("other reports go at once, and do not take along what has time", () => {
    const { send, pass, reports } = setUp();
    pass(session(1), 1);
    send(1000);
    pass(session(2), 2);
    reports.add({ kind: "released", slot: 7 });
    expect(reports.waitMs(1001)).toBe(0);
    expect(send(1001)).toEqual([{ kind: "released", slot: 7 }]);
    expect(send(1001 + REPORT_MS)).toHaveLength(1);
  });

  test("the last of a session is told before its memory is released", () => {
    const { send, pass, reports } = setUp();
    const one = session(1);
    send(1000);
    pass(one, 5);
    reports.last(one);
    reports.add({ kind: "released", slot: 0 });
    expect(send(1001).map(({ kind }) => kind)).toEqual(["traffic", "released"]);
    // And it is not told of again.
    reports.last(one);
    reports.all();
    expect(send(5000)).toEqual([]);
  });

  test("where a peer is, is told once for each move", () => {
    const { send, reports } = setUp();
    const one = session(1);
    one.receivedBytes = 32;
    one.moved = true;
    reports.note(one);
    expect(send(1000)).toEqual([
      { kind: "traffic", session: 1, received: { data: false, bytes: 32 }, place: "010203" },
    ]);
    one.receivedBytes = 32;
    reports.note(one);
    expect(send(2000)).toEqual([{ kind: "traffic", session: 1, received: { data: false, bytes: 32 } }]);
  });

  test("without room on the link they wait, in order, and it is tried again", () => {
    const { send, reports, link } = setUp();
    link.room = 1;
    for (let slot = 0; slot < 450; slot++) reports.add({ kind: "released", slot });
    const first = send(1000);
    expect(first).toHaveLength(200);
    expect(reports.waitMs(1000)).toBeGreaterThan(0);
    reports.add({ kind: "halted" });
    link.room = 100;
    const rest = send(1001);
    expect([...first, ...rest].map((report) => (report.kind === "released" ? report.slot : -1))).toEqual([
      ...Array.from({ length: 450 }, (_, slot) => slot),
      -1,
    ]);
  });
});
