/** Refusals: what the hub answers when it will not do what was asked. They reach people, so each names its fix. */

/** RefusalCode tells programs why. */
export type RefusalCode =
  /** The message cannot be understood. */
  | "bad-request"
  /** The source address belongs to no use of a token, or to no node. */
  | "unknown-source"
  /** The proof of possession does not fit. */
  | "bad-proof"
  | "token-expired"
  | "token-revoked"
  /** The token binds another site, or a rule names the site and the token does not bind it. */
  | "not-bound"
  /** The use belongs to another key; `freeUses` says which are free. */
  | "use-taken"
  /** The key is registered already, through another use. */
  | "key-exists"
  | "key-revoked"
  /** Another node has this name. */
  | "name-taken"
  /** The token was made for a node that is no longer registered. */
  | "no-such-node"
  /** No address or pod range is left. */
  | "mesh-full"
  /** Resources of tenants' networks do not go together; the message has a line for each problem. */
  | "not-admitted"
  /** No Subnet has this name. */
  | "no-such-subnet"
  /** The node may not serve the VPC. */
  | "not-entitled"
  /** No address of the subnet is left, or the node has as many as it may. */
  | "subnet-full"
  /** The address belongs to somebody else, or to nobody ever. */
  | "address-taken"
  /** Nothing can be written at present: etcd has no majority, or cannot be reached. */
  | "read-only"
  /** Too many messages or connections. */
  | "too-many";

/** Refusal is thrown by the register and sent by the protocols. */
export class Refusal extends Error {
  override readonly name = "Refusal";
  readonly code: RefusalCode;
  /** Numbers of uses of the same token that are not bound yet. */
  readonly freeUses?: readonly number[];

  constructor(code: RefusalCode, message: string, details: { readonly freeUses?: readonly number[] } = {}) {
    super(message);
    this.code = code;
    if (details.freeUses !== undefined) this.freeUses = details.freeUses;
  }
}
