/**
 * FlowRemover forgets the flows of addresses that belong to nobody any more, in the background and many addresses at a time.
 *
 * | | the kernel looks through its table itself | we read the table, bit by bit |
 * |---|---|---|
 * | when | IPv4, few addresses, Linux 6.12, io_uring | otherwise (of IPv6 it compares addresses the wrong way round) |
 * | costs with 100,000 flows | 35 ms of a kernel thread per address | 150 ms of ours, in turns of about a millisecond |
 */
import { hostPrefix, type Ip, ipEqual } from "../net/mod.ts";
import {
  after,
  type BackgroundSender,
  backgroundSender,
  duplicate,
  type Fd,
  isErrno,
  libc,
  MSG,
  NETLINK,
  Netns,
  monotonicMs,
  openNetlinkSocket,
  pause,
  stable,
  type Ticket,
} from "../sys/mod.ts";
import { Writer } from "../wire/mod.ts";
import { Conntrack, forgetMessage } from "./conntrack.ts";
import { writeMessage } from "./message.ts";
import { FLAG } from "./request.ts";

/** More addresses are looked for in one reading of the table. */
const MOST_ADDRESSES = 8;
/** Datagrams of the table that are read in one turn. */
const STEPS = 4;
/** How soon it goes on. */
const TURN_MS = 1;
/** From one round to the next; what comes until then is done together. */
const ROUND_MS = 500;
/** How long a caller waits for the kernel. */
const PATIENCE_MS = 2_000;

/** FlowRemoverOptions say where flows are forgotten. */
export interface FlowRemoverOptions {
  /** Default that of the calling thread. */
  readonly netns?: Netns | undefined;
  /** Default true; false never has the kernel work in a thread of its own. */
  readonly background?: boolean;
  /** Told what went wrong. */
  readonly onProblem?: ((error: Error) => void) | undefined;
}

/** FlowRemover owns the sockets. */
export class FlowRemover implements Disposable {
  /** A handle of our own: the caller may close its. */
  readonly #netns: Netns | undefined;
  readonly #onProblem: ((error: Error) => void) | undefined;
  readonly #sender: BackgroundSender | undefined;
  /** For orders to the kernel, where it takes them. */
  readonly #orders: Fd | undefined;
  readonly #answers = stable(4096);
  #waiting: readonly Ip[] = [];
  /** Those of the round that has begun. */
  #current: readonly Ip[] = [];
  #reading: Iterator<undefined, void> | undefined;
  #next: Disposable | undefined;
  /** Of the order that the kernel works at. */
  #ordered: Ticket | undefined;

  private constructor(options: FlowRemoverOptions, byFilter: boolean) {
    const { netns, background = true, onProblem } = options;
    this.#netns = netns && Netns.adopt(duplicate(netns.fd, "netns").release(), netns.path);
    this.#onProblem = onProblem;
    this.#sender = background ? backgroundSender() : undefined;
    if (byFilter && this.#sender !== undefined)
      this.#orders = openNetlinkSocket(NETLINK.netfilter, { netns, strict: false });
  }

  /** open returns undefined where the kernel has no connection tracking, and so no flows to forget. */
  static open(options: FlowRemoverOptions = {}): FlowRemover | undefined {
    try {
      using conntrack = openConntrack(options.netns);
      conntrack.count();
      return new FlowRemover(options, conntrack.forgetsByFilter());
    } catch (error) {
      if (isAbsent(error)) return undefined;
      throw error;
    }
  }

  /** remove forgets, soon, the flows that one of the addresses began or answered. */
  remove(addresses: readonly Ip[]): void {
    this.#waiting = [...this.#waiting, ...addresses];
    this.#next ??= after(0, () => this.#turn());
  }

  /** settle ends what has not been done yet for one of the addresses, because it gets a new owner now. */
  settle(addresses: readonly Ip[]): void {
    const open = [...this.#current, ...this.#waiting];
    if (open.some((one) => addresses.some((other) => ipEqual(one, other)))) this.#finish();
  }

  #turn(): void {
    this.#next = undefined;
    this.#guarded(() => {
      if (this.#isIdle) this.#begin();
      for (let step = 0; step < STEPS; step++) this.#step();
    });
    if (!this.#isIdle) this.#next = after(TURN_MS, () => this.#turn());
    else if (this.#waiting.length > 0) this.#next = after(ROUND_MS, () => this.#turn());
    else this.#current = [];
  }

  get #isIdle(): boolean {
    return this.#reading === undefined && !this.#isOrdered;
  }

  get #isOrdered(): boolean {
    if (this.#ordered !== undefined && this.#sender?.isSent(this.#ordered) === true)
      this.#ordered = undefined;
    return this.#ordered !== undefined;
  }

  #begin(): void {
    this.#current = this.#waiting;
    this.#waiting = [];
    const four = this.#current.filter(({ family }) => family === 4);
    const six = this.#current.filter(({ family }) => family === 6);
    const forUs = this.#order(four) ? six : this.#current;
    if (forUs.length > 0) this.#reading = forget(forUs, this.#netns, this.#sender);
  }

  #step(): void {
    if (this.#reading?.next().done === true) this.#reading = undefined;
  }

  /** What the kernel has not done in time is done here as well. */
  #finish(): void {
    this.#guarded(() => {
      for (const endMs = monotonicMs() + PATIENCE_MS; !this.#isIdle && monotonicMs() < endMs; this.#step())
        if (this.#reading === undefined) pause(1);
      const rest = this.#isIdle ? this.#waiting : [...this.#current, ...this.#waiting];
      this.#reading = undefined;
      if (rest.length > 0) for (const _step of forget(rest, this.#netns));
    });
    this.#waiting = [];
    this.#current = [];
  }

  /** All in one datagram, which the kernel works off in order; false when it cannot. */
  #order(addresses: readonly Ip[]): boolean {
    if (addresses.length === 0) return true;
    if (this.#orders === undefined || addresses.length > MOST_ADDRESSES) return false;
    // Without acknowledgements; a refusal is read and dropped.
    while (libc.recv(this.#orders.number, this.#answers, MSG.dontWait) > 0);
    const writer = new Writer();
    const filters = addresses
      .map(hostPrefix)
      .flatMap((prefix) => [{ source: prefix }, { replySource: prefix }]);
    for (const [index, filter] of filters.entries()) {
      const message = forgetMessage(filter);
      if (message === undefined) return false;
      writeMessage(writer, { ...message, flags: message.flags | FLAG.request }, index);
    }
    this.#ordered = this.#sender?.send(this.#orders, writer.finish());
    return this.#ordered !== undefined;
  }

  /** What fails is told, and not tried again: flows end by themselves. */
  #guarded(work: () => void): void {
    try {
      work();
    } catch (error) {
      this.#reading = undefined;
      this.#onProblem?.(error instanceof Error ? error : new Error(String(error)));
    }
  }

  /** close does at once what is still waiting. */
  close(): void {
    this.#next?.[Symbol.dispose]();
    this.#finish();
    // As long as the kernel may need its number, it must not become another's.
    if (!this.#isOrdered) this.#orders?.close();
    this.#netns?.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** A reading has a socket to itself. */
function* forget(
  addresses: readonly Ip[],
  netns: Netns | undefined,
  sender?: BackgroundSender,
): Generator<undefined, void> {
  using conntrack = openConntrack(netns);
  yield* conntrack.forgetInSteps(addresses, sender);
}

function openConntrack(netns: Netns | undefined): Conntrack {
  return Conntrack.open(netns === undefined ? {} : { netns });
}

/** EINVAL is nfnetlink's word for a subsystem that is not there (net/netfilter/nfnetlink.c, nfnetlink_rcv_msg). */
function isAbsent(error: unknown): boolean {
  return isErrno(error, "EINVAL", "EOPNOTSUPP", "EPROTONOSUPPORT");
}
