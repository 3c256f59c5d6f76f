/** XfrmMonitor: events of XFRM as they happen. How events get lost is told in listener.ts. */
import { NETLINK, type Netns } from "../sys/mod.ts";
import { DecodeError } from "../wire/mod.ts";
import { Listener } from "./listener.ts";
import { eachAnswer } from "./message.ts";
import { decodeXfrmEvent, type XfrmEvent } from "./xfrm-event.ts";

/** XFRMNLGRP_… of include/uapi/linux/xfrm.h. */
const groups = { acquire: 1, expire: 2, sa: 3, policy: 4, mapping: 8 } as const;

/** XfrmMonitorGroup is what to listen to; `expire` brings those of policies too. */
export type XfrmMonitorGroup = keyof typeof groups;

/** XfrmMonitorOptions say where and what to listen to. */
export interface XfrmMonitorOptions {
  readonly netns?: Netns;
  /** Default: all. Without anyone on `acquire`, the kernel drops a packet that needs an association and asks nobody. */
  readonly groups?: readonly XfrmMonitorGroup[];
  /** Size of the kernel's queue, default 8 MiB. */
  readonly receiveBufferBytes?: number;
  readonly onEvent: (event: XfrmEvent) => void;
  /** Events were lost, and the monitor listens again: read everything anew. */
  readonly onOverrun: () => void;
}

/** XfrmMonitor is one listening socket. It keeps its process alive until it is closed. */
export class XfrmMonitor implements Disposable {
  readonly #options: XfrmMonitorOptions;
  readonly #queue: XfrmEvent[] = [];
  readonly #listener: Listener;

  private constructor(options: XfrmMonitorOptions) {
    this.#options = options;
    const { netns, receiveBufferBytes } = options;
    const names = options.groups ?? (Object.keys(groups) as XfrmMonitorGroup[]);
    this.#listener = Listener.open({
      protocol: NETLINK.xfrm,
      groups: names.map((name) => groups[name]),
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

  static open(options: XfrmMonitorOptions): XfrmMonitor {
    return new XfrmMonitor(options);
  }

  #read(datagram: Uint8Array): void {
    try {
      eachAnswer(datagram, (answer) => {
        const event = answer.kind === "data" ? decodeXfrmEvent(answer.type, answer.body) : undefined;
        if (event !== undefined) this.#queue.push(event);
        return true;
      });
    } catch (error) {
      // A message that cannot be read is one that was lost.
      if (!(error instanceof DecodeError)) throw error;
      this.#options.onOverrun();
    } finally {
      // The kernel tells of a new association with its key.
      datagram.fill(0);
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
