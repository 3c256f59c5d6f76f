/** The kernel's WireGuard alone, and against our engine in both roles. (wireguard-go is met in test/kernel and test/interop: this rung is emulated and dear.) */
import { describe, expect, test } from "bun:test";
import { isAlive, runSync } from "../../src/sys/mod.ts";
import { kernelHasWireguard } from "../../src/netlink/mod.ts";
import { kernelBackend } from "../../src/tunnel/kernel.ts";
import { ownBackend } from "../../src/tunnel/own.ts";
import { backendSuite } from "../support/backend-suite.ts";
import { ownLacks } from "../support/own-needs.ts";
import { ip, TunnelPair } from "../support/tunnel-pair.ts";
import { pidOf } from "../support/user-suite.ts";
import { wgSuite } from "../support/wg-suite.ts";

const kernel =
  process.getuid?.() !== 0
    ? "needs root"
    : kernelHasWireguard()
      ? undefined
      : "needs a kernel with WireGuard";
const withOwn = kernel ?? ownLacks;
const own = () => ownBackend();

backendSuite("kernel", { near: kernelBackend, far: kernelBackend, skip: kernel });
backendSuite("kernel with our engine", { near: kernelBackend, far: own, skip: withOwn, talkOnly: true });
backendSuite("our engine with kernel", { near: own, far: kernelBackend, skip: withOwn, talkOnly: true });
wgSuite("kernel by us", { backend: kernelBackend, skip: kernel });

describe.skipIf(withOwn !== undefined)(
  `the choice changes between kernel and our engine${withOwn === undefined ? "" : ` (${withOwn})`}`,
  () => {
    test("a marked link makes room, both ways, and one that is not marked is an error", async () => {
      await using pair = await TunnelPair.open({ near: kernelBackend(), far: kernelBackend() });
      const { near } = pair;
      const { netns } = near;
      near.tunnel.close();
      const logPath = `${pair.folder}/log`;
      await expect(own().open(near.link, { netns, logPath })).rejects.toThrow("there is a link of that name");
      ip(netns, `link set ${near.link} alias causeway`);
      near.tunnel = await own().open(near.link, { netns });
      expect(near.tunnel.provider).toStartWith("causeway ");
      const pid = pidOf(near.link);
      // As the engine marks a link that it did not make.
      runSync(["ip", "link", "set", near.link, "alias", "causeway external"], { netns });
      near.tunnel.close();
      near.tunnel = await kernelBackend().open(near.link, { netns });
      expect(isAlive(pid)).toBe(false);
      expect(ip(netns, "-o link")).not.toContain(near.link);
    });
  },
);
