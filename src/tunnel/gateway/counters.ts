/**
 * What a gateway counts, by the names of Vita's state (`gateway-state`, section by section, in camel case), and what Vita does not count.
 * All only grow.
 */
import type { Arena } from "../../sys/mod.ts";

const zeros = <Name extends string>(...names: readonly Name[]) =>
  Object.fromEntries(names.map((name) => [name, 0])) as Record<Name, number>;

/** newNextHopCounters returns the counters of one side's neighbour. */
export const newNextHopCounters = () =>
  zeros(
    "arpRequests",
    "arpReplies",
    "arpErrors",
    "nsRequests",
    "naReplies",
    "ndErrors",
    "addressesAdded",
    "addressesUpdated",
  );
export type NextHopCounters = ReturnType<typeof newNextHopCounters>;

/** newIcmp4Counters returns the counters of received ICMP messages; `errorsSent` were made, `limited` are messages beyond the rate, and errors not made for it. */
export const newIcmp4Counters = () =>
  zeros(
    "protocolErrors",
    "typeNotImplementedErrors",
    "codeNotImplementedErrors",
    "destinationUnreachable",
    "netUnreachable",
    "hostUnreachable",
    "protocolUnreachable",
    "portUnreachable",
    "fragmentationNeeded",
    "sourceRouteFailed",
    "timeExceeded",
    "transitTtlExceeded",
    "fragmentReassemblyTimeExceeded",
    "parameterProblem",
    "redirect",
    "redirectNet",
    "redirectHost",
    "redirectTosNet",
    "redirectTosHost",
    "echoRequest",
    "errorsSent",
    "limited",
  );
export type Icmp4Counters = ReturnType<typeof newIcmp4Counters>;

/** newIcmp6Counters returns the same for ICMPv6. */
export const newIcmp6Counters = () =>
  zeros(
    "protocolErrors",
    "typeNotImplementedErrors",
    "codeNotImplementedErrors",
    "destinationUnreachable",
    "netUnreachable",
    "destinationDenied",
    "scopeDenied",
    "hostUnreachable",
    "portUnreachable",
    "sourceDenied",
    "netDenied",
    "packetTooBig",
    "timeExceeded",
    "transitHopLimitExceeded",
    "fragmentReassemblyTimeExceeded",
    "parameterProblem",
    "headerFieldProblem",
    "nextHeaderProblem",
    "optionProblem",
    "echoRequest",
    "errorsSent",
    "limited",
  );
export type Icmp6Counters = ReturnType<typeof newIcmp6Counters>;

/**
 * newInterfaceCounters returns the counters of frames. `rxTooLong` and `rxNoRoom` the system dropped before they could be received: longer than
 * the memory of a frame, and without a free one. `txdrop` could not be sent, `unresolved` had a neighbour whose link address is not known. Of all,
 * `…bcast` were to everybody on the link, and `…mcast` to another group.
 */
export const newInterfaceCounters = () =>
  zeros(
    "rxpackets",
    "rxbytes",
    "rxmcast",
    "rxbcast",
    "rxTooLong",
    "rxNoRoom",
    "txpackets",
    "txbytes",
    "txmcast",
    "txbcast",
    "txdrop",
    "notOurs",
    "unresolved",
  );
export type InterfaceCounters = ReturnType<typeof newInterfaceCounters>;

/** groupOf tells of the frame at `at` whether it is to everybody on the link, or to some; undefined, as all that is carried: to one. */
export function groupOf({ u8, view }: Arena, at: number): "mcast" | "bcast" | undefined {
  if (((u8[at] as number) & 1) === 0) return undefined;
  return view.getInt32(at) === -1 && view.getUint16(at + 4) === 0xffff ? "bcast" : "mcast";
}

/** countReceived counts the frame at `at` if it is to a group. */
export function countReceived(arena: Arena, at: number, counters: InterfaceCounters): void {
  const group = groupOf(arena, at);
  if (group !== undefined) counters[group === "bcast" ? "rxbcast" : "rxmcast"]++;
}

/** newGatewayCounters returns the counters of one queue. */
export function newGatewayCounters() {
  return {
    privateInterface: newInterfaceCounters(),
    publicInterface: newInterfaceCounters(),
    privateNextHop: newNextHopCounters(),
    publicNextHop: newNextHopCounters(),
    privateDispatch: zeros("ethertypeErrors"),
    publicDispatch: zeros("ethertypeErrors", "protocolErrors", "fragmentErrors"),
    /** Opened, and no IP packet. */
    inboundDispatch: zeros("protocolErrors"),
    outboundTtl: zeros("checksumErrors", "protocolErrors"),
    inboundTtl: zeros("checksumErrors", "protocolErrors"),
    /**
     * Of routeErrors, `unready` had a route without an association, and `exhausted` one that had ended, or no sequence numbers left. `refusedAddress`: from or to
     * one that nothing is forwarded from or to (special-address.ts), or from one of our own.
     */
    privateRouter: zeros("routeErrors", "mtuErrors", "unready", "exhausted", "refusedAddress"),
    /** `refusedSource`: opened, and from an address that is not its route's; `refusedAddress` as above, in what was opened. */
    publicRouter: zeros("routeErrors", "refusedSource", "refusedAddress"),
    privateIcmp4: newIcmp4Counters(),
    publicIcmp4: newIcmp4Counters(),
    inboundIcmp4: newIcmp4Counters(),
    privateIcmp6: newIcmp6Counters(),
    publicIcmp6: newIcmp6Counters(),
    inboundIcmp6: newIcmp6Counters(),
    /** Messages of a key exchange: to the key keeper, beyond the rate, and sent. */
    exchange: zeros("received", "limited", "sent"),
  };
}
export type GatewayCounters = ReturnType<typeof newGatewayCounters>;
