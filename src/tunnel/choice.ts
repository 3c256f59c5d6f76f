/** Which back-end runs the tunnel, and why. */
import { kernelHasWireguard } from "../netlink/mod.ts";
import type { TunnelBackend } from "./backend.ts";
import { kernelBackend } from "./kernel.ts";
import { userBackend } from "./user.ts";

/** TunnelWish is what the user asked for. */
export type TunnelWish = "auto" | "kernel" | "user";

/** TunnelChoice is a back-end with the reason for it, for `causeway status`. */
export interface TunnelChoice {
  readonly backend: TunnelBackend;
  readonly reason: string;
}

/** TunnelFacts are the back-ends that this machine has. */
export interface TunnelFacts {
  readonly kernel: TunnelBackend | undefined;
  readonly user: TunnelBackend | undefined;
}

/** tunnelFacts looks at the machine. Asking for the kernel's WireGuard loads its module. */
export function tunnelFacts(): TunnelFacts {
  return { kernel: kernelHasWireguard() ? kernelBackend() : undefined, user: userBackend() };
}

/** chooseBackend prefers the kernel; throws when what is asked for is not there. */
export function chooseBackend(wish: TunnelWish, facts: TunnelFacts = tunnelFacts()): TunnelChoice {
  const { kernel, user } = facts;
  if (wish !== "user" && kernel !== undefined)
    return { backend: kernel, reason: wish === "auto" ? "the kernel has WireGuard" : "asked for" };
  if (wish !== "kernel" && user !== undefined)
    return { backend: user, reason: wish === "auto" ? "the kernel has no WireGuard" : "asked for" };
  throw new Error(`Cannot run a tunnel: ${refusals[wish]}`);
}

const refusals: Readonly<Record<TunnelWish, string>> = {
  auto:
    "this kernel has no WireGuard and there is no wireguard-go; " +
    "boot a kernel with WireGuard (Debian: linux-image-amd64) or install wireguard-go (Debian: wireguard-go)",
  kernel:
    "this kernel has no WireGuard; " +
    "boot one that has (Debian: linux-image-amd64), or let the choice be automatic (--tunnel auto)",
  user: "there is no wireguard-go; install it (Debian: wireguard-go), or let the choice be automatic (--tunnel auto)",
};
