/** Debian's wireguard-go as a back-end, alone, with our engine in both roles, and with wg(8) as a witness. */
import { which } from "../../src/sys/mod.ts";
import type { TunnelBackend } from "../../src/tunnel/backend.ts";
import { ownBackend } from "../../src/tunnel/own.ts";
import { wireguardGoBackend } from "../../src/tunnel/wireguard-go.ts";
import { backendSuite } from "../support/backend-suite.ts";
import { ownLacks } from "../support/own-needs.ts";
import { userSuite } from "../support/user-suite.ts";
import { wgSuite } from "../support/wg-suite.ts";

const backend = wireguardGoBackend();
const go = () => backend as TunnelBackend;
const own = () => ownBackend();
const skip = ownLacks ?? (backend === undefined ? "needs wireguard-go" : undefined);
const skipWg = skip ?? (which("wg") === undefined ? "needs wg of wireguard-tools" : undefined);

backendSuite("wireguard-go", { near: go, far: go, skip });
backendSuite("our engine with wireguard-go", { near: own, far: go, skip, talkOnly: true });
backendSuite("wireguard-go with our engine", { near: go, far: own, skip, talkOnly: true });
userSuite("wireguard-go", {
  backend: go,
  provider: /^wireguard-go \d/,
  taken: "Failed to create TUN device",
  source: `
    import { wireguardGoBackend } from "${import.meta.dir}/../../src/tunnel/wireguard-go.ts";
    const backend = wireguardGoBackend();`,
  skip,
});
wgSuite("wireguard-go by us", { backend: go, skip: skipWg });
wgSuite("our engine by us", { backend: own, skip: skipWg });
