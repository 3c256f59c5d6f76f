import { expect, test } from "bun:test";
import { announcement } from "../../../test/support/bgp-routes.ts";
import { ipBytes, mac, parseIp, parsePrefix } from "../../net/mod.ts";
import {
  ACCEPT,
  type BgpFamily,
  encodeNlri,
  EVPN,
  IPV4_UNICAST,
  IPV6_UNICAST,
  type UpdateSession,
} from "../wire/mod.ts";
import { countsOf, Rib, type RibPeer } from "./mod.ts";

const FAMILIES: readonly BgpFamily[] = [IPV4_UNICAST, EVPN];
const SESSION: UpdateSession = {
  external: false,
  as4: true,
  families: new Set(FAMILIES),
  addPathReceive: new Set(),
  extendedNextHop: new Set(),
};

test.each([
  [IPV4_UNICAST, EVPN],
  [EVPN, IPV4_UNICAST],
])("a client in family %p is like any internal neighbor in the others (RFC 4456)", (own, other) => {
  const rib = new Rib({ own: { asn: 65_000, routerId: 1, clusterId: 2 }, families: FAMILIES });
  const join = (number: number, client: boolean | ReadonlySet<BgpFamily>): RibPeer => {
    const address = Uint8Array.of(192, 0, 2, number);
    const peer = rib.addPeer({ asn: 65_000, address, external: false, client });
    const families = new Map(FAMILIES.map((family) => [family, {}]));
    rib.up(peer, { update: SESSION, routerId: number, families });
    const routes = [
      encodeNlri({ kind: "prefix", prefix: parsePrefix(`10.${number}.0.0/16`) }),
      encodeNlri({
        ...{ kind: "mac-ip", rd: { kind: "as2", as: 65_000, number: 1 }, tag: 0, labels: [100] },
        mac: mac(0x02_00_00_00_00_00 + number),
      }),
    ];
    for (const route of routes) {
      const usual = { nextHop: { address: parseIp("10.0.0.1") }, origin: "igp", asPath: [] } as const;
      const bytes = announcement(SESSION, { ...usual, localPreference: 100 }, [{ ...route, pathId: 0 }]);
      expect(rib.receive(peer, bytes, 19, bytes.length, 0)).toBe(ACCEPT);
    }
    return peer;
  };
  const some = join(1, new Set([own]));
  const peers = [some, join(2, false), join(3, false)];
  for (let nowMs = 0; rib.isBusy; nowMs += 100) {
    rib.work({ nowMs });
    for (const peer of peers) {
      const outbox = rib.outbox(peer);
      for (let bytes = outbox.peek(); bytes !== undefined; bytes = outbox.peek())
        outbox.advance(bytes.length);
    }
  }
  const sent = (family: BgpFamily) => peers.map((peer) => countsOf(rib, peer, family).advertised);
  // The client hears both others, which hear it and not each other.
  expect(sent(own)).toEqual([2, 1, 1]);
  expect(sent(other)).toEqual([0, 0, 0]);
});

test("a link-local next hop that came alone is not passed on to other links (RFC 2545 section 2)", () => {
  const session = { ...SESSION, families: new Set([IPV6_UNICAST]) };
  const rib = new Rib({ own: { asn: 65_000, routerId: 1, clusterId: 2 }, families: [IPV6_UNICAST] });
  const own = ipBytes(parseIp("2001:db8::1"));
  const join = (number: number): RibPeer => {
    const address = Uint8Array.of(192, 0, 2, number);
    const peer = rib.addPeer({ asn: 65_000, address, external: false, client: true });
    const families = new Map([[IPV6_UNICAST, { ownNextHop: own }]]);
    rib.up(peer, { update: session, routerId: number, families });
    return peer;
  };
  const [one, other] = [join(1), join(2)];
  const hears = (nextHop: string) => {
    const route = encodeNlri({ kind: "prefix", prefix: parsePrefix("2001:db8:1::/48") });
    const attributes = { nextHop: { address: parseIp(nextHop) }, origin: "igp", asPath: [] } as const;
    const bytes = announcement(session, { ...attributes, localPreference: 100 }, [{ ...route, pathId: 0 }]);
    expect(rib.receive(one, bytes, 19, bytes.length, 0)).toBe(ACCEPT);
    for (let nowMs = 0; rib.isBusy; nowMs += 100) rib.work({ nowMs });
    const outbox = rib.outbox(other);
    let heard = "";
    for (let message = outbox.peek(); message !== undefined; message = outbox.peek()) {
      heard += Buffer.from(message).toString("hex");
      outbox.advance(message.length);
    }
    return heard;
  };
  const hex = (text: string) => Buffer.from(ipBytes(parseIp(text))).toString("hex");
  expect(hears("2001:db8::5")).toContain(hex("2001:db8::5"));
  const heard = hears("fe80::5");
  expect(heard).not.toContain(hex("fe80::5"));
  expect(heard).toContain(hex("2001:db8::1"));
});
