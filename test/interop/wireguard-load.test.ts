/** Our engine and Debian's wireguard-go with each other while there is much to do, in both roles. */
import { which } from "../../src/sys/mod.ts";
import type { TunnelBackend } from "../../src/tunnel/backend.ts";
import { ownBackend } from "../../src/tunnel/own.ts";
import { wireguardGoBackend } from "../../src/tunnel/wireguard-go.ts";
import { cookieSuite, peersSuite } from "../support/load-suite.ts";
import { ownLacks } from "../support/own-needs.ts";

const backend = wireguardGoBackend();
const go = () => backend as TunnelBackend;
const own = () => ownBackend();
const lacks = ownLacks ?? (backend === undefined ? "needs wireguard-go" : undefined);
const skip = lacks ?? (which("nft") === undefined ? "needs nft" : undefined);

cookieSuite("wireguard-go with our engine", { near: go, far: own, skip, perSecond: 3000 });
cookieSuite("our engine with wireguard-go", { near: own, far: go, skip, perSecond: 20_000 });
peersSuite("wireguard-go, and ours as its peers", {
  backend: go,
  skip: lacks ?? (which("wg") === undefined ? "needs wg of wireguard-tools" : undefined),
});
