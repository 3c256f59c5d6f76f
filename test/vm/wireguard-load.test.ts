/** Our engine and the kernel's WireGuard with each other while there is much to do, in both roles. */
import { kernelHasWireguard } from "../../src/netlink/mod.ts";
import { which } from "../../src/sys/mod.ts";
import { kernelBackend } from "../../src/tunnel/kernel.ts";
import { ownBackend } from "../../src/tunnel/own.ts";
import { cookieSuite, peersSuite } from "../support/load-suite.ts";
import { ownLacks } from "../support/own-needs.ts";

const skip =
  ownLacks ??
  (kernelHasWireguard() ? undefined : "needs a kernel with WireGuard") ??
  ["nft", "wg"].filter((program) => which(program) === undefined).map((program) => `needs ${program}`)[0];
const own = () => ownBackend();

// The guest's processor is emulated: this is much for it.
cookieSuite("the kernel with our engine", { near: kernelBackend, far: own, skip, perSecond: 1000 });
cookieSuite("our engine with the kernel", { near: own, far: kernelBackend, skip, perSecond: 3000 });
peersSuite("the kernel, and ours as its peers", { backend: kernelBackend, skip, talking: 300 });
