import { expect, test } from "bun:test";
import { announcement } from "../../../test/support/bgp-routes.ts";
import { parseIp, parsePrefix } from "../../net/mod.ts";
import {
  encodeCanonical,
  encodeNlri,
  IPV4_UNICAST,
  type PathAttributes,
  printNlri,
  type UpdateSession,
} from "../wire/mod.ts";
import { Rib, routes } from "./mod.ts";

const OWN = { asn: 65_000, routerId: 1, clusterId: 1 };
const FAMILIES = [IPV4_UNICAST];
const prefix = (text: string) => encodeNlri({ kind: "prefix", prefix: parsePrefix(text) });

test("the own AS in a path is a loop from a neighbor (RFC 4271 section 9.1.2), and none in a route that a feature brings", () => {
  const rib = new Rib({ own: OWN, families: FAMILIES });
  const update: UpdateSession = {
    ...{ external: true, as4: true, families: new Set(FAMILIES) },
    ...{ addPathReceive: new Set(), extendedNextHop: new Set() },
  };
  const peer = rib.addPeer({ asn: 65_101, address: Uint8Array.of(192, 0, 2, 1), external: true });
  rib.up(peer, { update, routerId: 2, families: new Map(FAMILIES.map((family) => [family, {}])) });
  const looped: PathAttributes = {
    nextHop: { address: parseIp("192.0.2.1") },
    origin: "igp",
    asPath: [{ kind: "sequence", asns: [65_101, OWN.asn] }],
  };
  const bytes = announcement(update, looped, [{ ...prefix("10.1.0.0/16"), pathId: 0 }]);
  rib.receive(peer, bytes, 19, bytes.length, 0);
  rib.announce(prefix("10.2.0.0/16"), encodeCanonical(looped), { nowMs: 0 });
  while (rib.isBusy) rib.work({ nowMs: 0 });
  const used = [...routes(rib, { family: IPV4_UNICAST })].flatMap((view) =>
    view?.best === true ? [printNlri(view.nlri)] : [],
  );
  expect(used).toEqual(["10.2.0.0/16"]);
});
