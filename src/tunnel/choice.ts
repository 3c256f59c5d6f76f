/** Which back-end runs the tunnel, and why. */
import { kernelHasWireguard } from "../netlink/mod.ts";
import { type BackendName, backendNames, type TunnelBackend } from "./backend.ts";
import { kernelBackend } from "./kernel.ts";
import { ownBackend, ownProblem } from "./own.ts";
import { wireguardGoBackend } from "./wireguard-go.ts";

/** tunnelWishes are what the user can ask for; `auto` is the kernel's WireGuard, or our own engine where there is none. */
export const tunnelWishes = ["auto", ...backendNames] as const;

/** TunnelWish is one of them. */
export type TunnelWish = (typeof tunnelWishes)[number];

/** TunnelChoice is a back-end with the reason for it, for `causeway status`. */
export interface TunnelChoice {
  readonly backend: TunnelBackend;
  readonly reason: string;
}

/** TunnelFacts are looked up one by one, in the order of preference: a back-end, or why this machine cannot run it and what would help. */
export type TunnelFacts = Readonly<Record<BackendName, () => TunnelBackend | string>>;

/** tunnelFacts look at the machine. Asking for the kernel's WireGuard loads its module, asking for our engine loads libcrypto. */
export const tunnelFacts: TunnelFacts = {
  kernel: () =>
    kernelHasWireguard()
      ? kernelBackend()
      : "this kernel has no WireGuard; boot one that has (Debian: linux-image-amd64)",
  user: () => {
    const problem = ownProblem();
    return problem === undefined ? ownBackend() : `Causeway's own engine cannot run: ${problem}`;
  },
  "wireguard-go": () => wireguardGoBackend() ?? "there is no wireguard-go; install it (Debian: wireguard-go)",
};

type Tries = readonly (readonly [name: BackendName, reason: string])[];

/** What `auto` tries on a hub: our own engine relays what other nodes encrypted for each other best (kernel-relay/kernel-relay.ts). */
const relaying: Tries = [["user", "a hub relays, which the kernel's WireGuard does not by itself"]];

/** What `auto` tries, and why it takes what it finds. */
const automatic: Tries = [
  ["kernel", "the kernel has WireGuard"],
  ["user", "the kernel has no WireGuard"],
];

/** chooseBackend prefers the kernel, for a node that does not relay; throws when what is asked for is not there. */
export function chooseBackend(
  wish: TunnelWish,
  { relays = false, facts = tunnelFacts }: { readonly relays?: boolean; readonly facts?: TunnelFacts } = {},
): TunnelChoice {
  const tried = wish === "auto" ? (relays ? relaying : automatic) : [[wish, "asked for"] as const];
  const missing: string[] = [];
  for (const [name, reason] of tried) {
    const found = facts[name]();
    if (typeof found !== "string") return { backend: found, reason };
    missing.push(found);
  }
  if (wish !== "auto") missing.push("or let the choice be automatic (--tunnel auto)");
  throw new Error(`Cannot run a tunnel: ${missing.join("; ")}`);
}
