import { expect, test } from "bun:test";
import { CniError } from "../cni/mod.ts";
import type { LocalAttachment } from "../domain/mod.ts";
import { parseMac } from "../net/mod.ts";
import { awaitUp } from "./domain-port.ts";

const pod: LocalAttachment = {
  ...{ id: "pod", ifname: "net1", domain: 300, segment: 300, mac: parseMac("02:00:00:00:00:01") },
  ...{ addresses: [], mtuBytes: 1400, defaultRoute: false, groups: [] },
};

test("what does not come up is told to the runtime as such, and holds nobody up meanwhile", async () => {
  let others = 0;
  const other = setInterval(() => others++, 0);
  const failed = await awaitUp(pod, () => ["cw0123", "fd00::1"], { patienceMs: 50 }).catch(
    (error: unknown) => error,
  );
  clearInterval(other);
  expect(failed).toBeInstanceOf(CniError);
  expect(failed).toMatchObject({ code: 11, details: "not up after 50 ms: cw0123, fd00::1" });
  expect(others).toBeGreaterThan(0);
});

test("it is looked at again and again until nothing is missing", async () => {
  const missing = [["cw0123", "br300"], ["br300"], []];
  await awaitUp(pod, () => missing.shift() ?? []);
  expect(missing).toEqual([]);
});
