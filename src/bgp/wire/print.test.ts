import { expect, test } from "bun:test";
import { hex } from "../../../test/support/bgp-bytes.ts";
import { anyFamily, randomAttributes, randomNlri } from "../../../test/support/bgp-random.ts";
import { newSeed, Random } from "../../../test/support/random.ts";
import { attributesOf, printAttributes, printNlri, rdOf } from "./mod.ts";

test("attributes as `show bgp` of FRR has them", () => {
  const canonical = hex(
    "10 20010db8000000000000000000000001",
    "01 40 0001 00",
    "02 40 0010 0202 0000fde9 0000fdea 0101 0000fdeb",
    "04 80 0004 0000000a",
    "05 40 0004 00000064",
    "06 40 0000",
    "07 c0 0008 0000fde9 0a000001",
    "08 c0 0008 fde90064 ffffff01",
    "09 80 0004 0a000002",
    "0a 80 0008 0a000003 0a000004",
    "10 c0 0010 030c000000000008 0002fde900000064",
    "16 c0 0009 00 06 000064 0aff0001",
    "17 c0 000a 0008 0006 06 04 0a000001",
    "19 c0 0014 0002 20010db8000000000000000000000001 0064",
    "1a 80 000b 01 000b 0000000100000000",
    "20 c0 000c 0000fde9 00000001 00000002",
    "23 c0 0004 0000fde9",
    "28 c0 0003 000000",
    "fe e0 0002 dead",
  );
  expect(printAttributes(attributesOf(canonical))).toEqual({
    nextHop: "2001:db8::1",
    origin: "IGP",
    asPath: "65001 65002 {65003}",
    med: "10",
    localPreference: "100",
    atomicAggregate: "atomic-aggregate",
    aggregator: "65001 10.0.0.1",
    communities: "65001:100 no-export",
    originatorId: "10.0.0.2",
    clusterList: "10.0.0.3 10.0.0.4",
    extendedCommunities: "ET:8 RT:65001:100",
    pmsiTunnel: "Ingress Replication 10.255.0.1, label 100",
    tunnelEncapsulation: "8{6:0a000001}",
    ipv6ExtendedCommunities: "0x000220010db80000000000000000000000010064",
    aigp: "4294967296",
    largeCommunities: "65001:1:2",
    onlyToCustomer: "65001",
    others: "PREFIX_SID (flags 0xc0) 0x000000; attribute 254 (flags 0xe0) 0xdead",
  });
  const linkLocal = hex(
    "20 20010db8000000000000000000000001 fe800000000000000000000000000001",
    "01 40 0001 02",
  );
  expect(printAttributes(attributesOf(linkLocal))).toEqual({
    nextHop: "2001:db8::1 fe80::1",
    origin: "incomplete",
    asPath: "",
  });
});

test("everything has a text (random)", () => {
  const seed = newSeed();
  const random = new Random(seed);
  for (let i = 0; i < 500; i++) {
    const attributes = randomAttributes(random);
    const fields = Object.keys(attributes).filter((field) => field !== "partial");
    expect(Object.keys(printAttributes(attributes)).sort(), `seed ${seed}`).toEqual(fields.sort());
    const nlri = randomNlri(random, anyFamily(random));
    expect(printNlri(nlri).length).toBeGreaterThan(0);
    expect(rdOf(nlri) === undefined).toBe(!("rd" in nlri));
  }
});
