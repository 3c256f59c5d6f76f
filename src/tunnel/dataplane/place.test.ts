import { expect, test } from "bun:test";
import { formatEndpoint, parseEndpoint } from "../../net/mod.ts";
import { Arena, socketAddress } from "../../sys/mod.ts";
import { ENDPOINT, ENDPOINT_BYTES, setEndpoint } from "../path/mod.ts";
import { endpointOf, familyOf, placeOf } from "./place.ts";

const ENDPOINTS = [
  "192.0.2.1:1",
  "255.255.255.255:65535",
  "[2001:db8::1]:51820",
  "[::ffff:192.0.2.1]:7",
  "[fe80::1]:2",
];

test("an endpoint comes back from its place", () => {
  for (const text of ENDPOINTS) {
    const endpoint = parseEndpoint(text);
    const place = placeOf(endpoint);
    expect(place).toHaveLength(ENDPOINT_BYTES);
    expect(formatEndpoint(endpointOf(place))).toBe(formatEndpoint(endpoint));
    expect(familyOf(place)).toBe(endpoint.ip.family);
  }
});

test("a place is the memory of path/endpoint-memory.ts", () => {
  const arena = new Arena({ bytes: 1 << 16 });
  const at = arena.allocate(ENDPOINT_BYTES);
  setEndpoint(arena, at, socketAddress(new Uint8Array([192, 0, 2, 1]), 4711));
  expect([...placeOf(parseEndpoint("192.0.2.1:4711"))]).toEqual([...arena.copy(at, ENDPOINT_BYTES)]);
});

test("what lies elsewhere in a larger memory is read from there", () => {
  const place = placeOf(parseEndpoint("[2001:db8::7]:9"));
  const large = new Uint8Array(300);
  large.set(place, 120);
  expect(formatEndpoint(endpointOf(large.subarray(120, 120 + ENDPOINT_BYTES)))).toBe("[2001:db8::7]:9");
});

test("which address of ours is used is open", () => {
  const place = placeOf(parseEndpoint("192.0.2.1:4711"));
  expect(new DataView(place.buffer).getInt32(ENDPOINT.controlBytes, true)).toBe(0);
});
