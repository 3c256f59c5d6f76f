import { expect, test } from "bun:test";
import { defaultBurstBits } from "../pods/mod.ts";
import { parseBandwidth } from "./bandwidth.ts";
import { CniError } from "./error.ts";
import { Reader } from "./json.ts";

const parse = (runtime: object | undefined, configured: object = {}) =>
  parseBandwidth(
    new Reader({ ...configured }),
    runtime && new Reader({ bandwidth: runtime }, "runtimeConfig"),
  );

function refusal(work: () => unknown): CniError {
  try {
    work();
  } catch (error) {
    if (error instanceof CniError) return error;
    throw error;
  }
  throw new Error("it was not refused");
}

test("the capability as it is documented", () => {
  expect(parse({ ingressRate: 1000, ingressBurst: 8000, egressRate: 2000, egressBurst: 9000 })).toEqual({
    ingress: { bitsPerSecond: 1000, burstBits: 8000 },
    egress: { bitsPerSecond: 2000, burstBits: 9000 },
  });
  expect(parse({ egressRate: 2000, egressBurst: 9000 })).toEqual({
    egress: { bitsPerSecond: 2000, burstBits: 9000 },
  });
});

test("what asks for nothing is nothing", () => {
  const zeros = { ingressRate: 0, ingressBurst: 0, egressRate: 0, egressBurst: 0 };
  for (const runtime of [undefined, {}, zeros, { ingressRate: null }, { ingressBurst: 4294967295 }])
    expect(parse(runtime, zeros)).toBeUndefined();
  expect(parseBandwidth(new Reader({}), new Reader({ bandwidth: null }))).toBeUndefined();
});

test("as containerd sends it for one annotation: other case, the other direction zero, a burst that nobody chose", () => {
  const runtime = { IngressRate: 20_000_000, IngressBurst: 4294967295, EgressRate: 0, EgressBurst: 0 };
  expect(parse(runtime)).toEqual({
    ingress: { bitsPerSecond: 20_000_000, burstBits: defaultBurstBits(20_000_000) },
  });
});

test("a rate without a burst gets one; so do the bursts that stand for none", () => {
  for (const ingressBurst of [undefined, 0, 2147483647, 4294967295, 34359738359, 34359738360])
    expect(parse({ ingressRate: 1e9, ingressBurst })).toEqual({
      ingress: { bitsPerSecond: 1e9, burstBits: 1e7 },
    });
  expect(parse({ ingressRate: 1e9, ingressBurst: 4294967294 })?.ingress?.burstBits).toBe(4294967294);
});

test("what the network configuration says wins, each direction for itself", () => {
  const configured = { ingressRate: 5000, ingressBurst: 50_000 };
  expect(parse({ ingressRate: 1000, egressRate: 2000, egressBurst: 20_000 }, configured)).toEqual({
    ingress: { bitsPerSecond: 5000, burstBits: 50_000 },
    egress: { bitsPerSecond: 2000, burstBits: 20_000 },
  });
  expect(parse(undefined, configured)).toEqual({ ingress: { bitsPerSecond: 5000, burstBits: 50_000 } });
});

test("a burst without a rate is refused, with the field and its value", () => {
  const error = refusal(() => parse({ egressBurst: 1000 }));
  expect([error.code, error.message, error.details]).toEqual([
    7,
    "Cannot limit egress: runtimeConfig.bandwidth.egressBurst comes without a rate; set runtimeConfig.bandwidth.egressRate",
    "runtimeConfig.bandwidth.egressBurst is 1000",
  ]);
  expect(refusal(() => parse(undefined, { ingressBurst: 8, ingressRate: 0 })).message).toContain(
    "set ingressRate",
  );
});

test("what is no rate or burst is refused, with the field and its value, also where another one wins", () => {
  for (const value of [-1, 1.5, 1e16, "20M", true, [1], {}])
    for (const key of ["ingressRate", "egressRate", "ingressBurst", "egressBurst"]) {
      const good = { ingressRate: 1000, egressRate: 1000 };
      const error = refusal(() => parse({ ...good, [key]: value }, good));
      expect([error.code, error.details]).toEqual([
        7,
        `runtimeConfig.bandwidth.${key} is ${JSON.stringify(value)}`,
      ]);
      expect(error.message).toContain(`runtimeConfig.bandwidth.${key} is not a whole number from 0 to `);
    }
  expect(refusal(() => parse({ ingressRate: 1, ingressBurst: 34359738369 })).code).toBe(7);
});
