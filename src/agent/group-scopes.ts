/**
 * Scopes with the members of security groups, one for each domain and group that a rule names there: set as a whole once, and then changed by what
 * changes, so that a member more costs the same however many there are.
 */
import {
  type Domain,
  GroupMembers,
  groupTag,
  type LocalAttachment,
  type MemberChange,
  memberElements,
  type RemoteChange,
} from "../domain/mod.ts";
import type { ScopeChange } from "../engine/mod.ts";
import { formatIp, type Ip } from "../net/mod.ts";

/** Addresses by their text. */
export type Addresses = ReadonlyMap<string, Ip>;

/** Members are those of a group in a domain. */
export interface Members {
  /** With another one they are set as a whole. */
  readonly mark: string;
  readonly here: Addresses;
  /** All of them, here and elsewhere. */
  readonly list: () => readonly Ip[];
}

/** GroupScopes knows who is elsewhere. */
export class GroupScopes {
  readonly #members = new GroupMembers();

  /** tell takes in what EVPN says, and returns which members that is about. */
  tell(changes: readonly RemoteChange[]): MemberChange[] {
    return this.#members.tell(changes);
  }

  /** membersOf returns the members of a group of a domain; `attachments` are all that are here. */
  membersOf(domain: Domain, group: string, attachments: readonly LocalAttachment[]): Members {
    const own = attachments.filter(({ groups }) => groups.includes(group));
    const here = new Map(own.flatMap(({ addresses }) => addresses.map((ip) => [formatIp(ip), ip])));
    const vnis = vnisOf(domain);
    return { mark: vnis.join(), here, list: () => [...here.values(), ...this.#members.of(vnis, group)] };
  }

  /** elsewhere returns what follows for a group of a domain from changes elsewhere; undefined for nothing. */
  elsewhere(
    changes: readonly MemberChange[],
    of: { readonly domain: Domain; readonly group: string; readonly here: Addresses },
  ): ScopeChange | undefined {
    const tag = groupTag(of.group);
    const vnis = new Set(vnisOf(of.domain));
    return this.#change(
      changes.filter((one) => one.tag === tag && vnis.has(one.vni)).map(({ ip }) => ip),
      of,
    );
  }

  /** moved returns what follows from another set of members that are here; undefined for nothing. */
  moved(
    before: Addresses,
    of: { readonly domain: Domain; readonly group: string; readonly here: Addresses },
  ): ScopeChange | undefined {
    const came = [...of.here].filter(([text]) => !before.has(text));
    const went = [...before].filter(([text]) => !of.here.has(text));
    return this.#change(
      [...came, ...went].map(([, ip]) => ip),
      of,
    );
  }

  #change(
    touched: readonly Ip[],
    { domain, group, here }: { readonly domain: Domain; readonly group: string; readonly here: Addresses },
  ): ScopeChange | undefined {
    if (touched.length === 0) return undefined;
    const [vnis, tag] = [vnisOf(domain), groupTag(group)];
    const isMember = (ip: Ip) => here.has(formatIp(ip)) || this.#members.has(vnis, tag, ip);
    const [put, drop] = [touched.filter(isMember), touched.filter((ip) => !isMember(ip))];
    return { put: memberElements(group, put), drop: memberElements(group, drop) };
  }
}

function vnisOf({ segments }: Domain): number[] {
  return segments.map(({ vni }) => vni);
}
