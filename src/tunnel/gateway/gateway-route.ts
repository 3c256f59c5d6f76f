/** One route of a gateway at work: what is behind which remote site, by which association it is reached, and what went there. */
import type { Prefix } from "../../net/mod.ts";
import type { Detour } from "./detour.ts";
import type { Outbound } from "./gateway-association.ts";

/** GatewayRoute is known to packets by its index. */
export class GatewayRoute {
  readonly index: number;
  readonly name: string;
  prefixes: readonly Prefix[] = [];
  /** Absent: the gateway's. */
  ownMtuBytes: number | undefined;
  mtuBytes = 0;
  /** What packets leave by, and those that wait, by their SPI. */
  outbound: Outbound | undefined;
  readonly waiting = new Map<number, Outbound>();
  /** Another queue, by which packets of the private side go in place of `outbound`. */
  detour: Detour | undefined;
  /** Inner packets that were sealed, and those of them that could not be sent; and those that were authentic. */
  txpackets = 0;
  txbytes = 0;
  txdrop = 0;
  rxpackets = 0;
  rxbytes = 0;
  /** Dropped: too long, without an association, without sequence numbers, and opened but from an address of another route. */
  mtuErrors = 0;
  unready = 0;
  exhausted = 0;
  refusedSource = 0;
  /** Refused by associations that are gone. */
  decryptErrors = 0;
  replayed = 0;
  protocolErrors = 0;

  constructor(index: number, name: string) {
    this.index = index;
    this.name = name;
  }
}
