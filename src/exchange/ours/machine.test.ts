import { describe, expect, test } from "bun:test";
import {
  carry,
  endOf,
  only,
  type OursEnd,
  sentBy,
  termsOf,
  type Trust,
} from "../../../test/support/ours-ends.ts";
import { parseEndpoint, PrivateKey } from "../../net/mod.ts";
import { systemPrimitives } from "../../noise/mod.ts";
import type { AgreedSa, SaAlgorithm } from "../agreed.ts";
import { oursDeadline } from "./machine.ts";
import { OURS_BYTES } from "./message.ts";
import { oursParty } from "./party.ts";
import { CONFIRM_MS, currentSession, type OursEffect } from "./state.ts";

const shown = (sas: readonly AgreedSa[] | undefined) =>
  (sas ?? []).map(({ spi, algorithm, keyMaterial }) => [
    spi,
    algorithm,
    Buffer.from(keyMaterial.reveal()).toString("hex"),
  ]);
const elsewhere = parseEndpoint("198.51.100.9:1234");

function expectMirrored(left: OursEnd, right: OursEnd): void {
  const [a, b] = [left.last("agreed").pair, right.last("agreed").pair];
  expect(shown(a.inbound)).toEqual(shown(b.outbound));
  expect(shown(a.outbound)).toEqual(shown(b.inbound));
  const all = [...shown(a.inbound), ...shown(a.outbound)].map(([, , material]) => material);
  expect(new Set(all).size).toBe(all.length);
}

function joined(): { readonly left: OursEnd; readonly right: OursEnd } {
  const [left, right] = [endOf(0), endOf(1)];
  carry(left, right, left.begin(right));
  return { left, right };
}

/** Runs the exchange up to the response, which is not handed over. */
function upToResponse(left: OursEnd, right: OursEnd): Uint8Array {
  const cookie = only(right.hear(only(left.begin(right)), left.endpoint));
  const initiation = only(left.hear(cookie, right.endpoint));
  return only(right.hear(initiation, left.endpoint));
}

/** The next probe of an end. */
function late(end: OursEnd): readonly OursEffect[] {
  end.nowMs += 150;
  return end.step({ kind: "due" });
}

const trusts: readonly Trust[] = ["public keys", "public keys and pre-shared key", "pre-shared key"];

describe("an exchange", () => {
  for (const trust of trusts)
    for (const algorithm of ["aes-256-gcm", "chacha20-poly1305", "aes-128-gcm"] as const)
      test(`by ${trust}, ${algorithm}`, () => {
        const algorithms: readonly SaAlgorithm[] = [algorithm];
        const left = endOf(0, { terms: termsOf(0, trust), algorithms });
        const right = endOf(1, { terms: termsOf(1, trust), algorithms });
        // Initiation, cookie, initiation, response, probe, answer.
        expect(carry(left, right, left.begin(right))).toBe(6);
        expectMirrored(left, right);
        expect([currentSession(left.state)?.answered, currentSession(right.state)?.confirmed]).toEqual([
          true,
          true,
        ]);
      });

  test("with other numbers of queues: each direction has as many associations as its sender has queues", () => {
    const [left, right] = [endOf(0, { queues: [1, 2, 3, 4] }), endOf(1, { queues: [5, 6] })];
    carry(left, right, left.begin(right));
    expectMirrored(left, right);
    const { inbound, outbound } = right.last("agreed").pair;
    // What comes in comes to the address of the first queue.
    expect(inbound.map(({ queue }) => queue)).toEqual([5, 5, 5, 5]);
    expect(outbound.map(({ queue }) => queue)).toEqual([5, 6]);
    expect(left.last("agreed").pair.outbound.map(({ queue }) => queue)).toEqual([1, 2, 3, 4]);
  });

  test("the responder prefers", () => {
    const left = endOf(0, { algorithms: ["aes-256-gcm", "chacha20-poly1305"] });
    const right = endOf(1, { algorithms: ["chacha20-poly1305", "aes-256-gcm"] });
    carry(left, right, left.begin(right));
    expect(left.last("agreed").pair.inbound[0]?.algorithm).toBe("chacha20-poly1305");
  });

  test("without an algorithm in common both say so", () => {
    const left = endOf(0, { algorithms: ["aes-256-gcm"] });
    const right = endOf(1, { algorithms: ["chacha20-poly1305"] });
    carry(left, right, left.begin(right));
    for (const end of [left, right]) {
      expect(end.last("lost").reason).toBe("no algorithm in common");
      expect(end.state.sessions).toEqual([]);
    }
    expect([left.spis.taken.size, right.spis.taken.size]).toEqual([0, 0]);
  });

  test("of ends that were not told the same does not come about, and costs no curve operation", () => {
    const other = PrivateKey.random();
    const right = termsOf(1);
    const wrongs = [
      { ...right, family: "ipv4" as const },
      { ...right, trust: { ...right.trust, remote: other.publicKey } as typeof right.trust },
      { ...right, trust: { ...right.trust, psk: other } as typeof right.trust },
      termsOf(1, "pre-shared key"),
    ];
    for (const terms of wrongs) {
      const [left, wrong] = [endOf(0), endOf(1, { terms })];
      expect(sentBy(wrong.hear(only(left.begin(wrong)), left.endpoint))).toEqual([]);
      expect([wrong.counts["authentication-errors"], wrong.curveOperations]).toEqual([1, 0]);
    }
    const [left, route] = [endOf(0), endOf(1, { terms: { ...right, route: 78 } })];
    route.hear(only(left.begin(route)), left.endpoint);
    expect(route.counts["protocol-errors"]).toBe(1);
  });

  test("with oneself is refused", () => {
    const privateKey = PrivateKey.random();
    const trust = { kind: "public keys", privateKey, remote: privateKey.publicKey } as const;
    expect(() => oursParty(systemPrimitives, { route: 1, family: "both", trust })).toThrow("same identity");
  });

  for (const trust of trusts)
    test(`by ${trust}, what we sent does not come back as the peer's`, () => {
      const left = endOf(0, { terms: termsOf(0, trust) });
      const right = endOf(1, { terms: termsOf(1, trust) });
      const datagram = only(left.begin(right));
      expect(sentBy(left.hear(datagram, right.endpoint))).toEqual([]);
      expect(left.counts["authentication-errors"]).toBe(1);
      // Nor what was sent before, and whatever is brought back of what is answered.
      const back = (effects: readonly OursEffect[], depth = 0): void => {
        for (const sent of sentBy(effects)) if (depth < 9) back(left.hear(sent, right.endpoint), depth + 1);
      };
      back(left.begin(right));
      for (const { kind, ...effect } of [...left.effects])
        if (kind === "send" && "datagram" in effect) back(left.hear(effect.datagram, right.endpoint));
      expect(left.effects.some(({ kind }) => kind === "agreed")).toBe(false);
      carry(left, right, left.begin(right));
      expectMirrored(left, right);
    });

  test("with a process that is ourselves is refused, though it has the pre-shared key", () => {
    const terms = termsOf(0, "pre-shared key");
    const [left, twin] = [endOf(0, { terms, boot: 5 }), endOf(1, { terms, boot: 5 })];
    carry(left, twin, left.begin(twin));
    expect([twin.state.sessions, twin.counts["authentication-errors"]]).toEqual([[], 1]);
  });
});

describe("return routability", () => {
  test("before a cookie there is no curve operation and no state", () => {
    const [left, right] = [endOf(0), endOf(1)];
    const initiation = only(left.begin(right));
    for (let n = 0; n < 20; n++) {
      const reply = only(right.hear(initiation, elsewhere));
      expect(reply.length).toBeLessThan(initiation.length);
    }
    expect([right.curveOperations, right.state.sessions.length, right.spis.taken.size]).toEqual([0, 0, 0]);
  });

  test("a cookie is for one address and one message", () => {
    const [left, right] = [endOf(0), endOf(1)];
    const first = only(right.hear(only(left.begin(right)), left.endpoint));
    const initiation = only(left.hear(first, right.endpoint));
    // From elsewhere the same bytes are asked for another cookie.
    expect(only(right.hear(initiation, elsewhere)).length).toBe(OURS_BYTES.cookie);
    expect(right.curveOperations).toBe(0);
    expect(only(right.hear(initiation, left.endpoint)).length).toBe(OURS_BYTES.response);
  });

  test("a cookie for another message, or changed, is not taken", () => {
    const [left, right] = [endOf(0), endOf(1)];
    const old = only(right.hear(only(left.begin(right)), left.endpoint));
    left.begin(right);
    expect(sentBy(left.hear(old, right.endpoint))).toEqual([]);
    expect(left.counts["protocol-errors"]).toBe(1);
    const initiation = left.state.initiating?.datagram as Uint8Array;
    const reply = only(right.hear(initiation, left.endpoint));
    reply[reply.length - 1] = (reply.at(-1) as number) ^ 1;
    expect(sentBy(left.hear(reply, right.endpoint))).toEqual([]);
    expect(left.counts["authentication-errors"]).toBe(1);
  });

  test("an initiation that was worked on is never worked on again", () => {
    const [left, right] = [endOf(0), endOf(1)];
    const cookie = only(right.hear(only(left.begin(right)), left.endpoint));
    const initiation = only(left.hear(cookie, right.endpoint));
    const response = only(right.hear(initiation, left.endpoint));
    const spent = right.curveOperations;
    // The same again, as if the response was lost: the same response.
    expect(only(right.hear(initiation, left.endpoint))).toEqual(response);
    expect(sentBy(right.hear(initiation, elsewhere))).toEqual([]);
    carry(left, right, left.hear(response, right.endpoint));
    carry(left, right, left.begin(right));
    const now = right.curveOperations;
    // After the next exchange it is asked for a cookie, which nobody but its sender could use.
    expect(only(right.hear(initiation, left.endpoint)).length).toBe(OURS_BYTES.cookie);
    expect([spent > 0, right.curveOperations - now, right.state.sessions.length]).toEqual([true, 0, 2]);
  });
});

describe("what may be worked on", () => {
  test("is used up by nobody but the peer", () => {
    const [left, right] = [endOf(0), endOf(1)];
    const recorded = only(left.begin(right));
    const forged = recorded.slice();
    forged[20] = (forged[20] as number) ^ 1;
    const cookie = only(right.hear(recorded, left.endpoint));
    right.handshakes = 1;
    for (let n = 0; n < 1000; n++) {
      right.hear(forged, left.endpoint);
      right.hear(recorded, n % 2 === 0 ? elsewhere : left.endpoint);
      for (const bytes of [OURS_BYTES.response, OURS_BYTES.cookie, OURS_BYTES.control]) {
        const random = systemPrimitives.random(bytes);
        random.set(recorded.subarray(0, 8));
        random[4] = bytes === OURS_BYTES.response ? 23 : bytes === OURS_BYTES.cookie ? 22 : 24;
        right.hear(random, left.endpoint);
      }
    }
    expect([right.handshakes, right.curveOperations]).toEqual([1, 0]);
    left.handshakes = 1;
    carry(left, right, left.hear(cookie, right.endpoint));
    expectMirrored(left, right);
    expect([left.handshakes, right.handshakes]).toEqual([0, 0]);
  });

  test("beyond it nothing is, and the same message is good when there is more", () => {
    const [left, right] = [endOf(0), endOf(1)];
    const cookie = only(right.hear(only(left.begin(right)), left.endpoint));
    const initiation = only(left.hear(cookie, right.endpoint));
    right.handshakes = 0;
    expect(sentBy(right.hear(initiation, left.endpoint))).toEqual([]);
    expect(right.curveOperations).toBe(0);
    right.handshakes = 1;
    expect(only(right.hear(initiation, left.endpoint)).length).toBe(OURS_BYTES.response);
  });
});

describe("use", () => {
  test("who answered is ready to receive before it answers, and sends only when the peer has shown its keys", () => {
    const [left, right] = [endOf(0), endOf(1)];
    const response = upToResponse(left, right);
    expect(right.effects.map(({ kind }) => kind).slice(-3)).toEqual(["agreed", "send", "count"]);
    expect(right.effects.some(({ kind }) => kind === "usable")).toBe(false);
    const effects = left.hear(response, right.endpoint);
    expect(effects.map(({ kind }) => kind)).toEqual(["agreed", "usable", "send", "count"]);
    right.hear(only(effects), left.endpoint);
    expect(right.last("usable").session).toBe(right.last("agreed").session);
  });

  test("packets under the new associations show it as well", () => {
    const [left, right] = [endOf(0), endOf(1)];
    left.hear(upToResponse(left, right), right.endpoint);
    expect(right.step({ kind: "heard", session: right.last("agreed").session })).toEqual([
      { kind: "usable", session: right.last("agreed").session },
    ]);
    expect(right.step({ kind: "heard", session: right.last("agreed").session })).toEqual([]);
  });

  test("who is not confirmed in time is given up, and its answer with it", () => {
    const [left, right] = [endOf(0), endOf(1)];
    upToResponse(left, right);
    right.nowMs += CONFIRM_MS - 1;
    expect(right.step({ kind: "due" })).toEqual([]);
    right.nowMs += 1;
    expect(right.step({ kind: "due" })).toMatchObject([{ kind: "ended", reason: "not confirmed" }]);
    expect([right.state.sessions.length, right.state.answer]).toEqual([0, undefined]);
  });
});

describe("time", () => {
  test("an initiation is repeated, and given up in the end", () => {
    const [left, right] = [endOf(0), endOf(1)];
    left.begin(right);
    const at: number[] = [];
    const around = { timing: { probeMs: 150, deadMs: 450, negotiationMs: 5000, lifeMs: 600_000 } };
    for (
      let nextMs = oursDeadline(left.state, around);
      nextMs < Infinity;
      nextMs = oursDeadline(left.state, around)
    ) {
      left.nowMs = nextMs;
      if (sentBy(left.step({ kind: "due" })).length > 0) at.push(nextMs - 1000);
    }
    expect(at).toEqual([250, 750, 1750, 3750]);
    expect([left.last("lost").reason, left.spis.taken.size]).toEqual(["no answer", 0]);
  });

  test("a silent peer is lost before half a second, once, and found again when it speaks", () => {
    const { left, right } = joined();
    const start = left.nowMs;
    while (left.effects.every(({ kind }) => kind !== "lost")) {
      left.nowMs += 1;
      left.step({ kind: "due" });
    }
    expect(left.nowMs - start).toBe(450);
    left.nowMs += 5000;
    const effects = left.step({ kind: "due" });
    expect(effects.map(({ kind }) => kind)).toEqual(["send"]);
    right.nowMs = left.nowMs;
    carry(left, right, effects);
    expect([left.last("alive").rttMs, currentSession(left.state)?.silent]).toEqual([0, false]);
  });

  test("a session lives as long as was agreed, whatever the configuration says later", () => {
    for (const lifeMs of [1000, 6_000_000]) {
      const { left, right } = joined();
      right.retime(lifeMs);
      for (let n = 0; n < 4; n++) {
        for (const end of [left, right]) end.nowMs += 149_000;
        carry(left, right, left.step({ kind: "due" }));
        right.step({ kind: "due" });
      }
      expect(right.state.sessions).toHaveLength(1);
      right.nowMs += 5000;
      right.step({ kind: "due" });
      expect(right.state.sessions).toHaveLength(0);
    }
  });

  test("probes go on, and know the round trip", () => {
    const { left, right } = joined();
    for (let n = 0; n < 20; n++) {
      left.nowMs += 150;
      const [datagram] = sentBy(left.step({ kind: "due" }));
      const answer = only(right.hear(datagram as Uint8Array, left.endpoint));
      left.nowMs += 7;
      left.hear(answer, right.endpoint);
      expect(left.last("alive").rttMs).toBeCloseTo(7, 3);
    }
    expect(left.effects.every(({ kind }) => kind !== "lost")).toBe(true);
  });
});

describe("moves, restarts, ends", () => {
  test("a peer that speaks from elsewhere has moved", () => {
    const { left, right } = joined();
    left.nowMs += 150;
    right.hear(only(left.step({ kind: "due" })), elsewhere);
    expect(right.last("moved").path.remote).toEqual(elsewhere);
  });

  test("a repeated or older control message is nothing", () => {
    const { left, right } = joined();
    left.nowMs += 150;
    const probe = only(left.step({ kind: "due" }));
    right.hear(probe, left.endpoint);
    const before = right.state;
    expect(sentBy(right.hear(probe, elsewhere))).toEqual([]);
    expect(right.state).toBe(before);
  });

  test("a peer that has started again is known as another process, in both roles", () => {
    const { left, right } = joined();
    const again = endOf(1, { boot: 2 });
    carry(again, left, again.begin(left));
    expect([left.last("agreed").restarted, left.state.sessions.length]).toEqual([true, 1]);
    const third = endOf(1, { boot: 3 });
    carry(left, third, left.begin(third));
    expect(left.last("agreed").restarted).toBe(true);
    carry(left, third, left.begin(third));
    expect(left.last("agreed").restarted).toBe(false);
    expect(right.last("agreed").restarted).toBe(false);
  });

  test("a peer that has started again forgets sessions when it has shown its keys, not before", () => {
    const { left, right } = joined();
    const again = endOf(1, { boot: 2 });
    const response = upToResponse(again, left);
    expect(left.state.sessions.map(({ confirmed }) => confirmed)).toEqual([false, true]);
    // What there was is used, probed and answered.
    const probe = only(late(right));
    expect(sentBy(left.hear(probe, right.endpoint))).toHaveLength(1);
    left.nowMs += CONFIRM_MS;
    left.hear(only(late(right)), right.endpoint);
    expect(left.step({ kind: "due" }).map(({ kind }) => kind)).toContain("ended");
    expect(currentSession(left.state)?.confirmed).toBe(true);
    const third = endOf(1, { boot: 3 });
    const other = upToResponse(third, left);
    left.hear(only(third.hear(other, left.endpoint)), third.endpoint);
    expect(left.state.sessions.map(({ boot }) => boot)).toEqual(["03".repeat(8)]);
    expect(response.length).toBe(OURS_BYTES.response);
  });

  test("a goodbye ends its session, and a late one no other", () => {
    const { left, right } = joined();
    const kept = left.state;
    const goodbye = only(left.step({ kind: "close" }));
    expect([left.state.sessions.length, kept.sessions.length]).toEqual([0, 1]);
    const again = endOf(0, { boot: 9 });
    carry(again, right, again.begin(right));
    right.hear(goodbye, left.endpoint);
    expect(right.effects.some(({ kind }) => kind === "ended")).toBe(false);
    carry(again, right, again.step({ kind: "close" }));
    expect([right.last("ended").reason, right.last("lost").reason]).toEqual([
      "closed by peer",
      "closed by peer",
    ]);
    expect(right.state.sessions).toEqual([]);
  });

  test("both begin at once: one session, the senior's", () => {
    const [left, right] = [endOf(0), endOf(1)];
    const [a, b] = [only(left.begin(right)), only(right.begin(left))];
    const [forLeft, forRight] = [only(right.hear(a, left.endpoint)), only(left.hear(b, right.endpoint))];
    const [c, d] = [only(left.hear(forLeft, right.endpoint)), only(right.hear(forRight, left.endpoint))];
    const [e, f] = [right.hear(c, left.endpoint), left.hear(d, right.endpoint)];
    carry(right, left, e);
    carry(left, right, f);
    expect([left.state.sessions.length, right.state.sessions.length]).toEqual([1, 1]);
    expect([left.state.initiating, right.state.initiating]).toEqual([undefined, undefined]);
    expectMirrored(left, right);
  });

  test("without an SPI nothing begins, and it is said", () => {
    const [left, right] = [endOf(0, { mostSpis: 0 }), endOf(1)];
    expect(left.begin(right)).toEqual([{ kind: "full" }]);
  });

  test("nothing that is printed shows a key", () => {
    const { left } = joined();
    const text = Bun.inspect(left.last("agreed"), { depth: 9 }) + JSON.stringify(left.last("agreed").pair);
    expect(text).toContain("hidden");
    for (const [, , material] of shown(left.last("agreed").pair.inbound))
      expect(text).not.toContain((material as string).slice(0, 16));
  });
});
