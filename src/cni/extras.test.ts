import { expect, test } from "bun:test";
import { parseIp } from "../net/mod.ts";
import { decodeExtras, encodeExtras, type Extras, NO_EXTRAS } from "./extras.ts";

test("a pod without extras is stored without any", () => {
  for (const extras of [{}, { hostPorts: [] }]) expect(encodeExtras(extras)).toBe(NO_EXTRAS);
  expect(decodeExtras(NO_EXTRAS)).toEqual({});
});

test("what was stored comes back", () => {
  const ports = { hostPort: 80, containerPort: 8080, protocol: "tcp" } as const;
  const cases: Extras[] = [
    { hostPorts: [ports, { ...ports, protocol: "sctp", hostIp: parseIp("::") }] },
    { hostPorts: [{ ...ports, hostIp: parseIp("192.0.2.1") }], bridgePort: { isolated: true } },
    { bridgePort: { hairpin: true }, bandwidth: { ingress: { bitsPerSecond: 8000, burstBits: 80 } } },
  ];
  for (const extras of cases) {
    const text = encodeExtras(extras);
    expect(decodeExtras(text)).toEqual(extras);
    expect(encodeExtras(decodeExtras(text))).toBe(text);
  }
});
