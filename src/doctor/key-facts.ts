/** The node's private key as a file: who may read it, and whether another machine or tunnel has the same. The key itself goes nowhere. */
import { join } from "node:path";
import { formatMac } from "../net/mod.ts";
import type { LinkInfo } from "../netlink/mod.ts";
import { exists, fileMode, listDirectory, readText, writeAtomic } from "../sys/mod.ts";
import type { KeyFacts } from "./facts.ts";

const KEY = "node.key";
/** Beside the key, so that it is copied with it. */
const MACHINE = "node.key.machine";
const WIREGUARD = "/etc/wireguard";

/** Links of containers and tunnels come and go. */
const PASSING = /^(?:docker|br-|cni|flannel|kube-|cali|cilium|lxc|virbr|veth|cw|vx|br\d|tun|tap|dummy)/;

/** hardwareAddresses returns the link-layer addresses that stay with a machine. */
export function hardwareAddresses(links: readonly LinkInfo[]): readonly string[] {
  const lasting = links.filter(
    ({ name, loopback, mac }) => !loopback && mac !== undefined && !PASSING.test(name),
  );
  return [...new Set(lasting.map(({ mac }) => formatMac(mac as NonNullable<typeof mac>)))].toSorted();
}

/** noteMachine writes down which machine a new key is of. */
export function noteMachine(state: string, links: readonly LinkInfo[]): void {
  writeAtomic(join(state, MACHINE), `${hardwareAddresses(links).join("\n")}\n`, 0o600);
}

/** readKey returns undefined where there is none yet. */
export function readKey(state: string, links: readonly LinkInfo[]): KeyFacts | undefined {
  const path = join(state, KEY);
  if (!exists(path)) return undefined;
  const key = readText(path)?.trim();
  const holds = (file: string) => /^\s*PrivateKey\s*=\s*(\S+)/im.exec(readText(file) ?? "")?.[1] === key;
  const files = listDirectory(WIREGUARD)
    .filter((name) => name.endsWith(".conf"))
    .map((name) => join(WIREGUARD, name));
  const made = readText(join(state, MACHINE))?.split("\n").filter(Boolean);
  return {
    path,
    mode: fileMode(path),
    elsewhere: files.filter(holds),
    ...(made && { machine: { made, now: hardwareAddresses(links) } }),
  };
}
