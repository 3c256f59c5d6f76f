import { expect, test } from "bun:test";
import { formatIp, formatPrefix, parseIp, parsePrefix } from "../../net/mod.ts";
import type { PolicyChange } from "../../netlink/mod.ts";
import { MOST_XFRM_ROUTES, XfrmMarks } from "./xfrm-marks.ts";
import { blocked, XfrmRoute } from "./xfrm-route.ts";

/** A policy in a line. */
function text({ direction, selector, priority, action = "allow", templates = [] }: PolicyChange): string {
  const { source, destination, sourcePort, destinationPort } = selector;
  const through = templates.map(
    ({ source: from, destination: to, reqid, spi = 0 }) =>
      `${formatIp(from)} ${formatIp(to)} reqid ${reqid & 0xffff} spi ${spi}`,
  );
  const port = (match: typeof sourcePort) =>
    typeof match === "object" ? `:${match.value}/${match.mask}` : "";
  const words = [
    direction,
    `${formatPrefix(source)}${port(sourcePort)}`,
    `${formatPrefix(destination)}${port(destinationPort)}`,
    priority & 0xff,
    action,
    ...through,
  ];
  return words.join(" ");
}

const route = () => {
  const made = new XfrmRoute("tokyo", new XfrmMarks(3).take());
  made.set({
    name: "tokyo",
    prefixes: [parsePrefix("10.2.0.0/16"), parsePrefix("fd02::/64")],
    mtuBytes: 1300,
  });
  return made;
};

const aim = (queue: number, spi: number) => ({
  ...{ queue, spi, from: parseIp(`192.0.2.${queue}`), to: parseIp(`198.51.100.${queue}`) },
});

test("a route without an association takes what comes from its own, and lets nothing out", () => {
  expect(route().policies().map(text)).toEqual([
    "in 10.2.0.0/16 0.0.0.0/0 225 allow 0.0.0.0 0.0.0.0 reqid 1 spi 0",
    "fwd 10.2.0.0/16 0.0.0.0/0 225 allow 0.0.0.0 0.0.0.0 reqid 1 spi 0",
    "in fd02::/64 ::/0 129 allow :: :: reqid 1 spi 0",
    "fwd fd02::/64 ::/0 129 allow :: :: reqid 1 spi 0",
    "out 0.0.0.0/0 10.2.0.0/16 225 block",
    "out ::/0 fd02::/64 129 block",
  ]);
});

test("with one, both families go through that and no other", () => {
  const one = route();
  one.aims = [aim(1, 700), aim(1, 700)];
  expect(one.outward().map(text)).toEqual([
    "out 0.0.0.0/0 10.2.0.0/16 225 allow 192.0.2.1 198.51.100.1 reqid 1 spi 700",
    "out ::/0 fd02::/64 129 allow 192.0.2.1 198.51.100.1 reqid 1 spi 700",
  ]);
});

test("of several queues each has a share of the flows, by ports, before what goes by the first", () => {
  const one = route();
  one.prefixes = one.prefixes.slice(0, 1);
  one.aims = [aim(1, 701), aim(2, 702)];
  const [first, ...shares] = one.outward().map(text);
  expect(first).toBe("out 0.0.0.0/0 10.2.0.0/16 225 allow 192.0.2.1 198.51.100.1 reqid 1 spi 701");
  expect(shares).toHaveLength(8);
  expect(shares[0]).toBe(
    "out 0.0.0.0/0:0/6 10.2.0.0/16:4/6 224 allow 192.0.2.2 198.51.100.2 reqid 1 spi 702",
  );
  // To each port of others, half of a host's own.
  const ofPort = (destination: number) => shares.filter((share) => share.includes(`/16:${destination}/6 `));
  for (const port of [0, 2, 4, 6]) expect(ofPort(port)).toHaveLength(2);
  one.aims = [1, 2, 3, 4].map((queue) => aim(queue, 700 + queue));
  for (const spi of [702, 703, 704])
    expect(one.outward().filter(({ templates }) => templates?.[0]?.spi === spi)).toHaveLength(4);
  // The third goes by the first, the fourth by the second.
  const before = one.aims;
  one.aims = [1, 2, 1, 2].map((queue) => aim(queue, 700 + queue));
  expect(one.idleShares(before)).toHaveLength(4);
  expect(one.outward()).toHaveLength(1 + 8);
  one.aims = [];
  expect(one.outward().map(text)).toEqual(["out 0.0.0.0/0 10.2.0.0/16 225 block"]);
  expect([one.idleShares(before), one.idleShares(undefined)].map(({ length }) => length)).toEqual([12, 16]);
});

test("each of up to sixteen queues has shares, as many as any other or one less, and to one port all of up to four", () => {
  const one = route();
  one.prefixes = one.prefixes.slice(0, 1);
  for (const queues of [2, 3, 4, 5, 7, 8, 12, 16, 64]) {
    one.aims = Array.from({ length: queues }, (_, i) => aim(i + 1, 700 + i));
    const of = new Map<number, number>();
    const ofPort = new Map<number, Set<number>>([0, 2, 4, 6].map((port) => [port, new Set()]));
    for (const source of [0, 2, 4, 6])
      for (const destination of [0, 2, 4, 6]) {
        const share = one
          .outward()
          .slice(1)
          .find(({ selector: { sourcePort, destinationPort } }) =>
            Bun.deepEquals(
              [sourcePort, destinationPort],
              [source, destination].map((value) => ({ value, mask: 6 })),
            ),
          );
        const spi = (share ?? one.outward()[0])?.templates?.[0]?.spi as number;
        of.set(spi, (of.get(spi) ?? 0) + 1);
        ofPort.get(destination)?.add(spi);
      }
    const counts = [...of.values()];
    expect([queues, of.size]).toEqual([queues, Math.min(queues, 16)]);
    expect(Math.max(...counts) - Math.min(...counts)).toBeLessThanOrEqual(1);
    for (const to of ofPort.values()) expect(to.size).toBe(Math.min(queues, 4));
  }
});

test("what blocks a prefix has the selectors and priorities of its route: one takes the other's place", () => {
  const made = route();
  const names = (policies: readonly PolicyChange[]) =>
    policies.map((policy) => text({ ...policy, action: "block", templates: [] })).sort();
  const blocking = blocked(made.prefixes, new XfrmMarks(3).priority);
  expect(names(blocking)).toEqual(names(made.policies()));
  expect(blocking.map(({ direction, action }) => `${direction} ${action}`)).toEqual([
    ...["out block", "out block"],
    ...["in block", "in block", "fwd block", "fwd block"],
  ]);
});

test("routes have the route's MTU, else the gateway's, and the private side's addresses as source", () => {
  const one = route();
  const bed = { linkIndex: 5, four: parseIp("10.1.0.1"), mtuBytes: 1400 };
  expect(one.routes(bed)).toMatchObject([
    { mtuBytes: 1300, source: parseIp("10.1.0.1"), hops: [{ linkIndex: 5 }] },
    { mtuBytes: 1300, hops: [{ linkIndex: 5 }] },
  ]);
  one.ownMtuBytes = undefined;
  expect(one.routes(bed).map((each) => each.mtuBytes)).toEqual([1400, 1400]);
});

test("a policy that an older version has left is its instance's, and no other's", () => {
  const instances = [0, 1, 0xca, 255].map((instance) => [instance, new XfrmMarks(instance)] as const);
  for (const [instance] of instances)
    for (const below of [0, 128, 255]) {
      const older = 0xca_0000 + instance * 256 + below;
      expect(instances.flatMap(([one, marks]) => (marks.hasPriority(older) ? [one] : []))).toEqual([
        instance,
      ]);
    }
});

test("numbers of routes: those of instances are apart, and given back they are taken again", () => {
  const [marks, other] = [new XfrmMarks(0), new XfrmMarks(1)];
  const all = Array.from({ length: MOST_XFRM_ROUTES }, () => marks.take());
  expect(new Set(all.map(({ reqid }) => reqid)).size).toBe(MOST_XFRM_ROUTES);
  expect(() => marks.take()).toThrow("remove some first");
  const [first] = all;
  for (const { reqid, priority, protocol, metric } of all.filter((_, index) => index % 1000 === 0)) {
    expect([marks.hasReqid(reqid), other.hasReqid(reqid)]).toEqual([true, false]);
    for (const less of [0, 2 * 128 + 1])
      expect([marks.hasPriority(priority - less), other.hasPriority(priority - less)]).toEqual([true, false]);
    if (reqid === first?.reqid)
      expect([marks.hasRoute({ protocol, metric }), other.hasRoute({ protocol, metric })]).toEqual([
        true,
        false,
      ]);
  }
  marks.give((first as { reqid: number }).reqid);
  expect(marks.take()).toEqual(first as NonNullable<typeof first>);
  expect(() => new XfrmMarks(256)).toThrow(RangeError);
});
