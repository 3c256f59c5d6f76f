/**
 * Who belongs to which security groups on other nodes: told with each host (type 2) as numbers, one for each group.
 *
 * A node may say of its own pods what it likes, as it may of their addresses: route reflectors take from it what belongs to VPCs that it
 * serves.
 */
import { formatIp, formatMac, type Ip } from "../net/mod.ts";
import { sha256 } from "../sys/mod.ts";
import type { RemoteChange, RemoteHost } from "./model.ts";

/** groupTag returns the number of a group, 1 to 2^32 - 1: derived from its name, the same on all nodes. */
export function groupTag(group: string): number {
  return new DataView(sha256(`security group ${group}`).buffer).getUint32(0) || 1;
}

/** MemberChange is an address that came to a group in a segment, or went: which of both, `has` tells. */
export interface MemberChange {
  readonly vni: number;
  /** groupTag of the group. */
  readonly tag: number;
  readonly ip: Ip;
}

interface Member {
  readonly ip: Ip;
  /** Names of hosts that have the address. */
  readonly hosts: Set<string>;
}

/** GroupMembers remembers hosts that belong to groups. As many as EVPN tells of domains that are here; a change costs itself. */
export class GroupMembers {
  readonly #hosts = new Map<string, RemoteHost>();
  /** `<segment> <tag>` → members by address. */
  readonly #members = new Map<string, Map<string, Member>>();

  /** tell takes in what changed, and returns which members that is about. */
  tell(changes: readonly RemoteChange[]): MemberChange[] {
    const touched: MemberChange[] = [];
    for (const { op, remote } of changes) {
      if (remote.kind !== "host") continue;
      const name = nameOf(remote);
      const before = this.#hosts.get(name);
      const after = op === "set" && remote.ip !== undefined && remote.groups?.length ? remote : undefined;
      if (textOf(before) === textOf(after)) continue;
      touched.push(...this.#forget(name, before), ...this.#remember(name, after));
    }
    return touched;
  }

  /** of returns the members of a group in some segments. */
  of(segments: readonly number[], group: string): Ip[] {
    const tag = groupTag(group);
    return segments.flatMap((vni) =>
      [...(this.#members.get(keyOf(vni, tag))?.values() ?? [])].map(({ ip }) => ip),
    );
  }

  /** has tells whether an address belongs to a group in one of some segments. */
  has(segments: readonly number[], tag: number, ip: Ip): boolean {
    return segments.some((vni) => this.#members.get(keyOf(vni, tag))?.has(formatIp(ip)) === true);
  }

  #remember(name: string, host: RemoteHost | undefined): MemberChange[] {
    if (host?.ip === undefined) return [];
    this.#hosts.set(name, host);
    const { vni, ip, groups = [] } = host;
    for (const tag of groups) {
      const members = this.#members.get(keyOf(vni, tag)) ?? new Map<string, Member>();
      this.#members.set(keyOf(vni, tag), members);
      const member = members.get(formatIp(ip)) ?? { ip, hosts: new Set() };
      members.set(formatIp(ip), member);
      member.hosts.add(name);
    }
    return groups.map((tag) => ({ vni, tag, ip }));
  }

  #forget(name: string, host: RemoteHost | undefined): MemberChange[] {
    if (host?.ip === undefined) return [];
    this.#hosts.delete(name);
    const { vni, ip, groups = [] } = host;
    for (const tag of groups) {
      const members = this.#members.get(keyOf(vni, tag));
      const member = members?.get(formatIp(ip));
      member?.hosts.delete(name);
      if (member?.hosts.size === 0) members?.delete(formatIp(ip));
      if (members?.size === 0) this.#members.delete(keyOf(vni, tag));
    }
    return groups.map((tag) => ({ vni, tag, ip }));
  }
}

function keyOf(vni: number, tag: number): string {
  return `${vni} ${tag}`;
}

function nameOf({ vni, mac, ip }: RemoteHost): string {
  return `${vni} ${formatMac(mac)} ${ip === undefined ? "" : formatIp(ip)}`;
}

function textOf(host: RemoteHost | undefined): string {
  return host?.groups?.join() ?? "";
}
