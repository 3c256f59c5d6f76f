import { describe, expect, test } from "bun:test";
import { newSeed, Random } from "../../../test/support/random.ts";
import type { AgreedSa } from "../../exchange/mod.ts";
import { KeyMaterial } from "../../net/mod.ts";
import { parseEndpoint } from "../../net/mod.ts";
import {
  activate,
  type AssociationEffect,
  type Associations,
  associationsMs,
  drop,
  install,
  heardUnder,
  MOST_INBOUND,
  move,
  NO_ASSOCIATIONS,
  pass,
  rekeyMs,
  spent,
  usable,
  wear,
} from "./associations.ts";

const path = { local: parseEndpoint("192.0.2.1:303"), remote: parseEndpoint("192.0.2.2:303") };
const elsewhere = { ...path, remote: parseEndpoint("192.0.2.3:303") };

function sa(spi: number, queue = 1): AgreedSa {
  const keyMaterial = new KeyMaterial(new Uint8Array(20));
  return { spi, queue, algorithm: "aes-128-gcm", extended: true, keyMaterial };
}

/** An outcome; SPIs of what comes in are 1000 more. */
function made(session: number, nowMs: number, more: Partial<Parameters<typeof install>[1]> = {}) {
  return {
    route: "r",
    trust: "t",
    session,
    pair: { inbound: [sa(1000 + session)], outbound: [sa(session)] },
    path,
    nowMs,
    lifetime: { ms: 600_000 },
    chance: 0,
    role: "initiator",
    useMs: nowMs + 7500,
    graceMs: 0,
    ...more,
  } as const;
}

const kinds = (effects: readonly AssociationEffect[]) =>
  effects.map((effect) => {
    if (effect.kind === "count") return effect.leaf;
    if (effect.kind === "inbound" || effect.kind === "outbound") return `${effect.kind} ${effect.sa.spi}`;
    return effect.kind === "remove"
      ? `remove ${effect.direction} ${effect.spi}`
      : `${effect.kind} ${effect.spi}`;
  });

describe("Vita's rules", () => {
  test("the first is used at once, the next after the time that the peer has", () => {
    const [one, first] = install(NO_ASSOCIATIONS, made(300, 0));
    expect(kinds(first)).toEqual(["inbound 1300", "outbound 300", "use 300"]);
    expect([rekeyMs(one), associationsMs(one)]).toEqual([300_000, 600_000]);
    const [two, second] = install(one, made(301, 300_000));
    expect(kinds(second)).toEqual(["inbound 1301", "outbound 301"]);
    expect([rekeyMs(two), associationsMs(two)]).toEqual([Number.POSITIVE_INFINITY, 307_500]);
    expect(kinds(pass(two, { route: "r", nowMs: 307_499 })[1])).toEqual([]);
    const [three, third] = pass(two, { route: "r", nowMs: 307_500 });
    expect(kinds(third)).toEqual(["use 301"]);
    expect(kinds(pass(three, { route: "r", nowMs: 600_000 })[1])).toEqual([
      "remove inbound 1300",
      "inbound-sa-expired",
    ]);
    expect(kinds(pass(three, { route: "r", nowMs: 900_000 })[1])).toContain("outbound-sa-expired");
  });

  test("the rekey time is a half to five eighths of the lifetime, an eighth later for who answered", () => {
    for (const [chance, role, ms] of [
      [0, "initiator", 300_000],
      [1, "initiator", 375_000],
      [0, "responder", 375_000],
    ] as const)
      expect(rekeyMs(install(NO_ASSOCIATIONS, made(300, 0, { chance, role }))[0])).toBe(ms);
  });

  test("of more than four inbound ones the oldest is dropped", () => {
    let state = NO_ASSOCIATIONS;
    for (let n = 0; n < MOST_INBOUND; n++) state = install(state, made(300 + n, n))[0];
    // But for the one that is used in the other direction.
    expect(state.active?.session).toBe(300);
    expect(kinds(install(state, made(310, 10))[1])).toContain("remove inbound 1301");
    const [later] = pass(state, { route: "r", nowMs: 8000 });
    expect(kinds(install(later, made(310, 8000))[1])).toContain("remove inbound 1300");
  });

  test("the one that the peer sent under last is kept, whatever exchanges come to nothing", () => {
    let state = NO_ASSOCIATIONS;
    for (let n = 0; n < 3; n++)
      state = heardUnder(install(state, made(300 + n, n))[0], { spi: 1300 + n, queue: 1 });
    state = pass(state, { route: "r", nowMs: 8000 })[0];
    expect(state.active?.session).toBe(302);
    // The peer goes on with 1301, say: 1302 was heard, and then its keeper began again.
    const gone: string[] = [];
    for (let n = 3; n < 12; n++) {
      const [next, effects] = install(state, made(300 + n, 8000 + n));
      state = next;
      gone.push(...kinds(effects).filter((kind) => kind.startsWith("remove inbound")));
    }
    expect(gone).not.toContain("remove inbound 1302");
    expect(gone.slice(0, 3)).toEqual(["remove inbound 1300", "remove inbound 1301", "remove inbound 1303"]);
    expect(state.inbound.length).toBe(MOST_INBOUND);
  });

  test("an SPI that is repeated replaces what waits; if it is in use, it is used at once", () => {
    const [one] = install(NO_ASSOCIATIONS, made(300, 0));
    const [two] = install(one, made(301, 10));
    const again = (spi: number) => ({ inbound: [sa(2000 + spi)], outbound: [sa(spi)] });
    const [three, waited] = install(two, made(400, 20, { pair: again(301) }));
    expect(kinds(waited)).toEqual([
      "inbound 2301",
      "remove outbound 301",
      "outbound 301",
      "outbound-sa-updated",
    ]);
    expect(three.waiting).toHaveLength(1);
    const [four, used] = install(one, made(401, 20, { pair: again(300) }));
    expect(kinds(used)).toEqual([
      "inbound 2300",
      "remove outbound 300",
      "outbound 300",
      "outbound-sa-updated",
      "use 300",
    ]);
    expect(four.active?.session).toBe(401);
  });
});

describe("our own", () => {
  const confirmed = { useMs: Number.POSITIVE_INFINITY };

  test("it is used when the peer has shown its keys, even if there is nothing else", () => {
    const [one, first] = install(NO_ASSOCIATIONS, made(300, 0, confirmed));
    expect(kinds(first)).toEqual(["inbound 1300", "outbound 300"]);
    expect(kinds(pass(one, { route: "r", nowMs: 100_000 })[1])).toEqual([]);
    expect(kinds(usable(one, { route: "r", nowMs: 10, session: 300 })[1])).toEqual(["use 300"]);
    expect(usable(one, { route: "r", nowMs: 10, session: 999 })[1]).toEqual([]);
  });

  test("who shows its keys after a newer one was used comes too late", () => {
    const [one] = install(NO_ASSOCIATIONS, made(300, 0, confirmed));
    const [two] = install(one, made(301, 10, confirmed));
    const [three] = usable(two, { route: "r", nowMs: 20, session: 301 });
    expect([three.active?.session, three.waiting.length]).toEqual([301, 0]);
    const [four] = usable(two, { route: "r", nowMs: 20, session: 300 });
    expect([four.active?.session, four.waiting.length]).toEqual([300, 1]);
  });

  test("with fewer queues than before, what is left over is removed", () => {
    const many = { inbound: [sa(1300)], outbound: [sa(300, 1), sa(301, 2)] };
    const [one] = usable(install(NO_ASSOCIATIONS, made(300, 0, { ...confirmed, pair: many }))[0], {
      route: "r",
      nowMs: 0,
      session: 300,
    });
    const [two] = install(one, made(310, 10, confirmed));
    expect(kinds(usable(two, { route: "r", nowMs: 20, session: 310 })[1])).toEqual([
      "use 310",
      "remove outbound 301",
    ]);
  });

  test("a peer that moves is followed, in what is used and in what waits", () => {
    const [one] = install(NO_ASSOCIATIONS, made(300, 0));
    const [two] = install(one, made(301, 10, confirmed));
    expect(kinds(move(two, { route: "r", session: 300, path: elsewhere })[1])).toEqual(["endpoint 300"]);
    expect(kinds(move(two, { route: "r", session: 301, path: elsewhere })[1])).toEqual(["endpoint 301"]);
    expect(move(two, { route: "r", session: 302, path: elsewhere })[1]).toEqual([]);
  });

  test("a soft limit only brings the rekey time nearer", () => {
    const [one] = install(NO_ASSOCIATIONS, made(300, 0));
    expect(rekeyMs(wear(one, 1234))).toBe(1234);
    expect(rekeyMs(wear(wear(one, 1234), 5000))).toBe(1234);
    expect(wear(NO_ASSOCIATIONS, 5)).toBe(NO_ASSOCIATIONS);
  });
});

const seed = newSeed();
test(`any order of events: what is asked of the data path is always possible (seed ${seed})`, () => {
  const random = new Random(seed);
  for (let round = 0; round < 200; round++) {
    let state: Associations = NO_ASSOCIATIONS;
    let nowMs = 0;
    const installed = { inbound: new Set<number>(), outbound: new Set<number>() };
    let used: number | undefined;
    const obey = ([next, effects]: readonly [Associations, readonly AssociationEffect[]]) => {
      state = next;
      for (const effect of effects) {
        if (effect.kind === "inbound" || effect.kind === "outbound")
          installed[effect.kind].add(effect.sa.spi);
        if (effect.kind === "remove" && !installed[effect.direction].delete(effect.spi))
          throw new Error(kinds([effect])[0]);
        if (effect.kind === "endpoint") expect(installed.outbound.has(effect.spi)).toBe(true);
        if (effect.kind === "remove" && effect.direction === "outbound" && effect.spi === used)
          used = undefined;
        if (effect.kind !== "use") continue;
        expect(installed.outbound.has(effect.spi)).toBe(true);
        if (used !== undefined && used !== effect.spi) installed.outbound.delete(used);
        used = effect.spi;
      }
      // What is kept here is what the data path has.
      const { active, waiting, inbound } = state;
      const held = [...(active === undefined ? [] : [active]), ...waiting].flatMap((set) =>
        set.held.map(({ spi }) => spi),
      );
      expect(new Set(held)).toEqual(installed.outbound);
      expect(new Set(inbound.flatMap((set) => set.held.map(({ spi }) => spi)))).toEqual(installed.inbound);
      expect(active === undefined || active.held[0]?.spi === used).toBe(true);
    };
    for (let n = 0; n < 60; n++) {
      nowMs += random.below(100_000);
      const at = { route: "r", nowMs };
      const session = random.below(n + 1);
      switch (random.below(7)) {
        case 0:
        case 1: {
          const useMs = random.pick([nowMs, nowMs + 7500, Number.POSITIVE_INFINITY]);
          const pair = { inbound: [sa(10_000 + n)], outbound: [sa(300 + random.below(4))] };
          obey(install(state, made(n, nowMs, { useMs, pair })));
          break;
        }
        case 2:
          obey(usable(state, { ...at, session }));
          break;
        case 3:
          obey(pass(state, at));
          break;
        case 4:
          obey(drop(state, "r", (set) => set.session === session));
          break;
        case 5: {
          const sets = [
            ...state.inbound,
            ...(state.active === undefined ? [] : [state.active]),
            ...state.waiting,
          ];
          const one = sets[0]?.held[0] ?? { spi: 1, queue: 1 };
          const direction = state.inbound.length > 0 ? "inbound" : "outbound";
          obey(spent(state, { ...at, direction, one }));
          break;
        }
        default:
          obey(move(state, { route: "r", session, path: elsewhere }));
          obey(activate(state, at));
      }
    }
  }
});

describe("an association that has carried all it may", () => {
  const at = { route: "r", nowMs: 20, direction: "outbound" } as const;

  test("is followed at once by the one that waits", () => {
    const [one] = install(install(NO_ASSOCIATIONS, made(300, 0))[0], made(301, 10));
    const [two, effects] = spent(one, { ...at, one: { spi: 300, queue: 1 } });
    expect(kinds(effects)).toEqual(["remove outbound 300", "use 301"]);
    expect([two.active?.session, two.waiting.length]).toEqual([301, 0]);
  });

  test("is not followed by one that the peer may not know", () => {
    const [one] = install(install(NO_ASSOCIATIONS, made(300, 0))[0], made(301, 10, { useMs: Infinity }));
    const [two, effects] = spent(one, { ...at, one: { spi: 300, queue: 1 } });
    expect(kinds(effects)).toEqual(["remove outbound 300"]);
    expect([two.active, two.waiting.length]).toEqual([undefined, 1]);
  });

  test("takes none of another queue with it, though it has the same SPI", () => {
    const pair = { inbound: [sa(1300), sa(1301)], outbound: [sa(300, 1), sa(300, 2)] };
    const [one] = install(NO_ASSOCIATIONS, made(300, 0, { pair }));
    const [two, effects] = spent(one, { ...at, one: { spi: 300, queue: 2 } });
    expect(effects).toEqual([{ kind: "remove", direction: "outbound", route: "r", queue: 2, spi: 300 }]);
    expect(two.active?.held).toEqual([{ spi: 300, queue: 1 }]);
    const [three, more] = spent(two, { ...at, direction: "inbound", one: { spi: 1301, queue: 1 } });
    expect([kinds(more), three.inbound[0]?.held.length]).toEqual([["remove inbound 1301"], 1]);
    expect(spent(three, { ...at, one: { spi: 300, queue: 2 } })[1]).toEqual([]);
  });
});
