/**
 * Datagrams of ours on the tunnel's UDP port, beside WireGuard's, whichever back-end runs it: what pairs of nodes probe their paths with.
 *
 * ```
 *            our engine:  data plane ──(others, unix socket)──┐
 *  port ──▶                                                    ├─▶ onDatagram
 *   kernel, wireguard-go:  raw sockets with a filter ──────────┘
 *  port ◀── raw socket (all back-ends)                       ◀──── send
 * ```
 * On the wire each begins with "CWAY", which is no type of WireGuard's: kernel and wireguard-go drop it. What is received has passed the node's
 * packet filter (INPUT), as WireGuard's own packets have to; what is sent has the tunnel's port as its source, so a NAT treats it as WireGuard's.
 */
import type { Endpoint, Ip } from "../net/mod.ts";
import type { Netns } from "../sys/mod.ts";
import { ProbeSender } from "./probe-sender.ts";

/** ProbeDatagram is one that came. Nothing of it is authentic. */
export interface ProbeDatagram {
  readonly from: Endpoint;
  /** The address of ours that it was sent to: what an answer should come from. */
  readonly local: Ip | undefined;
  /** What follows the magic; of a datagram longer than PROBE_WHOLE_BYTES only the first PROBE_HEAD_BYTES, magic included (probe-admission.ts). */
  readonly bytes: Uint8Array;
  /** Length of the UDP payload as it came, magic included. */
  readonly datagramBytes: number;
}

/** ProbeOptions say what is listened to. */
export interface ProbeOptions {
  /** The tunnel's port; when it changes, a new ProbePort is made. */
  readonly listenPort: number;
  /** The tunnel's mark (SO_MARK), for routing and filters. */
  readonly mark?: number;
  readonly onDatagram: (datagram: ProbeDatagram) => void;
  /** Nothing is received any more, for good: make a new one. That a data plane ends and comes back is no such case. */
  readonly onClosed?: (reason: string) => void;
}

/** ProbeSending says how one is sent. */
export interface ProbeSending {
  /** The address of ours that it is to leave from; default what routing chooses. */
  readonly from?: Ip | undefined;
  /** Length of the UDP payload, magic included: zeros fill it up. Up to MOST_PROBE. */
  readonly datagramBytes?: number;
}

/** ProbeOutcome: `too-big` for the interface; `refused` by the system (no route, no such source, a packet filter, no room just now). */
export type ProbeOutcome = "sent" | "too-big" | "refused";

/** ProbePort sends and receives until it is disposed. */
export interface ProbePort extends Disposable {
  /** Datagrams that were not looked at, because there were too many. */
  readonly refused: number;
  /** send sends the magic and `bytes` as one datagram that no router may fragment (DF). */
  send(to: Endpoint, bytes: Uint8Array, sending?: ProbeSending): ProbeOutcome;
}

/** ProbePlace is where a port lives. */
export type ProbePlace = ProbeOptions & { readonly netns?: Netns | undefined };

/** ProbeReceiver is the half that depends on the back-end. */
export interface ProbeReceiver extends Disposable {
  readonly refused: number;
}

/** openProbePort joins a receiver with the sender that all have. */
export function openProbePort(place: ProbePlace, receive: (place: ProbePlace) => ProbeReceiver): ProbePort {
  const receiver = receive(place);
  const sender = new ProbeSender(place);
  return {
    get refused() {
      return receiver.refused;
    },
    send: (to, bytes, sending) => sender.send(to, bytes, sending),
    [Symbol.dispose]() {
      receiver[Symbol.dispose]();
      sender[Symbol.dispose]();
    },
  };
}
