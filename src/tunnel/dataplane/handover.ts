/**
 * How a data plane is handed to its successor, over a connection to the UAPI socket:
 *
 * ```
 *   successor                                       predecessor (packets flow)
 *   take_over=1                              ─────▶
 *                                            ◀───── { workers, names of descriptors } and the descriptors, one by one
 *   opens all, starts its threads, halted
 *   ready                                   ─────▶ threads halt between two packets; what comes waits in the kernel
 *                                            ◀───── image of the device
 *   restores it
 *   done                                    ─────▶ does nothing any more
 *   listens, threads go, end of connection  ─────▶ ends
 * ```
 * If the connection ends before `done`, the predecessor goes on. It waits for that word for a limited time, and then makes sure that it can be
 * said no more: of two that go on, each would move the windows. Session keys, counters and windows are in the shared memory, so whoever seals
 * takes counters that nobody had.
 */
import {
  endReceiving,
  type Fd,
  libc,
  receiveWithDescriptors,
  sendAll,
  sendWithDescriptor,
  stable,
} from "../../sys/mod.ts";
import type { RelayImage } from "../relay/mod.ts";
import type { DeviceImage } from "../wireguard/mod.ts";

/** TAKE_OVER is the request. */
export const TAKE_OVER = "take_over=1\n\n";
/** READY and DONE are the successor's words. */
export const READY = "ready\n";
export const DONE = "done\n";

/** Estate says what descriptors follow, in order: memory, UAPI socket, TUN queues, sockets of each family (control first). */
export interface Estate {
  readonly workers: number;
  readonly families: readonly (4 | 6)[];
}

/** Testament is what the predecessor says when its threads stand still. */
export interface Testament {
  readonly mark: number;
  readonly image: DeviceImage;
  /** See DataplaneStatus. */
  readonly life?: number;
  /** Absent from builds without it. */
  readonly relay?: RelayImage;
}

const HEADER = 4;
const MOST_TEXT = 256 << 20;
const SILENCE_MS = 10_000;

/** estateCount returns how many descriptors belong to an estate. */
export function estateCount({ workers, families }: Estate): number {
  return 2 + workers + families.length * (1 + workers);
}

/** sendEstate sends what a successor needs to begin. */
export function sendEstate(connection: Fd, estate: Estate, descriptors: readonly number[]): void {
  sendText(connection, JSON.stringify(estate));
  for (const descriptor of descriptors)
    // One byte carries one descriptor.
    sendWithDescriptor(connection.number, new Uint8Array(new ArrayBuffer(1)), descriptor);
}

/** receiveEstate reads it. */
export function receiveEstate(connection: Fd): {
  readonly estate: Estate;
  readonly descriptors: readonly Fd[];
} {
  const estate = JSON.parse(receiveText(connection)) as Estate;
  const descriptors: Fd[] = [];
  const byte = stable(1);
  while (descriptors.length < estateCount(estate)) {
    if (!libc.pollReadable(connection.number, SILENCE_MS))
      throw new Error("the process that serves it does not answer");
    const received = receiveWithDescriptors(connection.number, byte);
    if (received === undefined) continue;
    if (received.length === 0) throw new Error("the process that serves it ended the hand-over");
    descriptors.push(...received.descriptors);
  }
  return { estate, descriptors };
}

/** isDone tells whether the successor said `done` within `patienceMs`. If not, it cannot say it any more. */
export function isDone(connection: Fd, patienceMs: number): boolean {
  const inTime = libc.pollReadable(connection.number, patienceMs);
  // It may say it at this very moment; what it says later fails, and it ends.
  if (!inTime) endReceiving(connection.number);
  const word = stable(DONE.length);
  return libc.recv(connection.number, word) === DONE.length;
}

/** sendText sends a text with its length before it. */
export function sendText(connection: Fd, text: string): void {
  const bytes = Buffer.from(text);
  const message = stable(HEADER + bytes.length);
  new DataView(message.buffer).setUint32(0, bytes.length, true);
  message.set(bytes, HEADER);
  sendAll(connection, message);
  message.fill(0);
  bytes.fill(0);
}

/** receiveText reads one; throws when nothing comes for SILENCE_MS. */
export function receiveText(connection: Fd): string {
  const header = receiveBytes(connection, HEADER);
  const length = new DataView(header.buffer).getUint32(0, true);
  if (length > MOST_TEXT)
    throw new Error(`the process that serves it sends ${length} bytes, which cannot be right`);
  const bytes = receiveBytes(connection, length);
  const text = Buffer.from(bytes).toString();
  bytes.fill(0);
  return text;
}

function receiveBytes(connection: Fd, length: number): Uint8Array<ArrayBuffer> {
  const bytes = stable(length);
  for (let have = 0; have < length;) {
    if (!libc.pollReadable(connection.number, SILENCE_MS))
      throw new Error("the process that serves it does not answer");
    const rest = stable(length - have);
    const count = libc.recv(connection.number, rest);
    if (count <= 0) throw new Error("the process that serves it ended the hand-over");
    bytes.set(rest.subarray(0, count), have);
    rest.fill(0);
    have += count;
  }
  return bytes;
}
