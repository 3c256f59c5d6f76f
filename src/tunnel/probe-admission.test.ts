/** What a flood may cost: allowances of one sender, of all, and of large datagrams. */
import { expect, test } from "bun:test";
import { keptBytes, PROBE_HEAD_BYTES, PROBE_WHOLE_BYTES, ProbeAdmission } from "./probe-admission.ts";

const about = (nowMs: number, datagramBytes = 100) => ({ family: 4 as const, datagramBytes, nowMs });
const address = (number: number) => Uint8Array.of(10, number >> 16, (number >> 8) & 255, number & 255);

test("one that floods does not keep out another, and is heard again", () => {
  const admission = new ProbeAdmission(1);
  let admitted = 0;
  for (let i = 0; i < 10_000; i++) if (admission.admits(address(1), 0, about(0))) admitted++;
  expect(admitted).toBe(2000);
  expect(admission.refused).toBe(8000);
  expect(admission.admits(address(2), 0, about(0))).toBe(true);
  expect(admission.admits(address(1), 0, about(1))).toBe(true);
});

test("all together, and large ones, have their bounds", () => {
  const [small, large] = [new ProbeAdmission(2), new ProbeAdmission(2)];
  let [many, long] = [0, 0];
  for (let i = 0; i < 30_000; i++) {
    if (small.admits(address(i), 0, about(0))) many++;
    if (large.admits(address(i), 0, about(0, 1400))) long++;
  }
  expect(many).toBe(4000);
  expect(long).toBe(250);
});

test("of IPv6 the network counts, and time that goes back takes nothing away", () => {
  const admission = new ProbeAdmission(3);
  const six = (host: number) => Uint8Array.of(0x20, 1, 0xd, 0xb8, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, host);
  let admitted = 0;
  for (let i = 0; i < 5000; i++)
    if (admission.admits(six(i & 255), 0, { family: 6, datagramBytes: 50, nowMs: 1000 - (i & 1) }))
      admitted++;
  expect(admitted).toBeLessThanOrEqual(2002);
  expect(admission.admits(six(1), 0, { family: 6, datagramBytes: 50, nowMs: 3000 })).toBe(true);
});

test("what is kept", () => {
  expect([0, 1, PROBE_WHOLE_BYTES, PROBE_WHOLE_BYTES + 1, 65_507].map(keptBytes)).toEqual([
    0,
    1,
    PROBE_WHOLE_BYTES,
    PROBE_HEAD_BYTES,
    PROBE_HEAD_BYTES,
  ]);
});
