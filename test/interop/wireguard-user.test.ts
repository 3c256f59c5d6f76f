import { which } from "../../src/sys/mod.ts";
import type { TunnelBackend } from "../../src/tunnel/backend.ts";
import { userBackend } from "../../src/tunnel/user.ts";
import { wgSuite } from "../support/wg-suite.ts";

const backend = userBackend();
const skip =
  process.getuid?.() !== 0
    ? "needs root"
    : backend === undefined
      ? "needs wireguard-go"
      : which("wg") === undefined
        ? "needs wg of wireguard-tools"
        : undefined;

wgSuite("wireguard-go by us", { backend: () => backend as TunnelBackend, skip });
