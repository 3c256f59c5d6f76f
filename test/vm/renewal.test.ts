/** Renewal in the middle of flows, between the kernel's WireGuard and our engine. */
import { kernelHasWireguard } from "../../src/netlink/mod.ts";
import { kernelBackend } from "../../src/tunnel/kernel.ts";
import { ownBackend } from "../../src/tunnel/own.ts";
import { ownLacks } from "../support/own-needs.ts";
import { renewalSuite } from "../support/renewal-suite.ts";

const own = () => ownBackend();
const skip = ownLacks ?? (kernelHasWireguard() ? undefined : "needs a kernel with WireGuard");

renewalSuite("the kernel and our engine", {
  pairs: [
    { near: kernelBackend, far: own, psk: true },
    { near: own, far: kernelBackend },
  ],
  skip,
});
