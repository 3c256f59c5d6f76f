/** The kernel's WireGuard with a thousand peers of ours. */
import { kernelHasWireguard } from "../../src/netlink/mod.ts";
import { which } from "../../src/sys/mod.ts";
import { kernelBackend } from "../../src/tunnel/kernel.ts";
import { peersSuite } from "../support/load-suite.ts";
import { ownLacks } from "../support/own-needs.ts";

const skip =
  ownLacks ??
  (kernelHasWireguard() ? undefined : "needs a kernel with WireGuard") ??
  ["nft", "wg"].filter((program) => which(program) === undefined).map((program) => `needs ${program}`)[0];
// Cookies are tested where the processor is not emulated (../interop/wireguard-load.test.ts), and with the kernel in wireguard-core.test.ts.
peersSuite("the kernel, and ours as its peers", { backend: kernelBackend, skip, talking: 300 });
