/** applyOnce: the inside of a pod, made and forgotten. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { applyOnce, Engine, type KernelObject } from "../../src/engine/mod.ts";
import { parseInterfaceAddress, parseIp, parsePrefix } from "../../src/net/mod.ts";
import { lacksTool, notRoot, Scratch } from "../support/scratch.ts";

const cannot = notRoot ?? lacksTool("ip");

const interior: readonly KernelObject[] = [
  { kind: "link", name: "lo", type: "external" },
  { kind: "link", name: "eth0", type: "external", mtuBytes: 1380 },
  { kind: "address", link: "eth0", address: parseInterfaceAddress("10.244.1.7/24") },
  {
    kind: "route",
    destination: parsePrefix("0.0.0.0/0"),
    hops: [{ via: parseIp("10.244.1.1"), dev: "eth0" }],
  },
];

let scratch: Scratch;

beforeEach(() => {
  if (cannot === undefined) scratch = new Scratch();
});

afterEach(() => {
  if (cannot === undefined) scratch[Symbol.dispose]();
});

describe.skipIf(cannot !== undefined)(
  `applyOnce${cannot === undefined ? "" : ` (skipped: ${cannot})`}`,
  () => {
    test("makes the inside of a pod, without our mark", () => {
      const pod = scratch.another();
      using engine = Engine.open({ netns: scratch.netns });
      engine.set("pod", [{ kind: "link", name: "cw1", type: "veth", peer: { name: "eth0", netns: pod } }]);
      expect(engine.apply().failed).toEqual([]);
      applyOnce(pod, interior);
      applyOnce(pod, interior);
      expect(scratch.text("ip route", pod)).toBe(
        "default via 10.244.1.1 dev eth0 proto static \n10.244.1.0/24 dev eth0 proto kernel scope link src 10.244.1.7 \n",
      );
      expect(scratch.text("ip link show eth0", pod)).toContain("mtu 1380");
      expect(scratch.text("ip link show", pod)).not.toContain("causeway");
      using inside = Engine.open({ netns: pod });
      expect(inside.sweep().applied).toBe(0);
    });

    test("a failure is thrown, and what was made is undone", () => {
      const pod = scratch.another();
      scratch.text("ip link add eth0 type bridge", pod);
      const bad: KernelObject = {
        kind: "route",
        destination: parsePrefix("10.9.0.0/16"),
        hops: [{ via: parseIp("192.0.2.1") }],
      };
      expect(() => applyOnce(pod, [...interior, { kind: "link", name: "br0", type: "bridge" }, bad])).toThrow(
        /Cannot add route 10\.9\.0\.0\/16 .*invalid gateway/,
      );
      expect(scratch.text("ip -4 addr show eth0", pod)).toBe("");
      expect(scratch.text("ip -br link", pod)).not.toContain("br0");
      expect(() =>
        applyOnce(pod, [{ kind: "address", link: "none", address: parseInterfaceAddress("10.0.0.1/24") }]),
      ).toThrow("waits for link none");
    });
  },
);
