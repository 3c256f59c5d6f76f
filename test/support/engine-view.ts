/** A view of a kernel made of values, for tests of the engine's pure parts. */
import type { KernelObject } from "../../src/engine/mod.ts";
import type { View } from "../../src/engine/kind.ts";
import { Mirror } from "../../src/engine/mirror.ts";
import type { LinkInfo } from "../../src/netlink/mod.ts";

/** linkInfo is a link that is up, ours, and otherwise as said. */
export function linkInfo(name: string, index: number, more: Partial<LinkInfo> = {}): LinkInfo {
  return {
    index,
    name,
    kind: "bridge",
    up: true,
    running: true,
    lowerUp: true,
    loopback: false,
    operState: "up",
    mtuBytes: 1500,
    alias: "causeway",
    addrGen: "eui64",
    ...more,
  };
}

/** viewOf is a kernel with these links and nothing else. */
export function viewOf(
  links: readonly LinkInfo[] = [],
  more: Partial<View> = {},
): View & { readonly mirror: Mirror } {
  const mirror = new Mirror(67);
  mirror.load("link", links);
  return {
    mark: { alias: "causeway", protocol: 67 },
    memory: { peers: new Map(), sysctls: new Map() },
    nowMs: 0,
    wallMs: 0,
    wireguard: () => undefined,
    wireguardLinks: () => [],
    table: () => undefined,
    sysctl: () => undefined,
    wanted: (): { object: KernelObject; serial: number } | undefined => undefined,
    ...more,
    mirror,
  };
}
