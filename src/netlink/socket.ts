/**
 * NetlinkSocket: request, dump, execute. Synchronous: the kernel handles a request while it is sent, so an answer is there
 * when `send` returns.
 */
import {
  type BackgroundSender,
  type Fd,
  libc,
  MSG,
  type NetlinkSocketOptions,
  openNetlinkSocket,
  stable,
  SystemError,
  type Ticket,
} from "../sys/mod.ts";
import { type Reader, Writer } from "../wire/mod.ts";
import { NetlinkError } from "./error.ts";
import { type Answer, eachAnswer, writeMessage } from "./message.ts";
import { FLAG, type Message } from "./request.ts";

/** A dump that changes while it is read is read again, at most this often. */
const DUMP_TRIES = 16;
/** Refusals of one whole batch must fit the smallest receive buffer (208 KiB, about 270 of them). */
const BATCH_MESSAGES = 128;
const BATCH_BYTES = 64 * 1024;
/** Kernel datagrams are at most 32 KiB but for links with many virtual functions. Untouched memory costs nothing. */
const RECEIVE_BYTES = 256 * 1024;

const ETIMEDOUT = 110;
const EINTR = 4;
const ENOBUFS = 105;
const EMSGSIZE = 90;

/** Buffers of closed sockets: a pod's namespace is visited with a socket of its own, and fresh memory costs more than the visit. */
const spareBuffers: Uint8Array<ArrayBuffer>[] = [];
const MOST_SPARE = 4;

/** Data is a message of an answer: its type and a reader on its body, valid until the handler returns. */
export type OnData = (type: number, body: Reader) => void;

/** NetlinkSocket is one socket of a netlink protocol. */
export class NetlinkSocket implements Disposable {
  readonly #fd: Fd;
  readonly #buffer = spareBuffers.pop() ?? stable(RECEIVE_BYTES);
  #closed = false;
  #sequence = 0;
  /** The longest datagram since the last wipe. */
  #received = 0;

  private constructor(fd: Fd) {
    this.#fd = fd;
  }

  static open(protocol: number, options: NetlinkSocketOptions = {}): NetlinkSocket {
    return new NetlinkSocket(openNetlinkSocket(protocol, options));
  }

  /** request sends one message and waits for its acknowledgement; `onData` gets what comes before it. Throws NetlinkError. */
  request(action: string | (() => string), message: Message, onData?: OnData): void {
    const sequence = this.#send([message], FLAG.request | FLAG.ack);
    throwFor(action, this.#untilEnd(action, sequence, onData));
  }

  /**
   * dump reads a whole table. When the kernel says that the table changed in between (NLM_F_DUMP_INTR) it is read again
   * from the start: `start` is called before each try, to forget what came.
   */
  dump(action: string | (() => string), message: Message, start: () => void, onData: OnData): void {
    for (let tries = 0; tries < DUMP_TRIES; tries++) {
      start();
      const sequence = this.#send([message], FLAG.request | FLAG.dump);
      let interrupted = false;
      const end = this.#untilEnd(action, sequence, onData, () => (interrupted = true));
      throwFor(action, end);
      if (!interrupted && !end.interrupted) return;
    }
    throw new NetlinkError(text(action), EINTR, `it changed ${DUMP_TRIES} times while it was read`);
  }

  /**
   * dumpInSteps is dump for a table so long that others must have their turn meanwhile: each step takes in one datagram, at most 32 KiB.
   * With a sender, the kernel looks for the first datagram in a thread of its own, which is long where little is found in a large table.
   * The socket serves nothing else until the last step, and is to be closed after fewer; what changes meanwhile is not read again.
   */
  *dumpInSteps(
    action: string,
    message: Message,
    { onData, sender }: { readonly onData: OnData; readonly sender?: BackgroundSender | undefined },
  ): Generator<undefined, void> {
    let ticket: Ticket | undefined;
    const sequence = this.#encoded([message], FLAG.request | FLAG.dump, (bytes) => {
      ticket = sender?.send(this.#fd, bytes);
      if (ticket === undefined) libc.send(this.#fd.number, bytes);
    });
    while (ticket !== undefined && sender?.isSent(ticket) === false) yield;
    let end: (Answer & { kind: "ack" | "done" }) | undefined;
    while (end === undefined) {
      const datagram = this.#receive();
      if (datagram === undefined) throw new NetlinkError(action, ETIMEDOUT, "the kernel did not answer");
      eachAnswer(datagram, (answer) => {
        if (answer.sequence !== sequence) return true;
        if (answer.kind === "overrun") throw new NetlinkError(action, ENOBUFS);
        if (answer.kind !== "data") end = answer;
        else onData(answer.type, answer.body);
        return end === undefined;
      });
      yield;
    }
    throwFor(action, end);
  }

  /**
   * transaction sends messages between two marks, of which the kernel does all or none (netfilter's batches). Throws NetlinkError, the
   * first refusal. Only the messages are acknowledged; a mark is when the whole is refused.
   */
  transaction(
    action: string,
    messages: readonly Message[],
    marks: { readonly begin: Message; readonly end: Message },
  ): void {
    const asked = messages.map((one) => ({ ...one, flags: one.flags | FLAG.ack }));
    const last = this.#send([marks.begin, ...asked, marks.end], FLAG.request);
    const first = last - messages.length - 1;
    let refusal: NetlinkError | undefined;
    for (let waiting = messages.length; waiting > 0;) {
      const datagram = this.#receive();
      if (datagram === undefined) throw new NetlinkError(action, ETIMEDOUT, "the kernel did not answer");
      eachAnswer(datagram, (answer) => {
        const index = answer.sequence - first;
        if (answer.kind !== "ack" || index < 0 || index > messages.length + 1) return;
        if (answer.errno !== 0) refusal ??= new NetlinkError(action, answer.errno, answer.extendedAck);
        waiting = index === 0 || index > messages.length ? 0 : waiting - 1;
      });
    }
    if (refusal !== undefined) throw refusal;
  }

  /**
   * execute sends many messages in few system calls; one result per message, in order. Never throws for a kernel answer. Of each batch
   * only the last message is acknowledged, and those that are refused: what was not refused by then was done.
   */
  execute(
    items: readonly { readonly action: () => string; readonly message: Message }[],
  ): (NetlinkError | undefined)[] {
    const results: (NetlinkError | undefined)[] = new Array(items.length).fill(undefined);
    for (let start = 0; start < items.length;) {
      let end = start;
      for (let bytes = 0; end < items.length && end - start < BATCH_MESSAGES; end++) {
        bytes += 16 + (items[end] as { message: Message }).message.body.length;
        if (bytes > BATCH_BYTES && end > start) break;
      }
      this.#batch(items.slice(start, end), (index, error) => {
        results[start + index] = error;
      });
      start = end;
    }
    return results;
  }

  #batch(
    items: readonly { readonly action: () => string; readonly message: Message }[],
    onResult: (index: number, error: NetlinkError) => void,
  ): void {
    const last = items.length - 1;
    const messages = items.map(({ message }, index) =>
      index === last ? { ...message, flags: message.flags | FLAG.ack } : message,
    );
    const first = this.#send(messages, FLAG.request) - last;
    const refused = new Set<number>();
    const refuse = (index: number, errno: number, reason?: string) => {
      refused.add(index);
      onResult(index, new NetlinkError((items[index] as { action: () => string }).action(), errno, reason));
    };
    const loseRest = (errno: number, reason: string) => {
      for (const index of items.keys()) if (!refused.has(index)) refuse(index, errno, reason);
    };
    for (let done = false; !done;) {
      try {
        const datagram = this.#receive();
        if (datagram === undefined) return loseRest(ETIMEDOUT, "the kernel did not answer");
        eachAnswer(datagram, (answer) => {
          const index = answer.sequence - first;
          if (answer.kind !== "ack" || index < 0 || index > last) return;
          if (answer.errno !== 0) refuse(index, answer.errno, answer.extendedAck);
          done ||= index === last;
        });
      } catch (error) {
        if (!(error instanceof SystemError)) throw error;
        return loseRest(error.errno, "the kernel's answer was lost");
      }
    }
  }

  /** Sends messages as one datagram; returns the sequence number of the last, those before count up to it. */
  #send(messages: readonly Message[], flags: number): number {
    return this.#encoded(messages, flags, (bytes) => void libc.send(this.#fd.number, bytes));
  }

  #encoded(
    messages: readonly Message[],
    flags: number,
    send: (bytes: Uint8Array<ArrayBuffer>) => void,
  ): number {
    const writer = new Writer();
    if (this.#sequence + messages.length > 0xffffffff) this.#sequence = 0;
    for (const { type, flags: own, body } of messages)
      writeMessage(writer, { type, flags: own | flags, body }, ++this.#sequence);
    const bytes = writer.finish();
    try {
      send(bytes);
    } finally {
      // Requests may carry keys.
      writer.wipe();
      bytes.fill(0);
    }
    return this.#sequence;
  }

  /** Hands the data of one request to `onData` until the acknowledgement or the end of the dump. */
  #untilEnd(
    action: string | (() => string),
    sequence: number,
    onData?: OnData,
    onInterrupted?: () => void,
  ): Answer & { kind: "ack" | "done" } {
    let end: (Answer & { kind: "ack" | "done" }) | undefined;
    // A handler that throws must not leave the rest of a dump in the socket: the kernel would refuse the next one.
    let failure: { readonly error: unknown } | undefined;
    while (end === undefined) {
      const datagram = this.#receive();
      if (datagram === undefined)
        throw new NetlinkError(text(action), ETIMEDOUT, "the kernel did not answer");
      eachAnswer(datagram, (answer) => {
        if (answer.sequence !== sequence) return true;
        if (answer.interrupted) onInterrupted?.();
        if (answer.kind === "overrun") throw new NetlinkError(text(action), ENOBUFS);
        if (answer.kind !== "data") end = answer;
        else if (failure === undefined) {
          try {
            onData?.(answer.type, answer.body);
          } catch (error) {
            failure = { error };
          }
        }
        return end === undefined;
      });
    }
    if (failure !== undefined) throw failure.error;
    return end;
  }

  /** One datagram, valid until the next call; undefined when none came in time. */
  #receive(): Uint8Array | undefined {
    const count = libc.recv(this.#fd.number, this.#buffer, MSG.truncated);
    if (count < 0) return undefined;
    this.#received = Math.max(this.#received, Math.min(count, this.#buffer.length));
    if (count > this.#buffer.length) throw new SystemError("recv", EMSGSIZE, `${count} bytes of netlink`);
    return this.#buffer.subarray(0, count);
  }

  /** wipe overwrites with zeros what was received: answers may carry keys, and the memory goes on to other sockets. */
  wipe(): void {
    this.#buffer.fill(0, 0, this.#received);
    this.#received = 0;
  }

  close(): void {
    this.#fd.close();
    if (!this.#closed && spareBuffers.length < MOST_SPARE) spareBuffers.push(this.#buffer);
    this.#closed = true;
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

function text(action: string | (() => string)): string {
  return typeof action === "string" ? action : action();
}

function throwFor(action: string | (() => string), end: Answer & { kind: "ack" | "done" }): void {
  if (end.errno !== 0) throw new NetlinkError(text(action), end.errno, end.extendedAck);
}
