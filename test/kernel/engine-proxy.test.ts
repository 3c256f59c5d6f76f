/** Proxy entries as desired state, of which the kernel sends no events. ip(8) is the judge. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { Engine, type KernelObject } from "../../src/engine/mod.ts";
import { parseIp } from "../../src/net/mod.ts";
import { notRoot, Scratch } from "../support/scratch.ts";

let scratch: Scratch;
let engine: Engine;

beforeEach(() => {
  if (notRoot !== undefined) return;
  scratch = new Scratch();
  scratch.text("ip link add name nic type bridge");
  scratch.text("ip link set nic up");
  engine = Engine.open({ netns: scratch.netns });
});

afterEach(() => {
  if (notRoot !== undefined) return;
  engine[Symbol.dispose]();
  scratch[Symbol.dispose]();
});

const proxy = (text: string): KernelObject => ({ kind: "proxy", link: "nic", ip: parseIp(text) });
const both = [proxy("192.0.2.7"), proxy("2001:db8::7")];
const world = () =>
  scratch
    .text("ip neighbour show proxy")
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "")
    .sort();
const made = ["192.0.2.7 dev nic proxy proto 67", "2001:db8::7 dev nic proxy proto 67"];

describe.skipIf(notRoot !== undefined)(
  `proxy entries${notRoot === undefined ? "" : ` (skipped: ${notRoot})`}`,
  () => {
    test("are made, are there at the second look, and go", () => {
      engine.set("all", both);
      expect(engine.apply()).toMatchObject({ applied: 2, failed: [] });
      expect(world()).toEqual(made);
      expect(engine.apply().applied).toBe(0);
      engine.adopt();
      expect(engine.plan().steps).toEqual([]);
      engine.set("all", both.slice(1));
      engine.apply();
      expect(world()).toEqual(made.slice(1));
      engine.remove("all");
      engine.apply();
      expect(world()).toEqual([]);
    });

    test("come back when their link was down, which drops them without a word", () => {
      engine.set("all", both);
      engine.apply();
      scratch.text("ip link set nic down");
      expect(world()).toEqual([]);
      scratch.text("ip link set nic up");
      engine.apply();
      expect(world()).toEqual(made);
    });

    test("of others are left alone; ours of a former process go with the sweep", () => {
      scratch.text("ip neighbour add proxy 192.0.2.8 dev nic");
      scratch.text("ip neighbour add proxy 192.0.2.9 dev nic protocol 67");
      engine.set("all", both);
      engine.sweep();
      expect(world()).toEqual([...made.slice(0, 1), "192.0.2.8 dev nic proxy", ...made.slice(1)]);
    });
  },
);
