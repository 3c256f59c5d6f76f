import { expect, test } from "bun:test";
import type { Qdisc } from "../engine/mod.ts";
import { parseIp } from "../net/mod.ts";
import { bandwidthObjects, defaultBurstBits, shaperLinkOf } from "./bandwidth.ts";
import { hostLinkOf, podId, podMac } from "./identity.ts";
import { type Pod, podObjects } from "./pod.ts";

const id = podId({ network: "net", containerId: "c1", ifname: "eth0" });
const rate = { bitsPerSecond: 20_000_000, burstBits: 200_000 };

function bucket(bitsPerSecond: number, burstBits: number, mtuBytes = 1420): Qdisc {
  const [object] = bandwidthObjects({ id, mtuBytes, bandwidth: { ingress: { bitsPerSecond, burstBits } } });
  return object as Qdisc;
}

test("ingress is a token bucket on the host's end; egress one on a link of its own, and the way there", () => {
  const pod = { id, mtuBytes: 1420 };
  expect(bandwidthObjects(pod)).toEqual([]);
  expect(bandwidthObjects({ ...pod, bandwidth: {} })).toEqual([]);
  const settings = {
    kind: "qdisc",
    type: "tbf",
    rateBytesPerSecond: 2_500_000,
    burstBytes: 25_000,
    limitBytes: 62_500,
  };
  const [link, ifb] = [hostLinkOf(id), shaperLinkOf(id)];
  const ingress = { ...settings, link };
  const egress = [
    { kind: "link", type: "ifb", name: ifb, mtuBytes: 1420, addrGen: "none" },
    { ...settings, link: ifb },
    { kind: "filter", link, redirect: ifb },
  ];
  expect(bandwidthObjects({ ...pod, bandwidth: { ingress: rate } })).toEqual([ingress] as never);
  expect(bandwidthObjects({ ...pod, bandwidth: { egress: rate } })).toEqual(egress as never);
  expect(bandwidthObjects({ ...pod, bandwidth: { ingress: rate, egress: rate } })).toEqual([
    ingress,
    ...egress,
  ] as never);
});

test("a pod's objects hold its limits", () => {
  const addresses = [parseIp("10.244.1.2")];
  const pod: Pod = { id, ifname: "eth0", mac: podMac(addresses), addresses, mtuBytes: 1420 };
  const kinds = (of: Pod) => podObjects(of).filter(({ kind }) => kind === "qdisc" || kind === "filter");
  expect(kinds(pod)).toEqual([]);
  expect(kinds({ ...pod, bandwidth: { ingress: rate, egress: rate } })).toHaveLength(3);
});

test("the link's name fits, and is none of a pod's", () => {
  expect(shaperLinkOf(id)).toMatch(/^ifb[0-9a-z]{11}$/);
});

test("every burst lets a frame through, and every queue what the burst lets through", () => {
  for (const mtuBytes of [68, 1280, 1420, 1500, 9000, 65_535])
    for (const bitsPerSecond of [1, 1000, 1e6, 2e7, 1e9, 1e11, 1e15])
      for (const burstBits of [1, 8 * 1500, defaultBurstBits(bitsPerSecond), 2 ** 35]) {
        const { rateBytesPerSecond, burstBytes, limitBytes } = bucket(bitsPerSecond, burstBits, mtuBytes);
        expect(rateBytesPerSecond).toBeGreaterThan(0);
        expect(burstBytes).toBeGreaterThanOrEqual(mtuBytes + 14);
        expect(limitBytes).toBeGreaterThanOrEqual(Math.min(burstBytes, 65_536));
        for (const number of [rateBytesPerSecond, burstBytes, limitBytes])
          expect([number, Number.isInteger(number)]).toEqual([number, true]);
        for (const number of [burstBytes, limitBytes]) expect(number).toBeLessThanOrEqual(0xffff_ffff);
      }
});

test("the burst is the one asked for where it can be; the queue does not grow with it", () => {
  expect(bucket(2e7, 8 * 40_000)).toMatchObject({ burstBytes: 40_000, limitBytes: 62_500 });
  expect(bucket(2e7, 8 * 512_000_000)).toMatchObject({ burstBytes: 512_000_000, limitBytes: 81_920 });
  expect(bucket(1e6, 8 * 3000)).toMatchObject({ burstBytes: 3000, limitBytes: 16 * 1438 });
  expect(bucket(1e9, 8 * 1500)).toMatchObject({ burstBytes: 125_000, limitBytes: 3_125_000 });
});

test("the default burst is 10 ms of the rate, and not less than 16 KiB", () => {
  expect(defaultBurstBits(1e6)).toBe(8 * 16_384);
  expect(defaultBurstBits(1e9)).toBe(1e7);
});
