/**
 * Monitor: events as they happen. The event loop wakes it up; `drain` reads at once what is queued.
 *
 * When the kernel's queue overflows, events are lost and the kernel says so once (ENOBUFS). The monitor then listens on a new
 * socket first and calls `onOverrun` after, so that what the owner reads anew is at least as old as the first new event.
 */
import {
  duplicate,
  type Fd,
  isErrno,
  libc,
  MSG,
  NETLINK,
  Netns,
  openNetlinkSocket,
  stable,
  watchSocket,
} from "../sys/mod.ts";
import { DecodeError } from "../wire/mod.ts";
import { decodeEvent, type RouteEvent } from "./event.ts";
import { eachAnswer } from "./message.ts";

/** Multicast groups (RTNLGRP_… of include/uapi/linux/rtnetlink.h). */
const groups = {
  link: [1],
  address: [5, 9],
  route: [7, 11],
  nexthop: [32],
  neighbour: [3],
  rule: [8, 19],
} as const;

/** MonitorGroup is what to listen to; `neighbour` brings forwarding database entries too. */
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
  /** A handle of our own: the caller may close its. */
  readonly #netns: Netns | undefined;
  readonly #buffer = stable(256 * 1024);
  /** What was read and not yet delivered, so that a `drain` inside `onEvent` keeps the order. */
  readonly #queue: RouteEvent[] = [];
  #fd: Fd | undefined;
  #watch: Disposable | undefined;

  private constructor(options: MonitorOptions) {
    this.#options = options;
    const { netns } = options;
    if (netns !== undefined) this.#netns = Netns.adopt(duplicate(netns.fd, "netns").release(), netns.path);
    try {
      this.#listen();
    } catch (error) {
      this.#netns?.close();
      throw error;
    }
  }

  static open(options: MonitorOptions): Monitor {
    return new Monitor(options);
  }

  #listen(): void {
    const names = this.#options.groups ?? (Object.keys(groups) as MonitorGroup[]);
    const fd = openNetlinkSocket(NETLINK.route, {
      netns: this.#netns,
      groups: names.flatMap((name) => groups[name]),
      receiveBufferBytes: this.#options.receiveBufferBytes,
    });
    this.#fd = fd;
    this.#watch = watchSocket(fd, {
      onMessage: (bytes) => {
        this.#read(bytes);
        this.#deliver();
      },
      onFailure: () => this.#overrun(),
    });
  }

  #unlisten(): void {
    this.#watch?.[Symbol.dispose]();
    this.#watch = undefined;
    this.#fd?.close();
    this.#fd = undefined;
  }

  #overrun(): void {
    this.#unlisten();
    // What is still undelivered is older than what the owner will read.
    this.#queue.length = 0;
    this.#listen();
    this.#options.onOverrun();
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
    while (this.#fd !== undefined) {
      let count: number;
      try {
        count = libc.recv(this.#fd.number, this.#buffer, MSG.dontWait);
      } catch (error) {
        if (!isErrno(error, "ENOBUFS")) throw error;
        return this.#overrun();
      }
      if (count <= 0) return;
      this.#read(this.#buffer.subarray(0, count));
      this.#deliver();
    }
  }

  close(): void {
    this.#unlisten();
    this.#netns?.close();
    this.#queue.length = 0;
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
