/** Why an attachment gets no address of a subnet. */
import { formatIp, type Ip } from "../net/mod.ts";
import { ClaimError } from "./block-claims.ts";
import type { Attachment } from "./pod-pool.ts";
import { type SubnetRanges, whyUnusable } from "./subnet-ranges.ts";

/** SubnetPoolError says why there is no address. */
export class SubnetPoolError extends Error {
  override readonly name = "SubnetPoolError";
  /**
   * `exhausted`: no address is left, or this node may have no more; `taken`: somebody else has it; `outside`: it is nobody's ever;
   * `unreachable`: the node's own blocks have no room, and no hub answers; `already-allocated`: the attachment has addresses.
   */
  readonly reason: "exhausted" | "taken" | "outside" | "unreachable" | "refused" | "already-allocated";

  constructor(reason: SubnetPoolError["reason"], message: string, options?: ErrorOptions) {
    super(message, options);
    this.reason = reason;
  }
}

/** ofClaim says why a claim came to nothing. */
export function ofClaim(subnet: string, error: unknown): unknown {
  if (!(error instanceof ClaimError)) return error;
  const { code, message, reason } = error;
  const options = { cause: error };
  if (reason === "unanswered")
    return new SubnetPoolError(
      "unreachable",
      `Cannot allocate an address of Subnet ${subnet}: this node holds none that is free, and no hub grants more: ${message}; it works again when a hub is reached`,
      options,
    );
  const reasons: Readonly<Record<string, SubnetPoolError["reason"]>> = {
    "subnet-full": "exhausted",
    "address-taken": "taken",
  };
  return new SubnetPoolError(reasons[code ?? ""] ?? "refused", message, options);
}

/** alreadyAllocated refuses a second ADD of one attachment, as the CNI specification wants it. */
export function alreadyAllocated(attachment: Attachment, addresses: readonly Ip[]): SubnetPoolError {
  return new SubnetPoolError(
    "already-allocated",
    `Cannot allocate an address for ${describe(attachment)}: it has ${addresses.map(formatIp).join(", ")} already; delete the attachment first`,
  );
}

/** leasedHere refuses a requested address that another attachment of this node has. */
export function leasedHere(subnet: string, address: Ip, holder: Attachment): SubnetPoolError {
  return new SubnetPoolError(
    "taken",
    `Cannot allocate ${formatIp(address)} of Subnet ${subnet}: ${describe(holder)} has it; request another`,
  );
}

/** mustBeUsable refuses a requested address that is nobody's ever. */
export function mustBeUsable(subnet: SubnetRanges, address: Ip): void {
  const cause = whyUnusable(subnet, address);
  if (cause === undefined) return;
  throw new SubnetPoolError(
    "outside",
    `Cannot allocate ${formatIp(address)} of Subnet ${subnet.name}: ${cause}; request another`,
  );
}

/** nothingUsable says that this node and the register know different versions of a subnet. */
export function nothingUsable(subnet: string): SubnetPoolError {
  return new SubnetPoolError(
    "exhausted",
    `Cannot allocate an address of Subnet ${subnet}: of what the register grants, nothing can be used by what this node knows of the subnet; try again, and see causeway vpc addresses ${subnet}`,
  );
}

function describe({ network, containerId, ifname }: Attachment): string {
  return `${ifname} of container ${containerId} in network ${network}`;
}
