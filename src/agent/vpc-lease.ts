/** Addresses of an attachment to a VPC, and what they are for, written down together. */
import type { VpcWish } from "../cni/mod.ts";
import type { Attachment, SubnetPool } from "../ipam/mod.ts";
import type { InterfaceAddress, Ip } from "../net/mod.ts";
import type { Subnet } from "../resources/mod.ts";
import { lengthIn, refusalOf } from "./vpc-wish.ts";

/** LeaseOptions are what the attachment asks for, and where; without a Subnet its addresses are those that it asks for. */
export interface LeaseOptions {
  readonly wish: Pick<VpcWish, "addresses" | "owner">;
  readonly subnet: Subnet | undefined;
}

/**
 * lease calls `write` with the addresses, which have the lengths of their prefixes, and returns what that returns. From a Subnet's pool they are
 * on disk in one with what is written, or neither is. Rejects with a CniError.
 */
export async function lease<T>(
  pool: SubnetPool,
  attachment: Attachment,
  { wish: { addresses = [], owner }, subnet }: LeaseOptions,
  write: (addresses: readonly InterfaceAddress[]) => T,
): Promise<T> {
  if (subnet === undefined) return write(addresses);
  let written: T | undefined;
  const onLeased = (leased: readonly Ip[]) => {
    written = write(leased.map((ip) => ({ ip, length: lengthIn(subnet.prefixes, ip) })));
  };
  const requested = addresses.map(({ ip }) => ip);
  const more = owner === undefined ? {} : { owner };
  try {
    await pool.allocate(attachment, { subnet, requested, ...more, onLeased });
  } catch (error) {
    throw refusalOf(error);
  }
  return written as T;
}
