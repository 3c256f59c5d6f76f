/** The socket against the kernel: interrupted dumps, a handler that throws, a namespace that goes away. */
import { describe, expect, test } from "bun:test";
import { deleteNexthop, addNexthop, Rtnetlink, setLink } from "../../src/netlink/mod.ts";
import { familyId, openGeneric } from "../../src/netlink/generic.ts";
import { decodeNexthop, NEXTHOP, nexthopMessage } from "../../src/netlink/nexthop.ts";
import { message } from "../../src/netlink/request.ts";
import { NetlinkSocket } from "../../src/netlink/socket.ts";
import { NETLINK, openDescriptions } from "../../src/sys/mod.ts";
import { notRoot, Scratch } from "../support/scratch.ts";

const everyNexthop = message(NEXTHOP.get, 0, nexthopMessage, { header: {}, body: {} });

/** So many next hops that a dump needs several datagrams. */
const scratchWithNexthops = (count: number) =>
  Scratch.prepared((scratch) => {
    scratch.route.request(setLink({ name: "lo", up: true }));
    const all = Array.from({ length: count }, (_, i) => addNexthop({ id: i + 1, blackhole: true }));
    expect(scratch.route.execute(all).filter((error) => error !== undefined)).toEqual([]);
    return {};
  });

describe.skipIf(notRoot !== undefined)(`socket${notRoot === undefined ? "" : ` (${notRoot})`}`, () => {
  test("a dump that changes while it is read is read again, until it is whole", () => {
    using scratch = scratchWithNexthops(3000);
    using socket = NetlinkSocket.open(NETLINK.route, { netns: scratch.netns });
    let starts = 0;
    let ids: number[] = [];
    socket.dump(
      "read nexthops",
      everyNexthop,
      () => {
        starts++;
        ids = [];
      },
      (_type, reader) => {
        ids.push(decodeNexthop(reader)?.id ?? 0);
        // During the first two tries something is removed after the first datagram.
        if (ids.length === 1 && starts <= 2) scratch.route.request(deleteNexthop({ id: 3000 - starts }));
      },
    );
    expect(starts).toBe(3);
    expect(ids).toHaveLength(2998);
    expect(new Set(ids).size).toBe(2998);
  });

  test("a dump that never holds still is an error", () => {
    using scratch = scratchWithNexthops(2000);
    using socket = NetlinkSocket.open(NETLINK.route, { netns: scratch.netns });
    let first = true;
    let next = 2000;
    const dump = () =>
      socket.dump(
        "read nexthops",
        everyNexthop,
        () => (first = true),
        () => {
          if (first) scratch.route.request(deleteNexthop({ id: next-- }));
          first = false;
        },
      );
    expect(dump).toThrow("Cannot read nexthops: it changed 16 times while it was read (EINTR)");
    expect(scratch.route.nexthops()).toHaveLength(2000 - 16);
  });

  test("a handler that throws leaves the socket usable", () => {
    using scratch = scratchWithNexthops(2000);
    using socket = NetlinkSocket.open(NETLINK.route, { netns: scratch.netns });
    const dump = (work: () => void) =>
      socket.dump(
        "read nexthops",
        everyNexthop,
        () => {},
        () => work(),
      );
    for (let i = 0; i < 3; i++)
      expect(() =>
        dump(() => {
          throw new Error("mine");
        }),
      ).toThrow("mine");
    let count = 0;
    dump(() => count++);
    expect(count).toBe(2000);
  });

  test("of many requests at once each that is refused is told of, and no other", () => {
    const count = 700;
    const there = [0, 127, 128, 300, 301, count - 1];
    using scratch = scratchWithNexthops(0);
    const request = (i: number) => addNexthop({ id: i + 1, blackhole: true });
    expect(scratch.route.execute(there.map(request))).toEqual(there.map(() => undefined));
    const all = Array.from({ length: count }, (_, i) => request(i));
    const refused = scratch.route.execute(all).flatMap((error, i) => (error === undefined ? [] : [i]));
    expect(refused).toEqual(there);
    expect(scratch.route.nexthops()).toHaveLength(count);
    // Now all of them, and so more answers than usual.
    expect(scratch.route.execute(all).map((error) => error?.code)).toEqual(all.map(() => "EEXIST"));
  });

  test("a socket works in its namespace wherever the thread is, and after the namespace lost its name", () => {
    using scratch = new Scratch();
    using elsewhere = Rtnetlink.open({ netns: scratch.another() });
    const far = scratch.another();
    using there = Rtnetlink.open({ netns: far });
    scratch.text("ip link add far0 type bridge", far);
    const found = scratch.netns.run(() => there.links().map((link) => link.name) as never) as string[];
    expect(found).toEqual(["lo", "far0"]);
    expect(elsewhere.links()).toHaveLength(1);
    scratch[Symbol.dispose]();
    expect(there.link("far0")?.kind).toBe("bridge");
  });

  test("generic families are found by name", () => {
    using socket = openGeneric(undefined);
    expect(familyId(socket, "nlctrl")).toBe(16);
    expect(familyId(socket, "no-such-family")).toBeUndefined();
  });

  test("a failed open gives its descriptor back", () => {
    const before = openDescriptions();
    expect(() => NetlinkSocket.open(NETLINK.route, { groups: [100_000] })).toThrow();
    expect(openDescriptions()).toEqual(before);
  });
});
