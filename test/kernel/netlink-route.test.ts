/** Addresses, routes, next hops and rules: ip(8) is the witness of what we make and of what we read. */
import { describe, expect, test } from "bun:test";
import {
  formatIp,
  formatPrefix,
  parseInterfaceAddress,
  parseIp,
  parsePrefix,
  type Prefix,
} from "../../src/net/mod.ts";
import {
  type AddressInfo,
  addAddress,
  addLink,
  addNexthop,
  addRoute,
  addRule,
  deleteAddress,
  deleteNexthop,
  deleteRoute,
  deleteRule,
  type NexthopInfo,
  type RouteHopInfo,
  type RouteInfo,
  type RuleInfo,
  setLink,
} from "../../src/netlink/mod.ts";
import { expectAgreement, type Json, notRoot, refusal, Scratch } from "../support/scratch.ts";

/** A namespace with a bridge that has a carrier, and addresses. */
const scratchWithBridge = () => Scratch.prepared(setUpBridge);

function setUpBridge(scratch: Scratch): { readonly br: number } {
  const { route } = scratch;
  route.request(setLink({ name: "lo", up: true }));
  route.request(addLink({ name: "br0", type: "bridge", up: true, addrGen: "none" }));
  const br = scratch.index("br0");
  route.request(
    addLink({ name: "v0", type: "veth", peer: { name: "v1" }, master: br, up: true, addrGen: "none" }),
  );
  route.request(setLink({ name: "v1", up: true, addrGen: "none" }));
  route.request(addAddress({ linkIndex: br, address: parseInterfaceAddress("10.0.0.1/24"), protocol: 67 }));
  route.request(
    addAddress({
      linkIndex: br,
      address: parseInterfaceAddress("fd00::1/64"),
      nodad: true,
      protocol: 67,
    }),
  );
  return { br };
}

/** `default`, `10.1.0.0/16`, `10.1.0.1`: as ip(8) prints destinations. */
function destination(prefix: Prefix): string {
  if (prefix.length === 0) return "default";
  return formatPrefix(prefix).replace(prefix.family === 4 ? /\/32$/ : /\/128$/, "");
}

function hopText(hop: RouteHopInfo, names: Map<number, string>): Json {
  return {
    via: hop.via && formatIp(hop.via),
    dev: names.get(hop.linkIndex ?? 0),
    onlink: hop.onlink,
    dead: hop.dead,
    linkDown: hop.linkDown,
  };
}

/** With -N ip(8) prints some words as the kernel's numbers. */
const typeNumbers: Record<string, string> = {
  unicast: "1",
  local: "2",
  broadcast: "3",
  anycast: "4",
  multicast: "5",
  blackhole: "6",
  unreachable: "7",
  prohibit: "8",
};
const scopeNumbers = { global: "0", site: "200", link: "253", host: "254", nowhere: "255" };

function ourRoute(route: RouteInfo, names: Map<number, string>): Json {
  const several = route.hops.length > 1;
  return {
    dst: destination(route.destination),
    type: typeNumbers[route.type],
    table: String(route.table),
    protocol: String(route.protocol),
    scope: scopeNumbers[route.scope],
    metric: route.metric,
    source: route.source && formatIp(route.source),
    nhid: route.nexthopId,
    mtu: route.mtuBytes,
    advmss: route.advmssBytes,
    hops: route.hops.map((hop) => ({
      ...hopText(hop, names),
      weight: several ? hop.weight : undefined,
    })),
  };
}

function theirHop(hop: Json): Json {
  return {
    via: hop.gateway ?? hop.via?.host,
    dev: hop.dev,
    onlink: hop.flags.includes("onlink"),
    dead: hop.flags.includes("dead"),
    linkDown: hop.flags.includes("linkdown"),
    weight: hop.weight,
  };
}

function theirRoute(route: Json): Json {
  return {
    dst: route.dst,
    type: typeNumbers[route.type] ?? route.type,
    table: route.table,
    protocol: route.protocol,
    scope: route.scope,
    metric: route.metric ?? 0,
    source: route.prefsrc,
    nhid: route.nhid,
    mtu: route.metrics?.[0]?.mtu,
    advmss: route.metrics?.[0]?.advmss,
    hops: route.nexthops?.map(theirHop) ?? (route.dev === undefined ? [] : [theirHop(route)]),
  };
}

function expectRoutesAgree(scratch: Scratch): void {
  const names = scratch.names();
  expectAgreement(
    () => scratch.route.routes().map((route) => ourRoute(route, names)),
    () =>
      ["-4", "-6"].flatMap((family) =>
        scratch.json(`ip -N -j -d ${family} route show table all`).map(theirRoute),
      ),
  );
}

function ourAddress(address: AddressInfo): Json {
  return {
    link: address.linkIndex,
    local: formatIp(address.address.ip),
    length: address.address.length,
    peer: address.peer && formatIp(address.peer),
    broadcast: address.broadcast && formatIp(address.broadcast),
    scope: String(address.scope),
    nodad: address.nodad,
    noprefixroute: address.noprefixroute,
    deprecated: address.deprecated,
    tentative: address.tentative,
  };
}

function expectAddressesAgree(scratch: Scratch): void {
  expectAgreement(
    () => scratch.route.addresses().map(ourAddress),
    () =>
      scratch.json("ip -N -j addr show").flatMap((link: Json) =>
        link.addr_info.map((address: Json) => ({
          link: link.ifindex,
          local: address.local,
          length: address.prefixlen,
          peer: address.address,
          broadcast: address.broadcast,
          scope: address.scope,
          nodad: address.nodad ?? false,
          noprefixroute: address.noprefixroute ?? false,
          deprecated: address.deprecated ?? false,
          tentative: address.tentative ?? false,
        })),
      ),
  );
}

describe.skipIf(notRoot !== undefined)(`addresses${notRoot === undefined ? "" : ` (${notRoot})`}`, () => {
  test("added, replaced, deleted; flags, peer, mark", () => {
    using scratch = scratchWithBridge();
    const { route, br } = scratch;
    const plain = { linkIndex: br, address: parseInterfaceAddress("192.0.2.1/25") };
    const pointToPoint = {
      linkIndex: br,
      address: parseInterfaceAddress("198.51.100.1/32"),
      peer: parseIp("198.51.100.2"),
    };
    const six = {
      linkIndex: br,
      address: parseInterfaceAddress("fd01::1/80"),
      nodad: true,
      noprefixroute: true,
      protocol: 67,
    };
    expect(route.execute([plain, pointToPoint, six].map(addAddress))).toEqual([
      undefined,
      undefined,
      undefined,
    ]);
    expectAddressesAgree(scratch);
    expect(route.addresses({ linkIndex: br })).toHaveLength(5);
    expect(route.addresses({ linkIndex: br }).find((a) => a.address.length === 80)).toMatchObject({
      nodad: true,
      noprefixroute: true,
      protocol: 67,
      permanent: true,
      tentative: false,
    });
    // No prefix route for fd01::/80.
    expect(route.routes().some((r) => r.destination.length === 80)).toBe(false);

    const again = refusal(() => route.request(addAddress(six)));
    expect(again.message).toMatch(/^Cannot add address fd01::1\/80 on link \d+: .+ \(EEXIST\)$/);
    route.request(addAddress({ ...six, noprefixroute: false, deprecated: true, replace: true }));
    expect(route.routes().some((r) => r.destination.length === 80)).toBe(true);
    expectAddressesAgree(scratch);
    const deprecated = route.addresses({ linkIndex: br }).find((a) => a.deprecated);
    expect(deprecated).toMatchObject({ address: six.address, permanent: true });

    expect(route.execute([plain, pointToPoint, six].map(deleteAddress))).toEqual([
      undefined,
      undefined,
      undefined,
    ]);
    expect(refusal(() => route.request(deleteAddress(plain))).code).toBe("EADDRNOTAVAIL");
    expectAddressesAgree(scratch);
  });
});

describe.skipIf(notRoot !== undefined)(`routes${notRoot === undefined ? "" : ` (${notRoot})`}`, () => {
  test("every form is what ip(8) shows, and goes away again", () => {
    using scratch = scratchWithBridge();
    const { route, br } = scratch;
    const via = parseIp("10.0.0.2");
    const via6 = parseIp("fd00::2");
    const changes = [
      {
        destination: parsePrefix("10.1.0.0/16"),
        hops: [{ via }],
        mtuBytes: 1300,
        advmssBytes: 1200,
        protocol: 67,
      },
      { destination: parsePrefix("0.0.0.0/0"), hops: [{ via }], metric: 7, source: parseIp("10.0.0.1") },
      { destination: parsePrefix("10.2.0.0/16"), hops: [{ linkIndex: br }], table: 1000 },
      {
        destination: parsePrefix("10.3.0.0/16"),
        table: 100,
        metric: 5,
        protocol: 67,
        hops: [
          { via, weight: 3 },
          { via: parseIp("172.16.0.1"), linkIndex: br, onlink: true, weight: 256 },
        ],
      },
      {
        destination: parsePrefix("10.4.0.0/16"),
        hops: [{ via: parseIp("172.16.0.1"), linkIndex: br, onlink: true }],
      },
      { destination: parsePrefix("10.5.0.0/16"), hops: [{ via: parseIp("fe80::1"), linkIndex: br }] },
      { destination: parsePrefix("10.6.0.0/16"), type: "blackhole", protocol: 67 },
      { destination: parsePrefix("10.7.0.0/16"), type: "unreachable" },
      { destination: parsePrefix("10.8.0.0/16"), type: "prohibit" },
      { destination: parsePrefix("10.9.0.1/32"), type: "local", table: 255, hops: [{ linkIndex: br }] },
      { destination: parsePrefix("::/0"), hops: [{ via: via6 }], protocol: 67 },
      { destination: parsePrefix("fd02::/64"), hops: [{ linkIndex: br }], table: 1000, metric: 3 },
      {
        destination: parsePrefix("fd03::/64"),
        hops: [{ via: via6 }, { via: parseIp("fe80::1"), linkIndex: br, weight: 9 }],
        mtuBytes: 1280,
      },
      { destination: parsePrefix("fd04::/64"), type: "blackhole" },
      { destination: parsePrefix("fd05::1/128"), type: "unreachable", metric: 99 },
    ] as const;
    // The kernel makes routes of its own as carriers come up (protocol 2).
    const made = () => route.routes().filter(({ protocol }) => protocol !== 2);
    expect(made()).toEqual([]);
    expect(route.execute(changes.map(addRoute))).toEqual(changes.map(() => undefined));
    expectRoutesAgree(scratch);
    expect(made()).toHaveLength(changes.length);
    expect(route.routes({ protocol: 67 })).toHaveLength(4);
    expect(route.routes({ table: 1000 })).toHaveLength(2);
    expect(route.routes({ table: 1000, protocol: 67 })).toEqual([]);
    expect(route.routes({ table: 4711 })).toEqual([]);
    expect(route.execute(changes.map(addRoute)).map((error) => error?.code)).toEqual(
      changes.map(() => "EEXIST"),
    );
    expect(route.execute(changes.map(deleteRoute))).toEqual(changes.map(() => undefined));
    expect(made()).toEqual([]);
  });

  test("replace swaps in one step", () => {
    using scratch = scratchWithBridge();
    const { route } = scratch;
    for (const text of ["10.1.0.0/16", "fd01::/64"]) {
      const destination = parsePrefix(text);
      const via = (last: number) => parseIp(destination.family === 4 ? `10.0.0.${last}` : `fd00::${last}`);
      route.request(addRoute({ destination, hops: [{ via: via(2) }, { via: via(3) }], protocol: 67 }));
      route.request(addRoute({ destination, hops: [{ via: via(4) }], protocol: 67, replace: true }));
      const now = route.routes({ protocol: 67 }).filter((r) => r.destination.family === destination.family);
      expect(now).toHaveLength(1);
      expect(now[0]?.hops.map((hop) => hop.via)).toEqual([via(4)]);
      expectRoutesAgree(scratch);
    }
  });

  test("next hops, groups, and routes that use them", () => {
    using scratch = scratchWithBridge();
    const { route, br } = scratch;
    const requests = [
      { id: 1, via: parseIp("10.0.0.7"), linkIndex: br, protocol: 67 },
      { id: 2, via: parseIp("172.16.0.1"), linkIndex: br, onlink: true, protocol: 67 },
      { id: 3, group: [{ id: 1 }, { id: 2, weight: 5 }], protocol: 67 },
      { id: 4, blackhole: true, protocol: 67 },
      { id: 5, linkIndex: br, family: 6, protocol: 67 },
      { id: 6, via: parseIp("10.0.0.8"), fdb: true, protocol: 67 },
      { id: 7, group: [{ id: 6 }], fdb: true, protocol: 67 },
    ] as const;
    expect(route.execute(requests.map(addNexthop))).toEqual(requests.map(() => undefined));
    const names = scratch.names();
    const ours = (hop: NexthopInfo): Json => ({
      id: hop.id,
      via: hop.via && formatIp(hop.via),
      dev: names.get(hop.linkIndex ?? 0),
      onlink: hop.onlink,
      blackhole: hop.blackhole,
      fdb: hop.fdb,
      protocol: String(hop.protocol),
      scope: String(hop.scope),
      group: hop.group,
    });
    const theirs = (hop: Json): Json => ({
      id: hop.id,
      via: hop.gateway,
      dev: hop.dev,
      onlink: hop.flags.includes("onlink"),
      blackhole: "blackhole" in hop,
      fdb: "fdb" in hop,
      protocol: hop.protocol,
      scope: hop.scope,
      group: hop.group?.map(({ id, weight = 1 }: Json) => ({ id, weight })),
    });
    expect(route.nexthops().map(ours)).toEqual(scratch.json("ip -N -j -d nexthop show").map(theirs));

    route.request(addRoute({ destination: parsePrefix("10.5.0.0/16"), nexthopId: 3, protocol: 67 }));
    route.request(addRoute({ destination: parsePrefix("fd05::/64"), nexthopId: 5, protocol: 67 }));
    expectRoutesAgree(scratch);
    expect(route.routes({ protocol: 67 })[0]).toMatchObject({
      nexthopId: 3,
      hops: [{ weight: 1 }, { weight: 5, onlink: true }],
    });
    // A group changes under its routes.
    route.request(addNexthop({ id: 3, group: [{ id: 2 }], protocol: 67, replace: true }));
    expect(route.routes({ protocol: 67 })[0]?.hops.map((hop) => hop.via)).toEqual([parseIp("172.16.0.1")]);
    route.request(deleteNexthop({ id: 3 }));
    expect(route.routes({ protocol: 67 })).toHaveLength(1);
    expect(refusal(() => route.request(deleteNexthop({ id: 3 }))).code).toBe("ENOENT");
  });

  test("refusals name the route and carry the kernel's words", () => {
    using scratch = scratchWithBridge();
    const error = refusal(() =>
      scratch.route.request(
        addRoute({ destination: parsePrefix("10.1.0.0/16"), hops: [{ via: parseIp("172.16.0.1") }] }),
      ),
    );
    expect(error).toMatchObject({ code: "ENETUNREACH", extendedAck: "Nexthop has invalid gateway" });
    expect(error.message).toBe(
      "Cannot add route 10.1.0.0/16 via 172.16.0.1: Nexthop has invalid gateway (ENETUNREACH)",
    );
    const unknown = refusal(() =>
      scratch.route.request(addRoute({ destination: parsePrefix("10.1.0.0/16"), nexthopId: 9 })),
    );
    expect(unknown.extendedAck).toBe("Nexthop id does not exist");
  });

  test("a batch of thousands: results stand at their places", () => {
    using scratch = scratchWithBridge();
    const { route } = scratch;
    const requests = Array.from({ length: 3000 }, (_, i) =>
      addRoute({
        destination: parsePrefix(`10.${100 + (i >> 8)}.${i & 255}.0/24`),
        hops: [{ via: parseIp(i % 7 === 0 ? "172.16.0.1" : "10.0.0.2") }],
        protocol: 67,
      }),
    );
    const results = route.execute(requests);
    expect(results).toHaveLength(3000);
    results.forEach((error, i) => expect(error?.code).toBe(i % 7 === 0 ? "ENETUNREACH" : undefined));
    expect(route.routes({ protocol: 67 })).toHaveLength(
      results.filter((error) => error === undefined).length,
    );
    expect(route.execute([])).toEqual([]);
  });
});

describe.skipIf(notRoot !== undefined)(`rules${notRoot === undefined ? "" : ` (${notRoot})`}`, () => {
  test("added, shown and deleted", () => {
    using scratch = new Scratch();
    const { route } = scratch;
    const rules = [
      {
        family: 4,
        priority: 100,
        from: parsePrefix("10.0.0.0/8"),
        fwmark: 1,
        fwmask: 255,
        table: 1000,
        protocol: 67,
      },
      { family: 6, priority: 101, iif: "lo", to: parsePrefix("fd00::/8"), table: 100, protocol: 67 },
      { family: 4, priority: 102, oif: "cw0", table: 254 },
      { family: 4, priority: 103, from: parsePrefix("10.1.2.3/32"), action: "unreachable" },
      { family: 6, priority: 104, fwmark: 0xffffffff, action: "blackhole", invert: true },
    ] as const;
    const before = route.rules();
    expect(route.execute(rules.map(addRule))).toEqual(rules.map(() => undefined));
    const ours = (rule: RuleInfo): Json => ({
      priority: rule.priority,
      from: rule.from && destination(rule.from),
      to: rule.to && destination(rule.to),
      iif: rule.iif,
      oif: rule.oif,
      fwmark: rule.fwmark === undefined ? undefined : `0x${rule.fwmark.toString(16)}`,
      table: rule.action === "lookup" ? String(rule.table) : undefined,
      action: rule.action === "lookup" ? undefined : typeNumbers[rule.action],
      not: rule.invert,
    });
    const address = (text: string | undefined, length: number | undefined) =>
      text === undefined || text === "all" ? undefined : length === undefined ? text : `${text}/${length}`;
    const theirs = (rule: Json): Json => ({
      priority: rule.priority,
      from: address(rule.src, rule.srclen),
      to: address(rule.dst, rule.dstlen),
      iif: rule.iif,
      oif: rule.oif,
      fwmark: rule.fwmark,
      table: rule.table,
      action: typeNumbers[rule.action] ?? rule.action,
      not: "not" in rule,
    });
    for (const family of [4, 6] as const)
      expect(
        route
          .rules()
          .filter((rule) => rule.family === family)
          .map(ours),
      ).toEqual(scratch.json(`ip -N -j -${family} rule show`).map(theirs));
    expect(route.rules().filter((rule) => rule.protocol === 67)).toHaveLength(2);
    expect(route.rules().find((rule) => rule.priority === 100)).toMatchObject({ fwmark: 1, fwmask: 255 });
    expect(refusal(() => route.request(addRule(rules[0]))).code).toBe("EEXIST");
    expect(route.execute(rules.map(deleteRule))).toEqual(rules.map(() => undefined));
    expect(route.rules()).toEqual(before);
    expect(refusal(() => route.request(deleteRule(rules[0]))).code).toBe("ENOENT");
  });
});
