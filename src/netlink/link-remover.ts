/**
 * LinkRemover removes links without waiting for the kernel to free them.
 *
 * A removed device is out of its namespace within a fraction of a millisecond; then the kernel waits, without the RTNL, until nobody
 * reads it any more, which takes 10 to 30 ms (net/core/dev.c: netdev_run_todo, rcu_barrier), and only then ends the request. So the
 * request is sent in the background, and the removal counts as done once the device is gone.
 */
import {
  type BackgroundSender,
  backgroundSender,
  type Fd,
  libc,
  monotonicMs,
  MSG,
  NETLINK,
  type Netns,
  openNetlinkSocket,
  pause,
  stable,
  type Ticket,
} from "../sys/mod.ts";
import { Writer } from "../wire/mod.ts";
import { NetlinkError } from "./error.ts";
import { deleteLink } from "./link-write.ts";
import { writeMessage } from "./message.ts";
import { FLAG } from "./request.ts";
import type { Rtnetlink } from "./rtnetlink.ts";

/** After this long a removal is repeated in the foreground. */
const PATIENCE_MS = 2_000;
/** Between two looks the processor is left to the kernel's thread. */
const PAUSE_MS = 0.1;
/** Where a message has its sequence number. */
const SEQUENCE_AT = 8;

/** LinkRemoverOptions say where links are removed. */
export interface LinkRemoverOptions {
  /** The socket that looks; it stays the caller's to close. */
  readonly route: Rtnetlink;
  /** Namespace of that socket; default that of the calling thread. */
  readonly netns?: Netns | undefined;
  /** Default true; otherwise, and where the kernel has no io_uring for us, removals wait. */
  readonly background?: boolean;
}

/** LinkRemover owns a socket for requests whose answers nobody waits for. */
export class LinkRemover implements Disposable {
  readonly #route: Rtnetlink;
  readonly #sender: BackgroundSender | undefined;
  /** Of requests that may not have begun. */
  #tickets: Ticket[] = [];
  #sequence = 0;
  readonly #socket: Fd | undefined;
  readonly #answers = stable(4096);

  private constructor(options: LinkRemoverOptions) {
    this.#route = options.route;
    this.#sender = options.background === false ? undefined : backgroundSender();
    if (this.#sender !== undefined) this.#socket = openNetlinkSocket(NETLINK.route, { netns: options.netns });
  }

  static open(options: LinkRemoverOptions): LinkRemover {
    return new LinkRemover(options);
  }

  /** remove removes a link by name, and its other end if it is a veth; both are gone when it returns. One that is not there is not an error. */
  remove(name: string): void {
    const index = this.#route.link(name)?.index;
    if (index === undefined || (this.#ask(index) && this.#isGone(index))) return;
    try {
      this.#route.request(deleteLink({ index }));
    } catch (error) {
      // Gone meanwhile, perhaps with the container's namespace.
      if (!(error instanceof NetlinkError) || error.code !== "ENODEV") throw error;
    }
  }

  #ask(index: number): boolean {
    if (this.#sender === undefined || this.#socket === undefined) return false;
    const writer = new Writer();
    const [message] = deleteLink({ index }).messages;
    writeMessage(writer, { ...message, flags: message.flags | FLAG.request }, ++this.#sequence);
    const ticket = this.#sender.send(this.#socket, writer.finish());
    if (ticket !== undefined) this.#tickets = [...this.#unsent(), ticket];
    return ticket !== undefined;
  }

  /** Looking takes the RTNL, so it waits for the removal by itself once that has begun. */
  #isGone(index: number): boolean {
    for (const endMs = monotonicMs() + PATIENCE_MS; monotonicMs() < endMs; pause(PAUSE_MS)) {
      if (this.#route.link(index) === undefined) return true;
      if (this.#isRefused()) return false;
    }
    return false;
  }

  #unsent(): Ticket[] {
    return this.#tickets.filter((ticket) => this.#sender?.isSent(ticket) === false);
  }

  /** Only refusals are answered; one of an earlier request was acted on by then. */
  #isRefused(): boolean {
    const numbers = new DataView(this.#answers.buffer);
    while (this.#socket !== undefined) {
      if (libc.recv(this.#socket.number, this.#answers, MSG.dontWait) <= 0) return false;
      if (numbers.getUint32(SEQUENCE_AT, true) === this.#sequence) return true;
    }
    return false;
  }

  /** close waits for what has been asked for. A socket that is still needed then stays open: its number must not become another's. */
  close(): void {
    for (const endMs = monotonicMs() + PATIENCE_MS; this.#unsent().length > 0 && monotonicMs() < endMs;)
      pause(1);
    if (this.#unsent().length === 0) this.#socket?.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
