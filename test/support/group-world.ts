/**
 * GroupWorld: one domain on two nodes with two segments, of which one is on both; the fabric between the nodes is a cable between bridges.
 *
 * ```
 *   here: br1 10.0.1.1 ── web, db, plain, more          there: br1 ── remote (10.0.1.9), client (10.0.1.8)
 *         br2 10.0.2.1 ── back                                   no rules of ours: it stands for another node
 *          └── br1 ══════════════ cable ══════════════════ br1
 * ```
 */
import {
  bridgeNetfilter,
  combinations,
  type Domain,
  guardedElements,
  guardedPort,
  GUARDED_PORTS,
  memberElements,
  namedGroups,
  type SecurityGroup,
  type SecurityRule,
  serviceRuleset,
} from "../../src/domain/mod.ts";
import { parseIp, parseMac, parsePrefix, type Prefix } from "../../src/net/mod.ts";
import { ownAddresses, spoofingRules } from "../../src/pods/mod.ts";
import { DomainWorld } from "./domain-world.ts";
import { tenant } from "./gateway-world.ts";

interface Member {
  readonly segment: 1 | 2;
  readonly last: number;
  groups: readonly string[];
}

/** Addresses of the pods: `10.0.<segment>.<last>` and `fd00:<segment>::<last>`. */
const HERE: Record<string, Member> = {
  web: { segment: 1, last: 2, groups: [] },
  db: { segment: 1, last: 3, groups: [] },
  plain: { segment: 1, last: 4, groups: [] },
  more: { segment: 1, last: 5, groups: [] },
  back: { segment: 2, last: 2, groups: [] },
};
const THERE: Record<string, Member> = {
  client: { segment: 1, last: 8, groups: [] },
  remote: { segment: 1, last: 9, groups: [] },
};

/** rule is a rule that allows what is not said. */
export function rule(more: Partial<SecurityRule> & Pick<SecurityRule, "direction">): SecurityRule {
  return { protocol: "any", ports: [], prefixes: [], groups: [], ...more };
}

/** prefixes parses several. */
export function prefixes(...texts: readonly string[]): Prefix[] {
  return texts.map((text) => parsePrefix(text));
}

/** GroupWorld is a DomainWorld with members and groups. */
export class GroupWorld extends DomainWorld {
  readonly members: Record<string, Member> = structuredClone({ ...HERE, ...THERE });
  readonly domain: Domain = tenant(300, ["10.0.1.0/24", "10.0.2.0/24", "fd00:1::/64", "fd00:2::/64"]);

  constructor() {
    super();
    this.router("here");
    this.bridge("here", "br1", "10.0.1.1/24", "fd00:1::1/64");
    this.bridge("here", "br2", "10.0.2.1/24", "fd00:2::1/64");
    this.bridge("there", "br1");
    this.cable([
      ["here", "vx1"],
      ["there", "vx1"],
    ]);
    for (const place of ["here", "there"]) this.run(place, "ip link set vx1 master br1");
    for (const [name, { segment }] of Object.entries(this.members)) {
      const domain = name in HERE ? "here" : "there";
      const addresses = [`${this.four(name)}/24`, `${this.six(name)}/64`];
      this.pod(name, { domain, bridge: `br${segment}`, addresses });
    }
    for (const name of Object.keys(THERE)) {
      this.run(name, "ip route replace default via 10.0.1.1");
      this.run(name, "ip -6 route replace default via fd00:1::1");
    }
    const text = `${spoofingRules('"cw*"')}${GUARDED_PORTS}`;
    this.set("here", "ports", [{ kind: "ruleset", family: "bridge", text }]);
    for (const name of Object.keys(HERE)) this.set("here", `own/${name}`, this.#own(name));
  }

  four(name: string): string {
    const { segment, last } = this.members[name] as Member;
    return `10.0.${segment}.${last}`;
  }

  six(name: string): string {
    const { segment, last } = this.members[name] as Member;
    return `fd00:${segment}::${last}`;
  }

  #addresses(name: string) {
    return [parseIp(this.four(name)), parseIp(this.six(name))];
  }

  #own(name: string) {
    const [{ address }] = this.json(name, "ip -j link show eth0");
    return ownAddresses(`cw-${name}`, { mac: parseMac(address), addresses: this.#addresses(name) });
  }

  /** groups says who is in which groups, and what groups allow. Nothing else is done: flows are not forgotten. */
  groups(list: readonly SecurityGroup[], members: Readonly<Record<string, readonly string[]>>): void {
    for (const [name, member] of Object.entries(this.members)) member.groups = members[name] ?? [];
    const groups = new Map(list.map((group) => [group.name, group]));
    const local = Object.keys(HERE).map((name) => ({
      name,
      groups: this.members[name]?.groups ?? [],
      addresses: this.#addresses(name),
    }));
    const groupLists = combinations(local);
    const text = serviceRuleset({ domain: this.domain, peerings: [], groupLists, groups });
    const named = namedGroups(groupLists, groups);
    this.set("here", "groups", [
      ...bridgeNetfilter(groupLists.length > 0),
      { kind: "ruleset", family: "inet", text },
      ...local.flatMap((one) => guardedElements(one)),
      ...local.filter((one) => one.groups.length > 0).map(({ name }) => guardedPort(`cw-${name}`)),
      ...named.flatMap((group) =>
        memberElements(
          group,
          Object.entries(this.members)
            .filter(([, member]) => member.groups.includes(group))
            .flatMap(([name]) => this.#addresses(name)),
        ),
      ),
    ]);
  }
}
