/** What a node asks the register for addresses: the door through which a pool claims and returns, whoever carries it. */
import type { Family, Ip, Prefix } from "../net/mod.ts";

/** Grant is a block that belongs to a node until the node returns it. */
export interface Grant {
  /** Given once and never again: a return that comes late returns nothing else. */
  readonly number: number;
  readonly subnet: string;
  /** 16 addresses, or one. */
  readonly block: Prefix;
  /** Which of its addresses the node may hand out: bit 0 is the first one's. */
  readonly usable: number;
}

/** BlockWish is what a node wants of a subnet. */
export interface BlockWish {
  readonly subnet: string;
  /** Blocks by family; at least one of each comes, or the claim is refused. */
  readonly wants: readonly { readonly family: Family; readonly count: number }[];
  /** Numbers of all grants of the subnet that the node knows; what it does not know, since a reply was lost, comes first. */
  readonly have: readonly number[];
}

/** AddressWish is a certain address, or the one of an owner. */
export interface AddressWish {
  readonly subnet: string;
  readonly family: Family;
  /** Absent, for an owner: the one that it has, or a free one. */
  readonly address?: Ip;
  /** To whom the address belongs, on whatever node; absent: to the node, until it returns the grant. */
  readonly owner?: string;
  /** Numbers of the node's own grants that an owner's address is in: the node does not hand it out any more. Else the register refuses. */
  readonly outOf?: readonly number[];
}

/** ClaimedAddress is the answer: a grant, or the address of an owner, which no node returns. */
export type ClaimedAddress =
  { readonly kind: "grant"; readonly grant: Grant } | { readonly kind: "owned"; readonly address: Ip };

/** ClaimError says why nothing was claimed. */
export class ClaimError extends Error {
  override readonly name = "ClaimError";
  /** `refused`: by the register, with its words; `unanswered`: nobody answered, and it may still be done. */
  readonly reason: "refused" | "unanswered";
  /** Of a refusal: the register's word for it, as `subnet-full`. */
  readonly code: string | undefined;

  constructor(reason: ClaimError["reason"], message: string, options?: ErrorOptions & { code?: string }) {
    super(message, options);
    this.reason = reason;
    this.code = options?.code;
  }
}

/** BlockClaims is the register as a node's pool sees it. What is asked rejects with ClaimError. */
export interface BlockClaims {
  /** Whether an answer can be hoped for now. */
  readonly reachable: boolean;
  /** claim returns blocks that the node had not known, new ones or those of a lost reply. */
  claim(wish: BlockWish): Promise<readonly Grant[]>;
  claimAddress(wish: AddressWish): Promise<ClaimedAddress>;
  /** giveBack returns grants; those that are not the node's (any more) are passed over. */
  giveBack(numbers: readonly number[]): Promise<void>;
  /** held returns all grants of the node, as the register has them after everything that it has answered. */
  held(): Promise<readonly Grant[]>;
  /** tellUsage says how many addresses of grants are leased, by their numbers; for people only, so it may get lost. */
  tellUsage(used: ReadonlyMap<number, number>): void;
}
