import { expect, test } from "bun:test";
import { newSeed, Random } from "../../../test/support/random.ts";
import { Arena } from "../../sys/mod.ts";
import { XdpFrames } from "./xdp-frames.ts";

const make = (frames: number, options: { frameBytes?: 2048 | 4096; headroomBytes?: number } = {}) =>
  new XdpFrames(new Arena({ bytes: (frames + 2) * 4096 }), { frames, ...options });

test("frames lie on pages, and a frame's room behind the headrooms", () => {
  const frames = make(5, { headroomBytes: 64 });
  const { arena } = frames;
  expect(Number(arena.address(frames.at, 1)) % 4096).toBe(0);
  const at = frames.take();
  expect([at - frames.at, frames.roomBytes, frames.roomAt(at), frames.headAt(at)]).toEqual([
    320, 1728, 1728, 320,
  ]);
  frames.give(at);
  expect(() => frames.give(at)).toThrow("in no frame that is held");
  expect(() => frames.toTransmit(at, 0)).toThrow("in no frame");
  for (const wrong of [0, -1, 1.5]) expect(() => make(wrong)).toThrow(RangeError);
  expect(() => make(1, { headroomBytes: 1800 })).toThrow("headroom");
});

test("what a ring says is believed only of frames that are there", () => {
  const frames = make(8);
  const [fill, other] = [frames.toFill(0), frames.toFill(1)];
  for (const [address, length] of [
    [other, 60],
    [fill + 2 * 2048, 60],
    [8 * 2048, 60],
    [-1, 60],
    [2 ** 31 - 1, 60],
    [fill, 0],
    [fill, -5],
    [fill, 2049],
    [fill + 2000, 49],
    [fill, 2 ** 31 - 1],
  ] as const)
    expect(frames.fromFill(address, length, 0)).toBe(-1);
  const at = frames.fromFill(fill + 256, 1792, 0);
  expect(at).toBe(frames.at + fill + 256);
  expect(frames.fromFill(fill + 256, 60, 0)).toBe(-1);
  expect(frames.fromTransmit(fill, 0)).toBe(false);
  frames.toTransmit(at, 1);
  expect(frames.fromTransmit(fill, 0)).toBe(false);
  expect(frames.fromTransmit(-1, 1)).toBe(false);
  expect(frames.fromTransmit(fill + 100, 1)).toBe(true);
  expect(frames.fromTransmit(fill, 1)).toBe(false);
  expect(frames.census()).toEqual({ free: 7, held: 0, received: 0, fill: 1, transmit: 0 });
  frames.reclaim(1);
  expect(frames.census()).toEqual({ free: 8, held: 0, received: 0, fill: 0, transmit: 0 });
});

test("a frame that was sent, came back and was taken anew is not dropped with its old batch", () => {
  const frames = make(1);
  const at = frames.fromFill(frames.toFill(0) + 256, 60, 0);
  frames.toTransmit(at, 0);
  frames.fromTransmit(at - frames.at, 0);
  const again = frames.take();
  frames.drop(at, 0);
  expect(frames.mayUse(again)).toBe(true);
  expect(frames.census()).toMatchObject({ free: 0, held: 1 });
});

const seed = newSeed();
test(`whatever happens each frame is in one place, as a slow model says (SEED=${seed})`, () => {
  const random = new Random(seed);
  const frames = make(16);
  /** Place of each frame, as text. */
  const model = Array.from({ length: 16 }, () => "free");
  const frameOf = (at: number) => Math.floor((at - frames.at) / 2048);
  let moved = 0;
  for (let step = 0; step < 20_000; step++) {
    const socket = random.below(3);
    const address = random.below(20 * 2048) - 2048;
    const at = frames.at + address;
    const place = model[frameOf(at)];
    const set = (value: string, frame = frameOf(at)) => {
      model[frame] = value;
      moved++;
    };
    switch (random.below(8)) {
      case 0: {
        const taken = frames.take();
        expect(taken !== 0).toBe(model.includes("free"));
        if (taken !== 0) {
          expect(model[frameOf(taken)]).toBe("free");
          set("held", frameOf(taken));
        }
        break;
      }
      case 1:
        if (place === "held") {
          frames.give(at);
          set("free");
        } else expect(() => frames.give(at)).toThrow(RangeError);
        break;
      case 2: {
        const filled = frames.toFill(socket);
        expect(filled >= 0).toBe(model.includes("free"));
        if (filled >= 0) set(`fill ${socket}`, filled / 2048);
        break;
      }
      case 3: {
        const length = random.below(2100) - 10;
        const fits = length > 0 && (address & 2047) + length <= 2048;
        const got = frames.fromFill(address, length, socket);
        expect(got).toBe(fits && place === `fill ${socket}` ? at : -1);
        if (got >= 0) set(`received ${socket}`);
        break;
      }
      case 4:
        if (place === "held" || place?.startsWith("received") === true) {
          frames.toTransmit(at, socket);
          set(`transmit ${socket}`);
        } else expect(() => frames.toTransmit(at, socket)).toThrow(RangeError);
        break;
      case 5:
        expect(frames.fromTransmit(address, socket)).toBe(place === `transmit ${socket}`);
        if (place === `transmit ${socket}`) set("free");
        break;
      case 6:
        if (address >= 0) frames.drop(at, socket);
        if (place === `received ${socket}`) set("free");
        break;
      default: {
        const census = frames.census();
        expect(Object.values(census).reduce((sum, count) => sum + count, 0)).toBe(16);
        for (const [kind, count] of Object.entries(census))
          expect(model.filter((value) => value.startsWith(kind)).length).toBe(count);
        if (random.below(20) === 0) {
          frames.reclaim(socket);
          model.forEach((value, frame) => {
            if (value.endsWith(` ${socket}`)) set("free", frame);
          });
        }
      }
    }
  }
  expect(moved).toBeGreaterThan(2000);
});
