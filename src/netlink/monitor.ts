/** Monitor: events as they happen, of links, addresses, routes and what belongs to them. How events get lost is told in listener.ts. */
import { NETLINK, type Netns } from "../sys/mod.ts";
import { DecodeError } from "../wire/mod.ts";
import { decodeEvent, type RouteEvent } from "./event.ts";
import { Listener } from "./listener.ts";
import { eachAnswer } from "./message.ts";

/** Multicast groups (RTNLGRP_… of include/uapi/linux/rtnetlink.h). */
const groups = {
  link: [1],
  address: [5, 9],
  route: [7, 11],
  nexthop: [32],
  neighbour: [3],
  tc: [4],
  rule: [8, 19],
} as const;

/** MonitorGroup is what to listen to; `neighbour` brings forwarding database entries too, `tc` qdiscs and filters. */
export type MonitorGroup = keyof typeof groups;

/** MonitorOptions say where and what to listen to. */
export interface MonitorOptions {
  readonly netns?: Netns;
  /** Default: all. */
  readonly groups?: readonly MonitorGroup[];
  /** Size of the kernel's queue, default 8 MiB. */
  readonly receiveBufferBytes?: number;
  readonly onEvent: (event: RouteEvent) => void;
  /** Events were lost, and the monitor listens again: read everything anew. */
  readonly onOverrun: () => void;
}

/** Monitor is one listening socket. It keeps its process alive until it is closed. */
export class Monitor implements Disposable {
  readonly #options: MonitorOptions;
  /** What was read and not yet delivered, so that a `drain` inside `onEvent` keeps the order. */
  readonly #queue: RouteEvent[] = [];
  readonly #listener: Listener;

  private constructor(options: MonitorOptions) {
    this.#options = options;
    const { netns, receiveBufferBytes } = options;
    const names = options.groups ?? (Object.keys(groups) as MonitorGroup[]);
    this.#listener = Listener.open({
      protocol: NETLINK.route,
      groups: names.flatMap((name) => groups[name]),
      netns,
      receiveBufferBytes,
      onDatagram: (datagram) => {
        this.#read(datagram);
        this.#deliver();
      },
      onOverrun: () => {
        // What is still undelivered is older than what the owner will read.
        this.#queue.length = 0;
        options.onOverrun();
      },
    });
  }

  static open(options: MonitorOptions): Monitor {
    return new Monitor(options);
  }

  #read(datagram: Uint8Array): void {
    try {
      eachAnswer(datagram, (answer) => {
        const event = answer.kind === "data" ? decodeEvent(answer.type, answer.body) : undefined;
        if (event !== undefined) this.#queue.push(event);
        return true;
      });
    } catch (error) {
      // A message that cannot be read is one that was lost.
      if (!(error instanceof DecodeError)) throw error;
      this.#options.onOverrun();
    }
  }

  #deliver(): void {
    for (let event = this.#queue.shift(); event !== undefined; event = this.#queue.shift())
      this.#options.onEvent(event);
  }

  /** drain delivers, before it returns, every event that is queued now: whoever made a change has then seen its event. */
  drain(): void {
    this.#deliver();
    this.#listener.drain();
  }

  close(): void {
    this.#listener.close();
    this.#queue.length = 0;
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
