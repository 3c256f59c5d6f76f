import { describe, expect, test } from "bun:test";
import { formatEndpoint, parseEndpoint } from "../net/mod.ts";
import { type PathEvent, pathReason, type PathState, pathUse, startPath, stepPath } from "./path.ts";

const ONE = parseEndpoint("192.0.2.1:51820");
const TWO = parseEndpoint("198.51.100.2:51820");

/** Drives a machine second by second; `rx` is what the device counts. */
class Driver {
  state: PathState;
  readonly said: string[] = [];
  nowMs = 0;
  rx = 0;
  handshakeMs: number | undefined;

  constructor(options: {
    candidates: ReturnType<typeof parseEndpoint>[];
    endpoint?: ReturnType<typeof parseEndpoint>;
  }) {
    const [state, effects] = startPath({ nowMs: 0, ...options });
    this.state = state;
    this.#note(effects);
  }

  #note(effects: ReturnType<typeof startPath>[1]): void {
    for (const effect of effects) {
      if (effect.kind === "report") this.said.push(`${this.nowMs / 1000}s ${effect.up ? "up" : "down"}`);
      if (effect.kind === "invite") this.said.push(`${this.nowMs / 1000}s invite`);
      if (effect.kind === "use") {
        const { endpoint, keepaliveSeconds } = pathUse(this.state);
        this.said.push(
          `${this.nowMs / 1000}s use ${endpoint === undefined ? "-" : formatEndpoint(endpoint)} ${keepaliveSeconds ?? "silent"}`,
        );
      }
    }
  }

  step(event: PathEvent): void {
    const [state, effects] = stepPath(this.state, event);
    this.state = state;
    this.#note(effects);
  }

  /** Lets seconds pass; `hear` says whether something comes in during this second. */
  run(seconds: number, hear: (second: number) => boolean = () => false): void {
    for (let i = 0; i < seconds; i++) {
      this.nowMs += 1000;
      if (hear(this.nowMs / 1000)) {
        this.rx += 32;
        this.handshakeMs ??= this.nowMs;
        if (this.nowMs - this.handshakeMs > 120_000) this.handshakeMs = this.nowMs;
      }
      this.step({
        kind: "observed",
        nowMs: this.nowMs,
        rxBytes: this.rx,
        ...(this.handshakeMs === undefined ? {} : { handshakeAgeMs: this.nowMs - this.handshakeMs }),
      });
    }
  }

  take(): string[] {
    return this.said.splice(0);
  }
}

describe("the way to a node", () => {
  test("tries candidates in order, rests, and tries again with longer rests", () => {
    const path = new Driver({ candidates: [ONE, TWO] });
    expect(path.take()).toEqual(["0s use 192.0.2.1:51820 5", "0s invite"]);
    path.run(40);
    expect(path.take()).toEqual([
      "7s use 198.51.100.2:51820 5",
      "14s use 198.51.100.2:51820 silent",
      "15s down",
      "29s use 192.0.2.1:51820 5",
      "29s invite",
      "36s use 198.51.100.2:51820 5",
    ]);
    expect(pathReason(path.state, false)).toBe("trying 198.51.100.2:51820 (2 of 2)");
    path.run(10);
    expect(pathReason(path.state, false)).toBe(
      "no direct answer from 192.0.2.1:51820, 198.51.100.2:51820; tried 2 times, will try again",
    );
  });

  test("is up at the first packet, and nothing is set while it is", () => {
    const path = new Driver({ candidates: [ONE, TWO] });
    path.run(8);
    path.take();
    path.run(60, (s) => s % 5 === 0);
    expect(path.take()).toEqual(["10s up"]);
    path.step({ kind: "candidates", nowMs: path.nowMs, candidates: [TWO] });
    path.run(60, (s) => s % 5 === 0);
    expect(path.take()).toEqual([]);
  });

  test("one or two lost keepalives do not matter, three do", () => {
    const path = new Driver({ candidates: [ONE] });
    path.run(10, (s) => s % 5 === 0);
    expect(path.take()).toContain("5s up");
    path.run(14);
    path.run(1, () => true);
    expect(path.take()).toEqual([]);
    path.run(15);
    expect(path.take()).toEqual(["40s invite", "40s down"]);
  });

  test("a peer that was made anew is called at once, and is no loss", () => {
    // The other side called first: no endpoint was ever set.
    const path = new Driver({ candidates: [] });
    path.run(10, (s) => s % 5 === 0);
    path.step({ kind: "candidates", nowMs: path.nowMs, candidates: [ONE] });
    expect(path.take()).toEqual(["5s use - 5", "5s up"]);
    path.rx = 0;
    path.handshakeMs = undefined;
    path.run(1);
    expect(path.take()).toEqual(["11s use 192.0.2.1:51820 5", "11s invite", "11s down"]);
    path.run(1, () => true);
    expect(path.take()).toEqual(["12s up"]);
  });

  test("a path that was lost must be steady, longer each time", () => {
    const path = new Driver({ candidates: [ONE] });
    const ups: number[] = [];
    for (let i = 0; i < 4; i++) {
      const from = path.nowMs / 1000;
      path.run(200, () => true);
      const up = path.take().find((text) => text.endsWith(" up"));
      ups.push(Number.parseInt(up as string) - from);
      path.run(20);
      path.take();
    }
    expect(ups).toEqual([2, 6, 11, 21]);
    expect(path.state.losses).toBe(4);
    path.run(700, () => true);
    expect(path.state.losses).toBe(0);
  });

  test("bytes without a session are not a way: the other side's calls alone do not count", () => {
    const path = new Driver({ candidates: [ONE] });
    for (let i = 0; i < 30; i++)
      path.step({ kind: "observed", nowMs: (path.nowMs += 1000), rxBytes: (path.rx += 148) });
    expect(path.take()).not.toContain("up");
    expect(path.state.phase.kind).toBe("resting");
  });

  test("hears a caller while it rests, or when it knows no endpoint", () => {
    const resting = new Driver({ candidates: [ONE] });
    resting.run(16);
    resting.take();
    resting.run(1, () => true);
    expect(resting.take()).toEqual(["17s use 192.0.2.1:51820 5", "17s up"]);
    const waiting = new Driver({ candidates: [] });
    expect(waiting.take()).toEqual([]);
    waiting.run(20);
    expect(pathReason(waiting.state, false)).toBe("no endpoint of it is known; it may still call");
    waiting.run(1, () => true);
    expect(waiting.take()).toEqual(["15s down", "21s use - 5", "21s up"]);
  });

  test("new candidates do not set again what is being tried: the node may just have called from elsewhere", () => {
    const path = new Driver({ candidates: [ONE] });
    path.take();
    path.step({ kind: "candidates", nowMs: path.nowMs, candidates: [TWO, ONE] });
    expect(path.take()).toEqual([]);
    // The try goes on from its place in the new list.
    path.run(7);
    expect(path.state.phase).toMatchObject({ kind: "resting" });
    // What is not in the list any more is given up.
    const other = new Driver({ candidates: [ONE] });
    other.take();
    other.step({ kind: "candidates", nowMs: other.nowMs, candidates: [TWO] });
    expect(other.take()).toEqual([`0s use ${formatEndpoint(TWO)} 5`]);
  });

  test("a node that calls from elsewhere while a candidate is about to be set is wanted where it called from", () => {
    const path = new Driver({ candidates: [ONE] });
    path.take();
    path.step({ kind: "candidates", nowMs: path.nowMs, candidates: [TWO] });
    expect(path.take()).toEqual([`0s use ${formatEndpoint(TWO)} 5`]);
    const called = parseEndpoint("198.51.100.77:7777");
    path.step({ kind: "observed", nowMs: 20, rxBytes: 0 });
    path.step({ kind: "observed", nowMs: 50, rxBytes: 180, handshakeAgeMs: 10, endpoint: called });
    expect(path.take()).toEqual([`0s use ${formatEndpoint(called)} 5`, "0s up"]);
    // Afterwards WireGuard follows the node by itself, and nothing is set.
    path.step({ kind: "observed", nowMs: 1050, rxBytes: 280, handshakeAgeMs: 1010, endpoint: ONE });
    expect(path.take()).toEqual([]);
    expect(pathUse(path.state).endpoint).toEqual(called);
  });

  test("new candidates and invitations end a rest; an invited round does not invite", () => {
    const path = new Driver({ candidates: [ONE] });
    path.run(16);
    path.take();
    path.step({ kind: "invited", nowMs: path.nowMs });
    expect(path.take()).toEqual(["16s use 192.0.2.1:51820 5"]);
    path.step({ kind: "invited", nowMs: path.nowMs });
    path.step({ kind: "candidates", nowMs: path.nowMs, candidates: [ONE] });
    expect(path.take()).toEqual([]);
    path.run(10);
    path.take();
    path.step({ kind: "candidates", nowMs: path.nowMs, candidates: [TWO, ONE] });
    expect(path.take()).toEqual(["26s use 198.51.100.2:51820 5"]);
  });

  test("a restarted agent keeps the endpoint that the tunnel uses, and says down only after its time", () => {
    const path = new Driver({ candidates: [ONE], endpoint: TWO });
    expect(pathUse(path.state)).toEqual({ endpoint: TWO, keepaliveSeconds: 5 });
    path.run(6, (s) => s === 2 || s === 5);
    expect(path.take()).toEqual(["0s use 198.51.100.2:51820 5", "2s up"]);
  });
});
