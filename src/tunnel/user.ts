/**
 * WireGuard in user space: one wireguard-go process per link, in a session of its own.
 *
 * ```
 * agent ── /run/wireguard/cw0.sock ──▶ wireguard-go -f cw0 ── /dev/net/tun ──▶ link cw0
 * ```
 */
import { runSync, which } from "../sys/mod.ts";
import type { TunnelBackend } from "./backend.ts";
import { UserTunnel } from "./user-tunnel.ts";

/** userBackend returns the back-end that runs a program speaking the UAPI protocol; undefined if it is not installed. */
export function userBackend(program = "wireguard-go"): TunnelBackend | undefined {
  const path = which(program);
  if (path === undefined) return undefined;
  const version = /\bv?(\d+(?:\.\d+)+\S*)/.exec(runSync([path, "--version"]).stdout)?.[1];
  const name = path.slice(path.lastIndexOf("/") + 1);
  const provider = version === undefined ? name : `${name} ${version}`;
  return {
    name: "user",
    provider,
    linkType: "external",
    open: (link, options) => UserTunnel.open(link, { ...options, path, provider }),
  };
}
