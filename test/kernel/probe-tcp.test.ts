/** Trying a TCP port, in a namespace: what it says, and that nothing of an attempt goes on. Witness: ss(8). */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { probeTcp } from "../../src/sys/mod.ts";
import { notRoot, Scratch } from "../support/scratch.ts";

describe.skipIf(notRoot !== undefined)(`probeTcp (${notRoot ?? "root"})`, () => {
  let scratch: Scratch;
  beforeAll(() => {
    scratch = Scratch.prepared((made) => {
      made.text("ip link set lo up");
      // Beyond the neighbour that is made up here, nobody answers.
      made.text("ip link add near type veth peer name far");
      made.text("ip addr add 192.0.2.1/24 dev near");
      made.text("ip addr add 2001:db8::1/64 dev near nodad");
      made.text("ip link set near up");
      made.text("ip link set far up");
      for (const address of ["192.0.2.2", "2001:db8::2"])
        made.text(`ip neigh add ${address} lladdr 02:00:00:00:00:02 dev near`);
      return {};
    });
  });
  afterAll(() => scratch[Symbol.dispose]());

  const probe = (host: string, port: number, timeoutMs = 5000) =>
    probeTcp({ netns: scratch.netns, host, port, timeoutMs });

  test("open and refused, both families", async () => {
    for (const hostname of ["192.0.2.1", "2001:db8::1"]) {
      const server = scratch.netns.run(() => ({
        listener: Bun.listen({ hostname, port: 0, socket: { data() {} } }),
      })).listener;
      expect(await probe(hostname, server.port)).toBe("open");
      server.stop(true);
      expect(await probe(hostname, server.port)).toBe("refused");
    }
  });

  test("where nobody answers no SYN is repeated afterwards", async () => {
    for (const host of ["192.0.2.2", "2001:db8::2"]) {
      const asked = probe(host, 80, 1000);
      expect(scratch.text("ss -Htan state syn-sent")).toContain(host);
      expect(await asked).toBe("silent");
      expect(scratch.text("ss -Htan")).not.toContain(host);
    }
  });
});
