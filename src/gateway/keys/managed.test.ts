import { describe, expect, test } from "bun:test";
import { newSeed, Random } from "../../../test/support/random.ts";
import { type Ip, KeyMaterial, parseIp } from "../../net/mod.ts";
import {
  type ManagedEffect,
  type ManagedEvent,
  ManagedKeeper,
  type ManagedSa,
  MOST_RETRY_MS,
  RETRY_MS,
} from "./managed.ts";
import {
  BLOCK,
  fingerprintOf,
  formatSequenceBook,
  LAST_NUMBER,
  newSequenceBook,
  parseSequenceBook,
  reserve,
  type SequenceBook,
} from "./sequence-book.ts";

const TO = parseIp("203.0.113.5");

/** An association whose key is one byte many times. */
function managed(
  key: number,
  more: { direction?: "inbound" | "outbound"; spi?: number; route?: string; to?: Ip | undefined } = {},
): ManagedSa {
  const { direction = "outbound", spi = 300 + key, route = "r" } = more;
  const to = "to" in more ? more.to : TO;
  const keyMaterial = new KeyMaterial(new Uint8Array(20).fill(key));
  const sa = { spi, queue: 1, algorithm: "aes-128-gcm", extended: true, keyMaterial } as const;
  return { direction, route, sa, ...(direction === "outbound" && to !== undefined ? { to } : {}) };
}

/** A keeper with a clock. */
class Timed {
  readonly keeper: ManagedKeeper;
  nowMs = 0;

  constructor(book: SequenceBook | string) {
    this.keeper = new ManagedKeeper(book);
  }

  step(event: ManagedEvent): readonly ManagedEffect[] {
    return this.keeper.step(event, this);
  }
}

const storeOf = (effects: readonly ManagedEffect[]) => {
  const store = effects.findLast(({ kind }) => kind === "store");
  if (store?.kind !== "store") throw new Error("nothing is to be stored");
  return store;
};

describe("the book", () => {
  const book = (): SequenceBook => {
    const fresh = newSequenceBook();
    const first = reserve(fresh, fingerprintOf(fresh, managed(1).sa));
    if (typeof first === "string") throw new Error(first);
    return first.book;
  };

  test("is read as it was written", () => {
    const one = book();
    expect(parseSequenceBook(formatSequenceBook(one))).toEqual(one);
    expect(parseSequenceBook(formatSequenceBook(newSequenceBook())).next.size).toBe(0);
  });

  test("says nothing of keys", () => {
    expect(formatSequenceBook(book())).not.toContain("010101");
  });

  const seed = newSeed();
  test(`is refused when any byte is another, or missing (seed ${seed})`, () => {
    const random = new Random(seed);
    const text = formatSequenceBook(book());
    const bytes = new TextEncoder().encode(text);
    for (let n = 0; n < 3000; n++) {
      const mutated = Buffer.from(random.mutate(bytes)).toString("latin1");
      if (mutated === text) continue;
      expect(() => parseSequenceBook(mutated)).toThrow();
    }
    for (let n = 0; n < text.length; n++) expect(() => parseSequenceBook(text.slice(0, n))).toThrow();
  });

  test("ends a key whose numbers are used up", () => {
    const fresh = newSequenceBook();
    const full = { ...fresh, next: new Map([["a", LAST_NUMBER - BLOCK + 1]]) };
    expect(reserve(full, "a")).toContain("used up");
  });
});

describe("operator-managed associations", () => {
  test("nothing goes out before its block is durable", () => {
    const keeper = new Timed(newSequenceBook());
    const effects = keeper.step({
      kind: "configure",
      associations: [managed(1), managed(2, { direction: "inbound" })],
    });
    expect(effects.map(({ kind }) => kind)).toEqual(["store", "inbound"]);
    const { version } = storeOf(effects);
    expect(keeper.step({ kind: "stored", version: version - 1 })).toEqual([]);
    expect(keeper.step({ kind: "stored", version })).toMatchObject([
      { kind: "outbound", first: 1, last: BLOCK },
      { kind: "use", spi: 301 },
    ]);
  });

  test("the next block is granted when it is durable", () => {
    const keeper = new Timed(newSequenceBook());
    keeper.step({
      kind: "stored",
      version: storeOf(keeper.step({ kind: "configure", associations: [managed(1)] })).version,
    });
    const sequence = { kind: "sequence", route: "r", queue: 1, spi: 301 } as const;
    const effects = keeper.step(sequence);
    expect(effects.map(({ kind }) => kind)).toEqual(["store"]);
    expect(keeper.step(sequence)).toEqual([]);
    const stored = { kind: "stored", version: storeOf(effects).version } as const;
    expect(keeper.step(stored)).toEqual([
      { kind: "reserve", route: "r", queue: 1, spi: 301, last: 2 * BLOCK },
    ]);
    expect(keeper.step(stored)).toEqual([]);
  });

  test("after a restart numbers go on behind the block, whatever became of the rest of the configuration", () => {
    const text = storeOf(
      new Timed(newSequenceBook()).step({ kind: "configure", associations: [managed(1)] }),
    ).text;
    const keeper = new Timed(parseSequenceBook(text));
    // The same key under another SPI and route.
    const effects = keeper.step({ kind: "configure", associations: [managed(1, { spi: 999, route: "s" })] });
    expect(keeper.step({ kind: "stored", version: storeOf(effects).version })[0]).toMatchObject({
      kind: "outbound",
      first: BLOCK + 1,
      last: 2 * BLOCK,
    });
  });

  test("a key that was taken away and comes back goes on", () => {
    const keeper = new Timed(newSequenceBook());
    const put = (associations: readonly ManagedSa[]) => {
      const effects = keeper.step({ kind: "configure", associations });
      const stores = effects.flatMap((one) => (one.kind === "store" ? [one.version] : []));
      return [...effects, ...stores.flatMap((version) => keeper.step({ kind: "stored", version }))];
    };
    put([managed(1)]);
    expect(put([])).toMatchObject([{ kind: "remove", direction: "outbound", spi: 301 }]);
    expect(put([managed(1)]).find(({ kind }) => kind === "outbound")).toMatchObject({ first: BLOCK + 1 });
    expect(put([managed(1)])).toEqual([]);
  });

  test("without a book that can be read it is refused, with the reason; what comes in is taken", () => {
    const keeper = new Timed("its checksum is another");
    const effects = keeper.step({
      kind: "configure",
      associations: [managed(1), managed(2, { direction: "inbound" })],
    });
    expect(effects.map(({ kind }) => kind)).toEqual(["refused", "inbound"]);
    expect(effects[0]).toMatchObject({
      spi: 301,
      reason: expect.stringContaining("its checksum is another"),
    });
  });

  test("one key for two of them is refused", () => {
    const keeper = new Timed(newSequenceBook());
    const effects = keeper.step({ kind: "configure", associations: [managed(1), managed(1, { spi: 888 })] });
    expect(effects.map(({ kind }) => kind)).toEqual(["store", "refused"]);
    expect(effects[1]).toMatchObject({ spi: 888, reason: expect.stringContaining("SPI 301") });
  });

  const full = { kind: "not stored", reason: "No space left on device" } as const;

  test("a refill that could not be noted is tried again until it is, and what there is goes on meanwhile", () => {
    const timed = new Timed(newSequenceBook());
    const first = storeOf(timed.step({ kind: "configure", associations: [managed(1)] }));
    timed.step({ kind: "stored", version: first.version });
    const sequence = { kind: "sequence", route: "r", queue: 1, spi: 301 } as const;
    let { version } = storeOf(timed.step(sequence));
    for (let n = 0; n < 20; n++) {
      expect(timed.step({ ...full, version })).toMatchObject([{ kind: "refused", spi: 301 }]);
      // The path says it once: it is not asked to again.
      expect(timed.step(sequence)).toEqual([]);
      const nextMs = timed.keeper.nextMs as number;
      expect(nextMs - timed.nowMs).toBe(Math.min(MOST_RETRY_MS, RETRY_MS * 2 ** n));
      timed.nowMs = nextMs - 1;
      expect(timed.step({ kind: "due" })).toEqual([]);
      timed.nowMs = nextMs;
      const again = timed.step({ kind: "due" });
      expect(again.map(({ kind }) => kind)).toEqual(["store"]);
      ({ version } = storeOf(again));
    }
    expect(timed.keeper.nextMs).toBeUndefined();
    expect(timed.step({ kind: "stored", version })).toMatchObject([
      { kind: "reserve", route: "r", queue: 1, spi: 301, last: 2 * BLOCK },
      { kind: "mended", spi: 301 },
    ]);
    // And the next one after that.
    expect(timed.step(sequence).map(({ kind }) => kind)).toEqual(["store"]);
  });

  test("an association whose first block could not be noted is tried again", () => {
    const timed = new Timed(newSequenceBook());
    const { version } = storeOf(timed.step({ kind: "configure", associations: [managed(1)] }));
    timed.step({ ...full, version });
    timed.nowMs = timed.keeper.nextMs as number;
    const again = storeOf(timed.step({ kind: "due" }));
    expect(timed.step({ kind: "stored", version: again.version })).toMatchObject([
      { kind: "outbound", first: 1, last: BLOCK },
      { kind: "use" },
    ]);
  });

  test("one that was taken away is not tried again, nor removed from where it never was", () => {
    const timed = new Timed(newSequenceBook());
    const { version } = storeOf(timed.step({ kind: "configure", associations: [managed(1)] }));
    timed.step({ ...full, version });
    expect(timed.step({ kind: "configure", associations: [] }).map(({ kind }) => kind)).toEqual(["mended"]);
    expect(timed.keeper.nextMs).toBeUndefined();
  });

  test("keys are wiped that are not used: given again, refused, taken away, and at the end", () => {
    const isWiped = ({ sa }: ManagedSa) => sa.keyMaterial.reveal().every((byte) => byte === 0);
    const timed = new Timed(newSequenceBook());
    const [first, again, twin] = [managed(1), managed(1), managed(1, { spi: 888 })] as const;
    const { version } = storeOf(timed.step({ kind: "configure", associations: [first] }));
    timed.step({ kind: "configure", associations: [again, twin] });
    expect([first, again, twin].map(isWiped)).toEqual([false, true, true]);
    timed.step({ kind: "stored", version });
    // The order to install these may still be on its way.
    const [inbound, waiting, gone] = [managed(2, { direction: "inbound" }), managed(3), managed(4)] as const;
    timed.step({ kind: "configure", associations: [inbound, waiting, gone] });
    timed.step({ kind: "configure", associations: [waiting] });
    expect([first, inbound, waiting, gone].map(isWiped)).toEqual([false, false, false, true]);
    timed.keeper[Symbol.dispose]();
    expect([inbound, waiting].map(isWiped)).toEqual([false, true]);
  });

  test("a disk that is full: refused, and tried again at the next configuration", () => {
    const keeper = new Timed(newSequenceBook());
    const { version } = storeOf(keeper.step({ kind: "configure", associations: [managed(1)] }));
    expect(keeper.step({ kind: "not stored", version, reason: "No space left on device" })).toMatchObject([
      { kind: "refused", reason: expect.stringContaining("No space left") },
    ]);
    const again = storeOf(keeper.step({ kind: "configure", associations: [managed(1)] }));
    expect(keeper.step({ kind: "stored", version: again.version })[0]).toMatchObject({ kind: "outbound" });
  });

  /** Installs what it can, and returns the last outbound association that was given out. */
  function granted(timed: Timed, effects: readonly ManagedEffect[]) {
    const all = effects.flatMap((effect) =>
      effect.kind === "store" ? timed.step({ kind: "stored", version: effect.version }) : [effect],
    );
    const outbound = all.findLast(({ kind }) => kind === "outbound");
    if (outbound?.kind !== "outbound") throw new Error("nothing is to be installed");
    return outbound;
  }
  const configure = (timed: Timed, ...associations: readonly ManagedSa[]) =>
    timed.step({ kind: "configure", associations });

  test("another gateway is told, and nothing else; without one it is taken away", () => {
    const timed = new Timed(newSequenceBook());
    const { first } = granted(timed, configure(timed, managed(1)));
    expect(first).toBe(1);
    const to = parseIp("203.0.113.6");
    expect(configure(timed, managed(1, { to }))).toEqual([
      { kind: "retarget", route: "r", queue: 1, spi: 301, to },
    ]);
    expect(configure(timed, managed(1, { to }))).toEqual([]);
    expect(configure(timed, managed(1, { to: undefined }))).toMatchObject([
      { kind: "remove", spi: 301 },
      { kind: "refused", spi: 301, reason: expect.stringContaining("queue 1 has no gateway") },
    ]);
    const again = granted(timed, configure(timed, managed(1, { to })));
    expect(again).toMatchObject({ first: BLOCK + 1, to });
    expect(timed.step({ kind: "installed", direction: "outbound", route: "r", sa: again.sa })).toEqual([
      { kind: "mended", direction: "outbound", route: "r", queue: 1, spi: 301 },
    ]);
  });

  test("what could not be installed is tried again with its key given again, and other numbers", () => {
    const timed = new Timed(newSequenceBook());
    const inbound = managed(2, { direction: "inbound" });
    let { sa } = granted(timed, configure(timed, inbound, managed(1)));
    const failed = { kind: "not installed", direction: "outbound", route: "r", reason: "no memory" } as const;
    expect(
      timed.step({ ...failed, direction: "inbound", sa: inbound.sa, reason: "its SPI is taken" }),
    ).toMatchObject([{ kind: "refused", direction: "inbound", reason: "its SPI is taken" }]);
    let first = 1;
    for (let n = 0; n < 8; n++) {
      expect(timed.step({ ...failed, sa })).toMatchObject([
        { kind: "refused", direction: "outbound", spi: 301, reason: "no memory" },
      ]);
      // Not of the association any more that is asked for.
      expect(timed.step({ ...failed, sa })).toEqual([]);
      const given = managed(1);
      expect(configure(timed, given)).toMatchObject(
        n === 0 ? [{ kind: "mended", direction: "inbound" }] : [],
      );
      expect(given.sa.keyMaterial.reveal().every((byte) => byte === 0)).toBe(true);
      const nextMs = timed.keeper.nextMs as number;
      expect(nextMs - timed.nowMs).toBe(Math.min(MOST_RETRY_MS, RETRY_MS * 2 ** n));
      timed.nowMs = nextMs;
      expect(timed.step({ kind: "due" })).toEqual([{ kind: "wanted" }]);
      expect(timed.keeper.nextMs).toBeUndefined();
      const next = granted(timed, configure(timed, managed(1)));
      expect(next.first).toBe((first += BLOCK));
      ({ sa } = next);
    }
    expect(timed.step({ kind: "installed", direction: "outbound", route: "r", sa })).toMatchObject([
      { kind: "mended", direction: "outbound", spi: 301 },
    ]);
  });

  test("a refusal ends when it is mended, and when the association is not wanted any more", () => {
    const timed = new Timed(newSequenceBook());
    const { sa } = granted(timed, configure(timed, managed(1)));
    timed.step({ kind: "installed", direction: "outbound", route: "r", sa });
    const { version } = storeOf(timed.step({ kind: "sequence", route: "r", queue: 1, spi: 301 }));
    timed.step({ ...full, version });
    timed.nowMs = timed.keeper.nextMs as number;
    const again = storeOf(timed.step({ kind: "due" }));
    expect(timed.step({ kind: "stored", version: again.version }).map(({ kind }) => kind)).toEqual([
      "reserve",
      "mended",
    ]);
    expect(configure(timed, managed(1), managed(1, { spi: 888 }))).toMatchObject([{ kind: "refused" }]);
    expect(configure(timed, managed(1))).toMatchObject([{ kind: "mended", spi: 888 }]);
  });

  test("a book that can be read by now lets what goes out begin, and what came in notices nothing", () => {
    const timed = new Timed("no such file");
    const both = () => [managed(1), managed(2, { direction: "inbound" })];
    configure(timed, ...both());
    expect(timed.keeper.lacksBook).toBe(true);
    timed.step({ kind: "book", book: newSequenceBook() });
    expect(timed.keeper.lacksBook).toBe(false);
    const effects = configure(timed, ...both());
    expect(effects.map(({ kind }) => kind)).toEqual(["store"]);
    expect(granted(timed, effects).first).toBe(1);
  });

  const seed = newSeed();
  test(`no number twice, wherever it is stopped (seed ${seed})`, () => {
    const random = new Random(seed);
    const sent = new Map<number, number>();
    let disk = formatSequenceBook(newSequenceBook());
    for (let life = 0; life < 200; life++) {
      const keeper = new Timed(parseSequenceBook(disk));
      const granted = new Map<number, { at: number; last: number }>();
      const perform = (effects: readonly ManagedEffect[]): boolean => {
        for (const effect of effects) {
          // It may be stopped before the write, or between the write and what follows it.
          if (random.chance(0.05)) return false;
          if (effect.kind === "store") {
            disk = effect.text;
            if (random.chance(0.05) || !perform(keeper.step({ kind: "stored", version: effect.version })))
              return false;
          } else if (effect.kind === "outbound")
            granted.set(effect.sa.spi, { at: effect.first, last: effect.last });
          else if (effect.kind === "reserve")
            (granted.get(effect.spi) as { last: number }).last = effect.last;
          else if (effect.kind === "remove") granted.delete(effect.spi);
        }
        return true;
      };
      for (let round = 0; round < 20; round++) {
        const keys = [1, 2, 3].filter(() => random.chance(0.7));
        if (!perform(keeper.step({ kind: "configure", associations: keys.map((key) => managed(key)) })))
          break;
        for (const [spi, state] of granted) {
          const key = spi - 300;
          expect(state.at).toBeGreaterThan(sent.get(key) ?? 0);
          state.at = Math.min(state.last, state.at + random.below(BLOCK));
          sent.set(key, state.at++);
          if (!perform(keeper.step({ kind: "sequence", route: "r", queue: 1, spi }))) break;
        }
        if (random.chance(0.1)) break;
      }
    }
    expect(sent.size).toBe(3);
  });
});
