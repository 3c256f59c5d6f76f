/** The kernel's WireGuard alone, and against wireguard-go in both roles. */
import { kernelHasWireguard } from "../../src/netlink/mod.ts";
import type { TunnelBackend } from "../../src/tunnel/backend.ts";
import { kernelBackend } from "../../src/tunnel/kernel.ts";
import { userBackend } from "../../src/tunnel/user.ts";
import { backendSuite } from "../support/backend-suite.ts";
import { wgSuite } from "../support/wg-suite.ts";

const user = userBackend();
const kernel =
  process.getuid?.() !== 0
    ? "needs root"
    : kernelHasWireguard()
      ? undefined
      : "needs a kernel with WireGuard";
const both = kernel ?? (user === undefined ? "needs wireguard-go" : undefined);
const go = () => user as TunnelBackend;

backendSuite("kernel", { near: kernelBackend, far: kernelBackend, skip: kernel });
backendSuite("kernel with wireguard-go", { near: kernelBackend, far: go, skip: both, talkOnly: true });
backendSuite("wireguard-go with kernel", { near: go, far: kernelBackend, skip: both, talkOnly: true });
wgSuite("kernel by us", { backend: kernelBackend, skip: kernel });
