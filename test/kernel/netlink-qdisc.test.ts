/** Queueing disciplines and filters: tc(8) is the witness. */
import { describe, expect, test } from "bun:test";
import {
  addFilter,
  addLink,
  addQdisc,
  deleteFilter,
  deleteQdisc,
  type FilterInfo,
  Monitor,
  type QdiscInfo,
  type RouteEvent,
  sameTbf,
} from "../../src/netlink/mod.ts";
import {
  expectAgreement,
  type Json,
  lacksKind,
  lacksTool,
  notRoot,
  refusal,
  Scratch,
} from "../support/scratch.ts";

const cannot = notRoot ?? lacksTool("tc") ?? lacksKind({ name: "x", type: "ifb" });
const bucket = { rateBytesPerSecond: 2_500_000, burstBytes: 25_000, limitBytes: 62_500 };

const prepared = () =>
  Scratch.prepared(({ route }) => {
    route.request(addLink({ name: "va", type: "veth", peer: { name: "vb" }, up: true }));
    route.request(addLink({ name: "ifb9", type: "ifb", mtuBytes: 1400, up: true }));
    return { va: route.link("va")?.index ?? 0, ifb: route.link("ifb9")?.index ?? 0 };
  });

function expectQdiscsAgree(scratch: Scratch): void {
  const names = scratch.names();
  const ours = ({ linkIndex, kind, major, place, tbf }: QdiscInfo): Json => ({
    dev: names.get(linkIndex),
    kind,
    handle: `${major.toString(16)}:`,
    place,
    rate: tbf?.rateBytesPerSecond,
  });
  const theirs = ({ dev, kind, handle, root, parent, options }: Json): Json => ({
    dev,
    kind,
    handle,
    place: root === true ? "root" : parent === "ffff:fff1" ? "ingress" : undefined,
    rate: kind === "tbf" ? options.rate : undefined,
  });
  expectAgreement(
    () => scratch.route.qdiscs().map(ours),
    () => scratch.json("tc -j qdisc show").map(theirs),
  );
}

function expectFiltersAgree(scratch: Scratch, dev: string): void {
  const names = scratch.names();
  const linkIndex = scratch.index(dev);
  // tc(8) names the table and the whole preference without the fields of a filter.
  const ours = ({ pref, kind, handle, matchesAll, redirect }: FilterInfo): Json => ({
    pref,
    kind,
    handle: `${(handle >>> 20).toString(16)}::${(handle & 0xfff).toString(16)}`,
    matchesAll,
    to: redirect === undefined ? undefined : (names.get(redirect) ?? "*"),
  });
  const theirs = ({ pref, kind, protocol, options }: Json): Json => ({
    pref,
    kind,
    handle: options.fh,
    matchesAll: protocol === "all" && options.match.mask === "0",
    to:
      options.actions.length === 1 && options.actions[0].mirred_action === "redirect"
        ? options.actions[0].to_dev
        : undefined,
  });
  expectAgreement(
    () =>
      scratch.route
        .filters({ linkIndex })
        .filter(({ handle }) => (handle & 0xfff) !== 0)
        .map(ours),
    () =>
      scratch
        .json(`tc -j filter show dev ${dev} ingress`)
        .filter(({ options }: Json) => options?.match !== undefined)
        .map(theirs),
  );
}

describe.skipIf(cannot !== undefined)(
  `qdiscs and filters${cannot === undefined ? "" : ` (skipped: ${cannot})`}`,
  () => {
    test("a token bucket is made, changed in place and removed", () => {
      using scratch = prepared();
      const { route, va } = scratch;
      expectQdiscsAgree(scratch);
      const add = { linkIndex: va, kind: "tbf", major: 67, ...bucket } as const;
      route.request(addQdisc(add));
      expect(scratch.json("tc -j qdisc show dev va")).toMatchObject([
        { kind: "tbf", handle: "43:", root: true, options: { rate: 2_500_000, burst: 25_000, lat: 15_000 } },
      ]);
      expectQdiscsAgree(scratch);
      expect(refusal(() => route.request(addQdisc(add))).code).toBe("EEXIST");
      route.request(addQdisc({ ...add, rateBytesPerSecond: 1_250_000, replace: true }));
      expect(scratch.json("tc -j qdisc show dev va")[0].options).toMatchObject({
        rate: 1_250_000,
        burst: 25_000,
      });
      expect(refusal(() => route.request(deleteQdisc({ linkIndex: va, major: 1 }))).message).toContain(
        "handle",
      );
      route.request(deleteQdisc({ linkIndex: va, major: 67 }));
      expect(scratch.json("tc -j qdisc show dev va")).toMatchObject([{ kind: "noqueue", handle: "0:" }]);
      expectQdiscsAgree(scratch);
    });

    test("what is asked for is recognised, and what is not is told apart, at any rate and burst", () => {
      using scratch = prepared();
      const { route, va } = scratch;
      for (const rateBytesPerSecond of [1, 125, 7_777_777, 0xffff_ffff, 0x1_0000_0000, 125_000_000_000_000])
        for (const burstBytes of [1438, 16_384, 123_456_789, 0xffff_ffff]) {
          const wanted = { rateBytesPerSecond, burstBytes, limitBytes: 0xffff_ffff };
          route.request(addQdisc({ linkIndex: va, kind: "tbf", major: 67, replace: true, ...wanted }));
          const tbf = route.qdiscs().find(({ major }) => major === 67)?.tbf;
          if (tbf === undefined) throw new Error("it is not there");
          expect([tbf, sameTbf(tbf, wanted)]).toEqual([tbf, true]);
          expect(sameTbf(tbf, { ...wanted, limitBytes: 1 })).toBe(false);
          expect(sameTbf(tbf, { ...wanted, rateBytesPerSecond: rateBytesPerSecond + 1 })).toBe(false);
          // The kernel tells the burst in ticks of 64 ns, modulo 2³²: longer ones only differ for sure when they differ by little.
          const seconds = burstBytes / rateBytesPerSecond;
          if (seconds > 1e-6 && seconds < 100)
            expect([tbf, sameTbf(tbf, { ...wanted, burstBytes: Math.floor(burstBytes / 2) })]).toEqual([
              tbf,
              false,
            ]);
        }
    });

    test("what tc(8) makes is recognised, and a second bucket is no match", () => {
      using scratch = prepared();
      const { route } = scratch;
      const read = () =>
        route.qdiscs().find(({ major }) => major === 67)?.tbf as NonNullable<QdiscInfo["tbf"]>;
      scratch.text("tc qdisc add dev va root handle 43: tbf rate 20mbit burst 25000b limit 62500b");
      expect(sameTbf(read(), bucket)).toBe(true);
      scratch.text(
        "tc qdisc change dev va root handle 43: tbf rate 20mbit burst 25000b limit 62500b peakrate 40mbit mtu 1500",
      );
      expect(sameTbf(read(), bucket)).toBe(false);
    });

    test("a filter leads frames to another link", () => {
      using scratch = prepared();
      const { route, va, ifb } = scratch;
      expect(route.filters({ linkIndex: va })).toEqual([]);
      const add = { linkIndex: va, pref: 67, node: 67, redirect: ifb };
      expect(refusal(() => route.request(addFilter(add))).code).toBe("EINVAL");
      route.request(addQdisc({ linkIndex: va, kind: "clsact" }));
      expect(refusal(() => route.request(addQdisc({ linkIndex: va, kind: "clsact" }))).code).toBe("EEXIST");
      scratch.text(
        "tc filter add dev va ingress pref 5 protocol ip u32 match ip dst 10.0.0.1 action mirred egress redirect dev ifb9",
      );
      scratch.text(
        "tc filter add dev va ingress pref 6 protocol all u32 match u32 0 0 action mirred egress mirror dev ifb9",
      );
      route.request(addFilter(add));
      expectQdiscsAgree(scratch);
      expectFiltersAgree(scratch, "va");
      const found = route
        .filters({ linkIndex: va })
        .find(({ pref, handle }) => pref === 67 && (handle & 0xfff) === 67);
      expect(found).toMatchObject({ kind: "u32", matchesAll: true, redirect: ifb });
      const shown = scratch.json("tc -j filter show dev va ingress");
      expect(shown.find(({ options }: Json) => options?.fh.endsWith("::43"))).toMatchObject({
        protocol: "all",
        pref: 67,
        options: {
          actions: [{ kind: "mirred", mirred_action: "redirect", direction: "egress", to_dev: "ifb9" }],
        },
      });
      expect(refusal(() => route.request(addFilter(add))).code).toBe("ENOSPC");
      route.request(deleteFilter(found as FilterInfo));
      // Its table stays while others of kind u32 are there (cls_u32.c, u32_delete).
      const gone = ({ pref, handle }: FilterInfo) => pref !== 67 || (handle & 0xfff) === 0;
      expect(route.filters({ linkIndex: va }).every(gone)).toBe(true);
      expect(route.filters({ linkIndex: 9999 })).toEqual([]);
    });

    test("filters of others are read as tc(8) shows them; one whose link is gone leads nowhere", () => {
      using scratch = prepared();
      const redirect = "action mirred egress redirect dev ifb9";
      for (const command of [
        "tc qdisc add dev va ingress",
        `tc filter add dev va ingress pref 67 protocol all handle ::43 u32 match u32 0 0 ${redirect}`,
        `tc filter add dev va ingress pref 68 protocol all u32 match u32 0 0 match u32 1 1 ${redirect}`,
        `tc filter add dev va ingress pref 69 protocol ip u32 match u32 0 0 ${redirect}`,
        `tc filter add dev va ingress pref 70 protocol all u32 match u32 0 0 action mirred egress mirror dev vb ${redirect}`,
      ])
        scratch.text(command);
      expectFiltersAgree(scratch, "va");
      const read = () =>
        scratch.route
          .filters({ linkIndex: scratch.va })
          .filter(({ handle }) => (handle & 0xfff) !== 0)
          .map(({ pref, matchesAll, redirect }) => [pref, matchesAll, redirect]);
      expect(read()).toEqual([
        [67, true, scratch.ifb],
        [68, false, scratch.ifb],
        [69, false, scratch.ifb],
        [70, true, undefined],
      ]);
      scratch.text("ip link del ifb9");
      expectFiltersAgree(scratch, "va");
      expect(read()[0]).toEqual([67, true, 0]);
    });

    test("events tell of what is made and removed, also by tc(8)", () => {
      using scratch = prepared();
      const { route, va, ifb } = scratch;
      const events: RouteEvent[] = [];
      using monitor = Monitor.open({
        netns: scratch.netns,
        groups: ["tc"],
        onEvent: (event) => events.push(event),
        onOverrun: () => {},
      });
      const seen = () => {
        monitor.drain();
        return events.splice(0).map((event) => {
          if (event.kind !== "qdisc" && event.kind !== "filter") throw new Error(event.kind);
          const { kind, deleted, info } = event;
          return [deleted ? "del" : "add", kind, info.linkIndex === va ? "va" : "other", info.kind];
        });
      };
      // A link alone is no event: a pod without limits costs nothing here.
      scratch.text("ip link add name vc type veth peer name vd");
      scratch.text("ip link set vc up");
      expect(seen()).toEqual([]);
      route.request(addQdisc({ linkIndex: va, kind: "tbf", major: 67, ...bucket }));
      expect(seen()).toEqual([
        ["del", "qdisc", "va", "noqueue"],
        ["add", "qdisc", "va", "tbf"],
      ]);
      route.request(addQdisc({ linkIndex: va, kind: "clsact" }));
      route.request(addFilter({ linkIndex: va, pref: 67, node: 67, redirect: ifb }));
      expect(seen()).toEqual([
        ["add", "qdisc", "va", "clsact"],
        ["add", "filter", "va", "u32"],
      ]);
      scratch.text("tc filter del dev va ingress");
      scratch.text("tc qdisc del dev va clsact");
      scratch.text("tc qdisc del dev va root");
      expect(seen()).toEqual([
        ["del", "filter", "va", "u32"],
        ["del", "qdisc", "va", "clsact"],
        ["del", "qdisc", "va", "tbf"],
      ]);
    });
  },
);
