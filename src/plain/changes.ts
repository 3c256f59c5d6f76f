/** What differs between two states of a mesh, file by file, in words that hold no key. */
import { formatInterfaceAddress, formatIp, formatPrefix } from "../net/mod.ts";
import type { WgQuickFile, WgQuickPeer } from "./wg-quick.ts";

/** MachineChange is what happens to the file of one machine. */
export interface MachineChange {
  readonly machine: string;
  readonly action: "add" | "change" | "remove";
  /** One line for each difference; none for a file that comes or goes. */
  readonly details: readonly string[];
}

function differs(what: string, before: string, after: string): string[] {
  if (before === after) return [];
  if (before === "") return [`${what} ${after}`];
  return [after === "" ? `no ${what}` : `${what} ${before} → ${after}`];
}

function peerDetails(before: WgQuickPeer, after: WgQuickPeer): string[] {
  const allowed = (peer: WgQuickPeer) => peer.allowedIps.map(formatPrefix);
  const [had, has] = [new Set(allowed(before)), new Set(allowed(after))];
  const secret = (peer: WgQuickPeer) => peer.presharedKey?.toFile() ?? "";
  return [
    ...(before.publicKey === after.publicKey ? [] : ["new key"]),
    ...(secret(before) === secret(after)
      ? []
      : [secret(after) === "" ? "no pre-shared key" : "new pre-shared key"]),
    ...[...has].filter((text) => !had.has(text)).map((text) => `allowed IPs + ${text}`),
    ...[...had].filter((text) => !has.has(text)).map((text) => `allowed IPs - ${text}`),
    ...differs("endpoint", before.endpoints.join(", "), after.endpoints.join(", ")),
    ...differs("keepalive", `${before.keepaliveSeconds ?? ""}`, `${after.keepaliveSeconds ?? ""}`),
  ].map((text) => `peer ${after.name}: ${text}`);
}

function fileDetails(before: WgQuickFile, after: WgQuickFile): string[] {
  const old = new Map(before.peers.map((peer) => [peer.name, peer]));
  const now = new Map(after.peers.map((peer) => [peer.name, peer]));
  const addresses = (file: WgQuickFile) => file.addresses.map(formatInterfaceAddress).join(", ");
  return [
    ...(before.publicKey === after.publicKey ? [] : ["new key"]),
    ...differs("address", addresses(before), addresses(after)),
    ...differs("listen port", `${before.listenPort ?? ""}`, `${after.listenPort ?? ""}`),
    ...differs("MTU", `${before.mtuBytes ?? ""}`, `${after.mtuBytes ?? ""}`),
    ...differs("DNS", before.dns.map(formatIp).join(", "), after.dns.map(formatIp).join(", ")),
    ...(before.postUp.join() === after.postUp.join()
      ? []
      : [after.postUp.length > 0 ? "forwards between its peers" : "no longer switches forwarding on"]),
    ...[...now.values()].flatMap((peer) => {
      const same = old.get(peer.name);
      return same === undefined ? [`peer ${peer.name} added`] : peerDetails(same, peer);
    }),
    ...[...old.keys()].filter((name) => !now.has(name)).map((name) => `peer ${name} removed`),
  ];
}

/** changesBetween lists the machines whose files differ, in order of the mesh; removed ones last. */
export function changesBetween(
  before: ReadonlyMap<string, WgQuickFile>,
  after: ReadonlyMap<string, WgQuickFile>,
): MachineChange[] {
  const changes: MachineChange[] = [];
  for (const [machine, file] of after) {
    const old = before.get(machine);
    if (old === undefined) changes.push({ machine, action: "add", details: [] });
    else {
      const details = fileDetails(old, file);
      if (details.length > 0) changes.push({ machine, action: "change", details });
    }
  }
  for (const machine of before.keys())
    if (!after.has(machine)) changes.push({ machine, action: "remove", details: [] });
  return changes;
}
