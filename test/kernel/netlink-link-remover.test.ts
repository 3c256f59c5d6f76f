/** Removal of links that does not wait for the kernel to free them. Witness: ip(8). */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { addLink, LinkRemover } from "../../src/netlink/mod.ts";
import type { Netns } from "../../src/sys/mod.ts";
import { notRoot, refusal, Scratch } from "../support/scratch.ts";

describe.skipIf(notRoot !== undefined)(`links are removed in the background (${notRoot ?? "root"})`, () => {
  let scratch: Scratch & { inner: Netns };
  beforeAll(() => {
    scratch = Scratch.prepared((made) => ({ inner: made.another() }));
  });
  afterAll(() => scratch[Symbol.dispose]());

  const make = (name: string) =>
    scratch.route.request(addLink({ type: "veth", name, up: true, peer: { name, netns: scratch.inner } }));

  for (const background of [true, false])
    test(`both ends are gone when it returns, ${background ? "in the background" : "without io_uring"}`, () => {
      const { route, netns, inner } = scratch;
      using remover = LinkRemover.open({ route, netns, background });
      for (let i = 0; i < 20; i++) make(`v${i}`);
      for (let i = 0; i < 20; i++) {
        remover.remove(`v${i}`);
        expect(route.link(`v${i}`)).toBeUndefined();
        expect(scratch.text("ip -br link", inner)).not.toMatch(new RegExp(`^v${i}@`, "m"));
        // The name is free at once, on both sides.
        make(`v${i}`);
        remover.remove(`v${i}`);
      }
      expect(scratch.text("ip -br link")).not.toContain("v");
      expect(scratch.text("ip -br link", inner)).not.toContain("v");
    });

  test("a link that is not there is no error; one that the kernel keeps is, in its words", () => {
    const { route, netns } = scratch;
    using remover = LinkRemover.open({ route, netns });
    remover.remove("nothing");
    expect(refusal(() => remover.remove("lo")).code).toBe("EOPNOTSUPP");
  });
});
