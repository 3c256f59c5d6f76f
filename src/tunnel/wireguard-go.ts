/**
 * WireGuard by wireguard-go (Debian's package of that name): one process per link, in a session of its own.
 *
 * ```
 * agent ── /run/wireguard/cw0.sock ──▶ wireguard-go -f cw0 ── /dev/net/tun ──▶ link cw0
 * ```
 */
import { programOf, runSync, which } from "../sys/mod.ts";
import type { TunnelBackend } from "./backend.ts";
import { followAddresses } from "./sources.ts";
import { UserTunnel } from "./user-tunnel.ts";

/** The kernel keeps so much of a program's name (TASK_COMM_LEN). */
const NAME_BYTES = 15;

/** wireguardGoBackend returns the back-end of an installed wireguard-go, or of a program that is called like it; undefined if there is none. */
export function wireguardGoBackend(program = "wireguard-go"): TunnelBackend | undefined {
  const path = which(program);
  if (path === undefined) return undefined;
  const version = /\bv?(\d+(?:\.\d+)+\S*)/.exec(runSync([path, "--version"]).stdout)?.[1];
  const name = path.slice(path.lastIndexOf("/") + 1);
  const provider = version === undefined ? name : `${name} ${version}`;
  return {
    name: "wireguard-go",
    provider,
    linkType: "external",
    open: (link, options) =>
      UserTunnel.open(link, {
        ...options,
        program: {
          provider,
          command: () => [path, "-f", link],
          env: { LOG_LEVEL: "error", WG_TUN_FD: undefined, WG_UAPI_FD: undefined },
          needs: "/dev/net/tun and a free link name",
          serves: (_, pid) => programOf(pid) === name.slice(0, NAME_BYTES),
          accompany: followAddresses,
        },
      }),
  };
}
