/** Datagrams of ours beside the kernel's WireGuard. Beside our engine and wireguard-go: test/kernel/probe-port.test.ts. */
import { kernelHasWireguard } from "../../src/netlink/mod.ts";
import { kernelBackend } from "../../src/tunnel/kernel.ts";
import { ownBackend } from "../../src/tunnel/own.ts";
import { ownLacks } from "../support/own-needs.ts";
import { probeSuite } from "../support/probe-suite.ts";

const kernel =
  process.getuid?.() !== 0
    ? "needs root"
    : kernelHasWireguard()
      ? undefined
      : "needs a kernel with WireGuard";

probeSuite("probes beside the kernel", { near: kernelBackend, far: kernelBackend, skip: kernel });
probeSuite("probes between kernel and our engine", {
  near: kernelBackend,
  far: () => ownBackend(),
  skip: kernel ?? ownLacks,
});
