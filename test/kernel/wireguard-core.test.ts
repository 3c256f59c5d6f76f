/** Our WireGuard core with itself, on real sockets and TUN devices, by the tests that every back-end passes. */
import { existsSync } from "node:fs";
import { backendSuite } from "../support/backend-suite.ts";
import { loopBackend } from "../support/wireguard-loop.ts";

const skip =
  process.getuid?.() !== 0 ? "needs root" : existsSync("/dev/net/tun") ? undefined : "needs /dev/net/tun";

backendSuite("our core with itself", { near: loopBackend, far: loopBackend, skip });
