/**
 * What a gateway's data path is told, and what it tells: plain values, which go between threads and processes as they are.
 *
 * An order that cannot be obeyed changes nothing and throws with the reason. Orders take effect between turns of the path: no packet of another
 * route waits for one. News is of one queue, whose number whoever composes queues adds.
 */
import type { Ip, Mac, Prefix } from "../../net/mod.ts";
import type { EspAlgorithm } from "../esp/mod.ts";
import type { SideConfiguration } from "./side.ts";

/** SideName is one side of a gateway. */
export type SideName = "private" | "public";

/** UseLimit is how much an association may carry; absent: any number. */
export interface UseLimit {
  readonly packets?: number;
  /** Of inner packets. */
  readonly bytes?: number;
}

/** GatewayAssociation is one direction of ESP (RFC 4301 section 4.1). */
export interface GatewayAssociation {
  readonly route: string;
  readonly spi: number;
  readonly algorithm: EspAlgorithm;
  /** Key, then 4 bytes of salt; whoever gives the order wipes it. */
  readonly keyMaterial: Uint8Array;
  /** Extended sequence numbers; default true. */
  readonly extended?: boolean;
  /** From this moment on (the path's clock) it carries nothing; default never. */
  readonly endsMs?: number;
  /** At the soft limit there is news, once; at the hard one the association carries nothing more. */
  readonly soft?: UseLimit;
  readonly hard?: UseLimit;
}

/** Encapsulation are the UDP ports around ESP (RFC 3948). */
export interface Encapsulation {
  readonly from: number;
  readonly to: number;
}

/** Arrival is how packets of an association come: from whom, and in UDP with which ports, as the packets have them. */
export interface Arrival {
  /** The remote gateway. Packets come to the public side's address of the same family. */
  readonly from: Ip;
  /** Absent: raw ESP. */
  readonly udp?: Encapsulation;
}

/** OutboundOrder is an association that seals. */
export interface OutboundOrder extends GatewayAssociation {
  /** The remote gateway. Packets leave from the public side's address of the same family. */
  readonly to: Ip;
  /** Absent: raw ESP. Over IPv6 the UDP checksum is made (RFC 8200 section 8.1), over IPv4 it is left out (RFC 3948 section 2.1). */
  readonly udp?: Encapsulation;
  /**
   * The next sequence number: 1 only under a key that never sealed anything, anywhere. It has no default, since a key that begins at 1 again
   * gives itself away.
   */
  readonly next: number;
  /** The last number that may be used until a `reserve`; default the last there is. */
  readonly last?: number;
}

/** InboundOrder is an association that opens. */
export interface InboundOrder extends GatewayAssociation {
  /** Packets in the replay window; default DEFAULT_WINDOW. */
  readonly windowPackets?: number;
  /**
   * The greatest sequence number that was seen before (InboundReport.newest); all up to it are refused. Without it a key that this process has
   * not had begins with an empty window: what was heard before can then be played again.
   */
  readonly newest?: number;
  /**
   * As long as the remote gateway is not told to have moved (`endpoint`). The kernel must know it beforehand, and without it believes that they
   * come as packets of the route go; user space takes what comes by its SPI in any way.
   */
  readonly arrival?: Arrival;
}

/** RouteOrder is a route: prefixes behind a remote site. */
export interface RouteOrder {
  readonly name: string;
  readonly prefixes: readonly Prefix[];
  /** Largest inner packet; default the gateway's. More than the frames have room for is refused. */
  readonly mtuBytes?: number;
}

/** GatewayOrder is one order. */
export type GatewayOrder =
  /** Largest inner packet from the private side, as far as the frames have room (GatewayReport.mtu), and whether all are padded to it. */
  | { readonly kind: "mtu"; readonly mtuBytes: number; readonly tfc: boolean }
  /** A side's addresses; associations stay. */
  | { readonly kind: "side"; readonly side: SideName; readonly configuration: SideConfiguration }
  /** A link address that another queue has learnt. */
  | { readonly kind: "next-hop"; readonly side: SideName; readonly family: 4 | 6; readonly mac: Mac }
  /** Adds a route, or changes it; its associations stay. */
  | { readonly kind: "route"; readonly route: RouteOrder }
  /** Removes a route with its associations. */
  | { readonly kind: "remove-route"; readonly name: string }
  /** Installs an association that opens. One of the same SPI and key is displaced, and its window goes on. */
  | { readonly kind: "inbound"; readonly association: InboundOrder }
  | { readonly kind: "remove-inbound"; readonly spi: number }
  /** Installs an association that waits for `move-outbound`; one of the same route and SPI is displaced. */
  | { readonly kind: "outbound"; readonly association: OutboundOrder }
  /** Makes it the one that the route's packets leave by; the one before is removed. */
  | { readonly kind: "move-outbound"; readonly route: string; readonly spi: number }
  | { readonly kind: "remove-outbound"; readonly route: string; readonly spi: number }
  /** Sequence numbers up to `last` may be used: they were noted durably. */
  | { readonly kind: "reserve"; readonly route: string; readonly spi: number; readonly last: number }
  /** The remote gateway has moved. */
  | {
      readonly kind: "endpoint";
      readonly route: string;
      readonly spi: number;
      readonly to: Ip;
      readonly udp?: Encapsulation;
    }
  /** Sends a datagram of a key exchange from the public side; on a port with ESP in UDP the non-ESP marker is put before it. */
  | {
      readonly kind: "exchange";
      readonly to: Ip;
      readonly toPort: number;
      readonly fromPort: number;
      readonly bytes: Uint8Array;
    };

/** GatewayNews is one thing that the path tells. */
export type GatewayNews =
  | {
      readonly kind: "limit";
      readonly direction: "inbound" | "outbound";
      readonly route: string;
      readonly spi: number;
      /** `sequence`: half of the sequence numbers that may be used are; told each second until a `reserve` allows more. */
      readonly limit: "soft" | "hard" | "sequence";
    }
  /** The first authentic packet of an inbound association: the other end has the key. */
  | { readonly kind: "heard"; readonly route: string; readonly spi: number }
  /** The neighbour has a new link address; also now and then when it says the same again, for queues that began since. */
  | { readonly kind: "next-hop"; readonly side: SideName; readonly family: 4 | 6; readonly mac: Mac }
  /** A datagram of a key exchange came; nothing in it is to be believed. */
  | {
      readonly kind: "exchange";
      readonly from: Ip;
      readonly fromPort: number;
      readonly to: Ip;
      readonly toPort: number;
      readonly bytes: Uint8Array<ArrayBuffer>;
    };
