/**
 * Commands on the addresses of subnets. An address has one holder at most: the node whose block it is in, or an owner, as a virtual machine,
 * to whom it belongs on whatever node. Nothing is given to another while it is held, however long nothing is heard of the node: only the
 * node itself, or its removal, ends a grant.
 *
 * All of them may come twice or late, since answers get lost: a claim first gives what the node does not know of, and a return names grants,
 * of which no number is given twice. What takes an address out of a node's block names the block, of which the node does not hand it out.
 */
import {
  blockAround,
  blockLength,
  blockSize,
  type ClaimedAddress,
  firstOf,
  type Grant,
  indexIn,
  isScarce,
  lastFree,
  type NextBlock,
  nextBlock,
  prefixOfFamily,
  type SubnetRanges,
  useOf,
  whyUnusable,
} from "../ipam/mod.ts";
import { type Family, formatIp, formatPrefix, hostPrefix, type Ip, type Prefix } from "../net/mod.ts";
import { formatSelector, selects } from "../resources/mod.ts";
import type { Handlers, Of } from "./apply.ts";
import { MAX_GRANTS, MAX_GRANTS_OF_NODE, MAX_OWNED } from "./claim-limits.ts";
import type { StoredGrant } from "./claim-store.ts";
import { Refusal } from "./refusal.ts";
import type { Tables } from "./tables.ts";

/** Addresses that are looked at to find one for an owner. */
const MAX_LOOKED = 2 * MAX_OWNED;

/** apply holds the commands on claims. */
export const apply = {
  /** Grants blocks to a node; those come first that it has and does not know of. */
  "claim-block"(tables, { node, subnet: name, wants, have }): Grant[] {
    const subnet = knownSubnet(tables, node, name);
    return wants.flatMap(({ family, count }) => claimBlocks(tables, { node, subnet, family, count, have }));
  },

  /** Gives one address to an owner, or grants it to a node. */
  "claim-address"(tables, command): ClaimedAddress {
    const subnet = knownSubnet(tables, command.node, command.subnet);
    return command.owner === undefined
      ? { kind: "grant", grant: toGrant(claimSingle(tables, subnet, command)) }
      : { kind: "owned", address: claimOwned(tables, subnet, { ...command, owner: command.owner }) };
  },

  /** Ends grants; those that are not the node's are passed over. */
  "return-block"(tables, { node, numbers }): number {
    return numbers.filter((number) => tables.claims.remove(number, node)).length;
  },

  /** Takes an address from its owner. */
  "release-address"(tables, { subnet, address }) {
    if (!tables.claims.removeOwned(subnet, address))
      throw new Refusal(
        "bad-request",
        `Cannot release ${formatIp(address)} of Subnet ${subnet}: it has no owner; see causeway vpc addresses ${subnet}`,
      );
  },
} as const satisfies Handlers<"claim-block" | "claim-address" | "return-block" | "release-address">;

function knownSubnet(tables: Tables, nodeName: string, name: string): SubnetRanges {
  const node = tables.nodes.byName(nodeName);
  if (node === undefined)
    throw new Refusal(
      "unknown-source",
      `Cannot claim addresses: no node is named ${nodeName}; it was removed`,
    );
  const { Subnet, VPC } = tables.tenants.all();
  const subnet = Subnet.get(name);
  if (subnet === undefined)
    throw new Refusal(
      "no-such-subnet",
      `Cannot claim addresses of Subnet ${name}: there is none with this name; see causeway get subnet`,
    );
  const nodes = VPC.get(subnet.vpc)?.nodes;
  if (nodes !== undefined && !selects(nodes, node))
    throw new Refusal(
      "not-entitled",
      `Cannot claim addresses of Subnet ${name}: node ${nodeName} is none of VPC ${subnet.vpc}'s (${formatSelector(nodes)}); run the pod on one of these, or change the VPC's spec.nodes`,
    );
  return subnet;
}

interface Wish {
  readonly node: string;
  readonly subnet: SubnetRanges;
  readonly family: Family;
  readonly count: number;
  readonly have: readonly number[];
}

function claimBlocks(tables: Tables, { node, subnet, family, count, have }: Wish): Grant[] {
  const prefix = neededPrefix(subnet, family);
  const own = tables.claims.ofNodeIn(node, subnet.name, family);
  const grants = own.filter(({ number }) => !have.includes(number));
  if (grants.length === 0) mustHaveRoom(tables, { node, subnet, held: own.length });
  const most = Math.min(count, MAX_GRANTS - own.length + grants.length);
  while (grants.length < most) {
    const next = nextGrant(tables, subnet, prefix);
    if (next === undefined) break;
    tables.claims.setCursor(subnet.name, family, next.index);
    grants.push(tables.claims.add(node, subnet.name, next));
  }
  if (grants.length === 0) throw exhausted(tables, { node, subnet, prefix, held: own.length });
  return grants.map(toGrant);
}

function nextGrant({ claims }: Tables, subnet: SubnetRanges, prefix: Prefix): NextBlock | undefined {
  const { family } = prefix;
  const last = claims.cursor(subnet.name, family);
  const held = (block: Prefix) => claims.held(subnet.name, block);
  if (!isScarce(subnet, prefix, claims.countOfLength(subnet.name, family, blockLength(prefix))))
    return nextBlock(subnet, prefix, { after: last, held });
  // The rest of a block before another one is begun.
  const next = nextBlock(subnet, prefix, { after: last === undefined ? undefined : last - 1, held });
  return next && firstOf(next);
}

function neededPrefix(subnet: SubnetRanges, family: Family): Prefix {
  const prefix = prefixOfFamily(subnet, family);
  if (prefix !== undefined) return prefix;
  throw new Refusal(
    "bad-request",
    `Cannot claim IPv${family} addresses of Subnet ${subnet.name}: its prefixes are ${subnet.prefixes.map(formatPrefix).join(", ") || "none"}; add one of this family, or ask for none`,
  );
}

function mustHaveRoom(
  tables: Tables,
  { node, subnet, held }: { readonly node: string; readonly subnet: SubnetRanges; readonly held: number },
): void {
  const refuse = (has: string, fix: string) =>
    new Refusal(
      "subnet-full",
      `Cannot claim addresses of Subnet ${subnet.name} for node ${node}: it has ${has}; ${fix}`,
    );
  if (held >= MAX_GRANTS)
    throw refuse(
      `${held} blocks of it, the most that a node may have`,
      "run some of its pods on other nodes",
    );
  if (tables.claims.countOfNode(node) >= MAX_GRANTS_OF_NODE)
    throw refuse(
      `${MAX_GRANTS_OF_NODE} blocks of all subnets, the most that a node may have`,
      "run some of its pods on other nodes",
    );
}

function exhausted(
  tables: Tables,
  about: {
    readonly node: string;
    readonly subnet: SubnetRanges;
    readonly prefix: Prefix;
    readonly held: number;
  },
): Refusal {
  const { node, subnet, prefix, held } = about;
  const { blocks, singles, nodes } = tables.claims.counts(subnet.name, prefix.family);
  const owned = tables.claims.countOwned(subnet.name, prefix.family);
  return new Refusal(
    "subnet-full",
    `Cannot claim addresses of Subnet ${subnet.name} for node ${node}: nothing of ${formatPrefix(prefix)} is left; ${nodes} nodes have claimed ${blocks} blocks of 16 and ${singles} single addresses (this one ${held} of these), ${owned} addresses have an owner, the others are kept back; delete pods, release addresses (causeway vpc addresses ${subnet.name}), or use a larger subnet`,
  );
}

/** An address that somebody may have by name: throws when it is nobody's ever. */
function mustBeUsable(subnet: SubnetRanges, address: Ip): void {
  const cause = whyUnusable(subnet, address);
  if (cause !== undefined)
    throw new Refusal(
      "address-taken",
      `Cannot claim ${formatIp(address)} of Subnet ${subnet.name}: ${cause}; ask for another`,
    );
}

/** The grant whose node may hand an address out, if there is one. */
function holderOf(tables: Tables, subnet: SubnetRanges, address: Ip): StoredGrant | undefined {
  const prefix = neededPrefix(subnet, address.family);
  return [hostPrefix(address), blockAround(prefix, address)]
    .flatMap((block) => tables.claims.at(subnet.name, block) ?? [])
    .find(({ block, usable }) => ((usable >> indexIn(block, address)) & 1) === 1);
}

function heldElsewhere(subnet: SubnetRanges, address: Ip, holder: StoredGrant): Refusal {
  const what =
    blockSize(holder.block) === 1
      ? `node ${holder.node} has claimed it`
      : `it is in ${formatPrefix(holder.block)}, which node ${holder.node} has claimed and hands out`;
  return new Refusal(
    "address-taken",
    `Cannot claim ${formatIp(address)} of Subnet ${subnet.name}: ${what}; ask for an address of the subnet's fixed ranges (Subnet.spec.fixed), or wait until the node returns it`,
  );
}

function ownedElsewhere(subnet: SubnetRanges, address: Ip, owner: string): Refusal {
  return new Refusal(
    "address-taken",
    `Cannot claim ${formatIp(address)} of Subnet ${subnet.name}: it belongs to ${owner}; ask for another, or release it: causeway vpc release ${subnet.name} ${formatIp(address)}`,
  );
}

function claimSingle(tables: Tables, subnet: SubnetRanges, command: Of<"claim-address">): StoredGrant {
  const { node, address } = command;
  if (address === undefined)
    throw new Refusal(
      "bad-request",
      "Cannot claim an address without an owner: the address is missing; name it",
    );
  mustBeUsable(subnet, address);
  const owned = tables.claims.owned(subnet.name, address);
  if (owned !== undefined) throw ownedElsewhere(subnet, address, owned.owner);
  const holder = holderOf(tables, subnet, address);
  // The same again, as after a reply that was lost; of a block of its own the node may use it anyway.
  if (holder?.node === node) return holder;
  if (holder !== undefined) throw heldElsewhere(subnet, address, holder);
  const held = tables.claims.ofNodeIn(node, subnet.name, address.family).length;
  mustHaveRoom(tables, { node, subnet, held });
  // A grant of which nothing may be handed out holds nothing.
  const empty = tables.claims.at(subnet.name, hostPrefix(address));
  if (empty !== undefined) tables.claims.remove(empty.number);
  return tables.claims.add(node, subnet.name, { block: hostPrefix(address), usable: 1 });
}

function claimOwned(
  tables: Tables,
  subnet: SubnetRanges,
  { owner, family, node, address: wanted, outOf = [] }: Of<"claim-address"> & { readonly owner: string },
): Ip {
  const address = wanted ?? ownAddress(tables, subnet, { owner, family });
  mustBeUsable(subnet, address);
  const owned = tables.claims.owned(subnet.name, address);
  if (owned !== undefined && owned.owner !== owner) throw ownedElsewhere(subnet, address, owned.owner);
  if (owned === undefined) {
    const count = tables.claims.countOwned(subnet.name, address.family);
    if (count >= MAX_OWNED)
      throw new Refusal(
        "subnet-full",
        `Cannot claim ${formatIp(address)} of Subnet ${subnet.name} for ${owner}: ${count} addresses of the subnet have an owner, the most there may be; release some: causeway vpc addresses ${subnet.name}`,
      );
    const holder = holderOf(tables, subnet, address);
    // Its own node's block, too, unless the node says that it does not hand the address out any more: the request may be an old one.
    if (holder !== undefined && (holder.node !== node || !outOf.includes(holder.number)))
      throw heldElsewhere(subnet, address, holder);
    if (holder !== undefined)
      tables.claims.setUsable(holder.number, holder.usable & ~(1 << indexIn(holder.block, address)));
  }
  tables.claims.putOwned({ subnet: subnet.name, address, owner, node });
  return address;
}

/** The address that an owner has already, or a free one. */
function ownAddress(
  tables: Tables,
  subnet: SubnetRanges,
  { owner, family }: { readonly owner: string; readonly family: Family },
): Ip {
  const [known] = tables.claims.ownedBy(subnet.name, owner, family);
  if (known !== undefined) return known.address;
  const prefix = neededPrefix(subnet, family);
  const free = lastFree(prefix, {
    limit: MAX_LOOKED,
    free: (address) =>
      useOf(subnet, address) === "dynamic" &&
      tables.claims.owned(subnet.name, address) === undefined &&
      tables.claims.at(subnet.name, blockAround(prefix, address)) === undefined &&
      tables.claims.at(subnet.name, hostPrefix(address)) === undefined,
  });
  if (free !== undefined) return free;
  throw new Refusal(
    "subnet-full",
    `Cannot claim an address of Subnet ${subnet.name} for ${owner}: none of ${formatPrefix(prefix)} is free; ask for one of the subnet's fixed ranges, or use a larger subnet`,
  );
}

function toGrant({ number, subnet, block, usable }: StoredGrant): Grant {
  return { number, subnet, block, usable };
}
