import { describe, expect, test } from "bun:test";
import { type BfdPacket, decodePacket, encodePacket, PACKET_BYTES } from "./packet.ts";
import {
  type BfdEffect,
  type BfdEvent,
  type BfdParameters,
  type BfdSession,
  detectionMs,
  dueMs,
  newBfdSession,
  stepBfd,
  transmitIntervalMs,
} from "./session.ts";

/** Two sessions on a wire with a delay, in virtual time. */
class Pair {
  nowMs = 0;
  cut = false;
  readonly ends: [End, End];
  #onWire: { atMs: number; to: 0 | 1; bytes: Uint8Array }[] = [];
  readonly #delayMs = 5;
  #random = 1;

  constructor(a: BfdParameters, b: BfdParameters) {
    this.ends = [new End(a, 1), new End(b, 2)];
  }

  random(): number {
    this.#random = (this.#random * 16807) % 2147483647;
    return this.#random / 2147483647;
  }

  step(which: 0 | 1, event: BfdEvent): void {
    const end = this.ends[which];
    const [session, effects] = stepBfd(end.session, event);
    end.session = session;
    for (const effect of effects) {
      if (effect.kind === "changed") end.changes.push(effect);
      else {
        end.sent.push({ atMs: this.nowMs, packet: effect.packet });
        if (!this.cut)
          this.#onWire.push({
            atMs: this.nowMs + this.#delayMs,
            to: which === 0 ? 1 : 0,
            bytes: encodePacket(effect.packet),
          });
      }
    }
  }

  runUntil(endMs: number): void {
    for (;;) {
      const wireMs = Math.min(...this.#onWire.map(({ atMs }) => atMs), Number.POSITIVE_INFINITY);
      const dues = this.ends.map((end) => (end.paused ? Number.POSITIVE_INFINITY : dueMs(end.session)));
      const atMs = Math.min(wireMs, ...dues);
      if (atMs > endMs) break;
      this.nowMs = Math.max(this.nowMs, atMs);
      const at = this.#onWire.findIndex((one) => one.atMs === atMs);
      if (at >= 0) {
        const one = this.#onWire.splice(at, 1)[0] as { to: 0 | 1; bytes: Uint8Array };
        const packet = decodePacket(one.bytes) as BfdPacket;
        if (!this.ends[one.to].paused)
          this.step(one.to, { kind: "packet", packet, nowMs: this.nowMs, random: this.random() });
        continue;
      }
      const which = dues[0] === atMs ? 0 : 1;
      this.step(which, { kind: "time", nowMs: this.nowMs, random: this.random() });
    }
    this.nowMs = endMs;
  }
}

class End {
  session: BfdSession;
  paused = false;
  readonly changes: (BfdEffect & { kind: "changed" })[] = [];
  readonly sent: { atMs: number; packet: BfdPacket }[] = [];

  constructor(parameters: BfdParameters, discriminator: number) {
    this.session = newBfdSession(parameters, { discriminator, nowMs: 0 });
  }
}

const fast = { transmitMs: 300, receiveMs: 300, multiplier: 3 };

describe("RFC 5880", () => {
  test("6.2: two ends come up through init, each by the other's packets", () => {
    const pair = new Pair(fast, fast);
    pair.runUntil(5000);
    for (const end of pair.ends) {
      expect(end.session.state).toBe("up");
      expect(end.changes.map(({ to }) => to).at(-1)).toBe("up");
    }
    expect(pair.ends[0].session.remoteDiscriminator).toBe(2);
  });

  test("6.1: a passive end says nothing before the other does, and none of two passive ones ever", () => {
    const silent = new Pair({ ...fast, passive: true }, { ...fast, passive: true });
    silent.runUntil(10_000);
    expect(silent.ends.map(({ sent }) => sent.length)).toEqual([0, 0]);
    const pair = new Pair({ ...fast, passive: true }, fast);
    pair.cut = true;
    pair.runUntil(5_000);
    expect(pair.ends[0].sent).toEqual([]);
    pair.cut = false;
    pair.runUntil(10_000);
    expect(pair.ends.map(({ session }) => session.state)).toEqual(["up", "up"]);
    pair.cut = true;
    pair.runUntil(15_000);
    // 6.8.7: the other end's discriminator is forgotten by then.
    expect(pair.ends[0].sent.some(({ atMs }) => atMs > 12_000)).toBe(false);
  });

  test("6.8.3: slow until up, then the configured interval after a poll that is answered; 6.8.7: jitter of 75 to 100 %", () => {
    const pair = new Pair(fast, fast);
    pair.runUntil(20_000);
    const [end] = pair.ends;
    const upAt = end.sent.findIndex(({ packet }) => packet.state === "up");
    expect(end.sent.slice(0, upAt).every(({ packet }) => packet.desiredTransmitUs === 1_000_000)).toBe(true);
    expect(end.sent.some(({ packet }) => packet.poll)).toBe(true);
    expect(pair.ends[1].sent.some(({ packet }) => packet.final && !packet.poll)).toBe(true);
    expect(end.session.polling).toBe(false);
    const late = end.sent
      .filter(({ atMs, packet }) => atMs > 10_000 && !packet.final)
      .map(({ atMs }) => atMs);
    const gaps = late.slice(1).map((atMs, i) => atMs - (late[i] as number));
    expect(Math.min(...gaps)).toBeGreaterThanOrEqual(225);
    expect(Math.max(...gaps)).toBeLessThanOrEqual(300);
  });

  test("6.8.4: the detection time is the other side's multiplier times the slower of both wishes", () => {
    const pair = new Pair(fast, { transmitMs: 500, receiveMs: 1000, multiplier: 5 });
    pair.runUntil(20_000);
    expect(detectionMs(pair.ends[0].session)).toBe(2500);
    expect(detectionMs(pair.ends[1].session)).toBe(3000);
    expect(transmitIntervalMs(pair.ends[0].session)).toBe(1000);
    expect(transmitIntervalMs(pair.ends[1].session)).toBe(500);
  });

  test("6.8.4: silence takes both down with diagnostic 1, and they come back", () => {
    const pair = new Pair(fast, fast);
    pair.runUntil(10_000);
    pair.cut = true;
    pair.runUntil(10_000 + 900 + 20);
    for (const end of pair.ends) {
      expect(end.session.state).toBe("down");
      expect(end.changes.at(-1)?.diagnostic).toBe("control detection time expired");
    }
    pair.runUntil(20_000);
    expect(pair.ends[0].session.remoteDiscriminator).toBe(0);
    pair.cut = false;
    pair.runUntil(25_000);
    expect(pair.ends.map(({ session }) => session.state)).toEqual(["up", "up"]);
  });

  test("6.8.6: an end that was made down takes the other down at once, with diagnostic 3", () => {
    const pair = new Pair(fast, fast);
    pair.runUntil(10_000);
    pair.step(0, { kind: "disable", nowMs: pair.nowMs });
    pair.runUntil(10_010);
    expect(pair.ends[1].session.state).toBe("down");
    expect(pair.ends[1].changes.at(-1)?.diagnostic).toBe("neighbor signaled session down");
    pair.runUntil(15_000);
    expect(pair.ends.map(({ session }) => session.state)).toEqual(["admin-down", "down"]);
    pair.step(0, { kind: "enable", nowMs: pair.nowMs });
    pair.runUntil(20_000);
    expect(pair.ends.map(({ session }) => session.state)).toEqual(["up", "up"]);
  });

  test("6.8.3: parameters change while up by a poll, and no packet is missed", () => {
    const pair = new Pair(fast, fast);
    pair.runUntil(10_000);
    const changes = pair.ends.map(({ changes: all }) => all.length);
    const slower = { transmitMs: 2000, receiveMs: 2000, multiplier: 3 };
    pair.step(0, { kind: "configure", parameters: slower, nowMs: pair.nowMs });
    pair.runUntil(30_000);
    expect(transmitIntervalMs(pair.ends[0].session)).toBe(2000);
    pair.step(0, { kind: "configure", parameters: fast, nowMs: pair.nowMs });
    pair.runUntil(60_000);
    expect(transmitIntervalMs(pair.ends[0].session)).toBe(300);
    expect(pair.ends.map(({ changes: all }) => all.length)).toEqual(changes);
  });

  test("6.8.7: a side that wants no packets gets none", () => {
    const [session] = stepBfd(newBfdSession(fast, { discriminator: 7, nowMs: 0 }), {
      kind: "packet",
      packet: { ...quiet, requiredReceiveUs: 0 },
      nowMs: 1,
      random: 0,
    });
    expect(stepBfd(session, { kind: "time", nowMs: 2000, random: 0 })[1]).toEqual([]);
  });
});

const quiet: BfdPacket = {
  state: "down",
  diagnostic: 0,
  poll: false,
  final: false,
  controlPlaneIndependent: false,
  demand: false,
  multiplier: 3,
  myDiscriminator: 9,
  yourDiscriminator: 0,
  desiredTransmitUs: 1_000_000,
  requiredReceiveUs: 1_000_000,
  requiredEchoUs: 0,
};

describe("RFC 5880 section 4.1", () => {
  test("a packet by its fields", () => {
    const packet = {
      ...quiet,
      state: "up",
      diagnostic: 3,
      poll: true,
      yourDiscriminator: 0x01020304,
    } as const;
    expect(Buffer.from(encodePacket(packet)).toString("hex")).toBe(
      ["23", "e0", "03", "18", "00000009", "01020304", "000f4240", "000f4240", "00000000"].join(""),
    );
    expect(decodePacket(encodePacket(packet))).toEqual(packet);
  });

  test.each([
    ["version", 0, 0x40, "has version 2"],
    ["multiplier", 2, 0, "has multiplier 0"],
    ["length", 3, 23, "has length 23 in 24 bytes"],
    ["length", 3, 25, "has length 25 in 24 bytes"],
    ["multipoint", 1, 0x41, "is multipoint"],
    ["authentication", 1, 0x44, "is authenticated, and the session is not"],
    ["my discriminator", 7, 0, "has discriminator 0"],
    ["your discriminator", 1, 0xc0, "is up and names no session"],
  ])("section 6.8.6: a bad %s (byte %i = %i) is discarded", (_, at, value, problem) => {
    const bytes = encodePacket(quiet);
    bytes[at] = value;
    expect(decodePacket(bytes)).toBe(problem);
  });

  test("any bytes are a packet or a reason", () => {
    let seed = 41;
    for (let round = 0; round < 20_000; round++) {
      const bytes = new Uint8Array(round % (PACKET_BYTES * 2));
      for (let i = 0; i < bytes.length; i++) {
        seed = (seed * 16807) % 2147483647;
        bytes[i] = i === 0 && round % 2 === 0 ? 0x20 : seed & 0xff;
      }
      const read = decodePacket(bytes);
      if (typeof read !== "string") {
        const [session] = stepBfd(newBfdSession(fast, { discriminator: 1, nowMs: 0 }), {
          kind: "packet",
          packet: read,
          nowMs: 1,
          random: 0.5,
        });
        expect(Number.isNaN(dueMs(session))).toBe(false);
      }
    }
  });
});
