/**
 * What a handshake's two keys become: for each direction one key for control messages, and one with its salt for every queue.
 *
 * ```
 *  control = first 32 bytes of KDF2(direction's key, "control" | 0)
 *  ESP     = first 20 or 36 bytes of KDF2(direction's key, "esp" | queue of the sender)
 * ```
 */
import { KeyMaterial, Secret } from "../../net/mod.ts";
import { type Bytes, kdf, type Keys, type Primitives } from "../../noise/mod.ts";
import { type AgreedPair, type AgreedSa, MATERIAL_BYTES, type SaAlgorithm } from "../agreed.ts";

/** MOST_QUEUES is how many queues one side may send with. */
export const MOST_QUEUES = 64;

/** The algorithms that can be offered: bits of one byte, by index. */
const algorithms = [
  "aes-256-gcm",
  "chacha20-poly1305",
  "aes-128-gcm",
] as const satisfies readonly SaAlgorithm[];

/** algorithmBits returns a byte that names algorithms. */
export function algorithmBits(chosen: readonly SaAlgorithm[]): number {
  return chosen.reduce((bits, algorithm) => bits | (1 << algorithms.indexOf(algorithm)), 0);
}

/** chooseAlgorithm returns the first of ours that is among those of a byte. */
export function chooseAlgorithm(ours: readonly SaAlgorithm[], bits: number): SaAlgorithm | undefined {
  return ours.find((algorithm) => (bits & algorithmBits([algorithm])) !== 0);
}

/** oneAlgorithm returns what a byte with one bit names; undefined for any other. */
export function oneAlgorithm(bits: number): SaAlgorithm | undefined {
  return algorithms.find((algorithm) => algorithmBits([algorithm]) === bits);
}

/** SessionKeys come of one handshake. */
export interface SessionKeys {
  readonly send: Secret;
  readonly receive: Secret;
  readonly pair: AgreedPair;
}

/** sessionKeys takes a handshake's keys apart, and wipes them. `queues` are ours; the peer's are only counted. */
export function sessionKeys(
  primitives: Primitives,
  keys: Keys,
  options: {
    readonly algorithm: SaAlgorithm;
    readonly queues: readonly number[];
    /** The SPI of what the peer's first queue sends to us, and how many it has. */
    readonly inbound: { readonly firstSpi: number; readonly queues: number };
    /** The SPI of what our first queue sends. */
    readonly outbound: { readonly firstSpi: number };
  },
): SessionKeys {
  const { algorithm, queues, inbound, outbound } = options;
  const sa = (key: Uint8Array, index: number, firstSpi: number, queue: number): AgreedSa => ({
    spi: firstSpi + index,
    queue,
    algorithm,
    extended: true,
    keyMaterial: material(primitives, key, { algorithm, index }),
  });
  const pair = {
    // All of it comes to the address of the first.
    inbound: Array.from({ length: inbound.queues }, (_, index) =>
      sa(keys.receive, index, inbound.firstSpi, queues[0] as number),
    ),
    outbound: queues.map((queue, index) => sa(keys.send, index, outbound.firstSpi, queue)),
  };
  const send = controlKey(primitives, keys.send);
  const receive = controlKey(primitives, keys.receive);
  keys.send.fill(0);
  keys.receive.fill(0);
  return { send, receive, pair };
}

function controlKey(primitives: Primitives, key: Uint8Array): Secret {
  const [first, second] = derived(primitives, key, "control", 0);
  const secret = new Secret(first);
  first.fill(0);
  second.fill(0);
  return secret;
}

function material(
  primitives: Primitives,
  key: Uint8Array,
  { algorithm, index }: { readonly algorithm: SaAlgorithm; readonly index: number },
): KeyMaterial {
  const [first, second] = derived(primitives, key, "esp", index);
  const whole = new Uint8Array([...first, ...second]);
  const result = new KeyMaterial(whole.subarray(0, MATERIAL_BYTES[algorithm]));
  for (const bytes of [first, second, whole]) bytes.fill(0);
  return result;
}

function derived(primitives: Primitives, key: Uint8Array, label: string, index: number): [Bytes, Bytes] {
  const input = new Uint8Array([...new TextEncoder().encode(label), index]);
  return kdf(primitives, key, { input, count: 2 }) as [Bytes, Bytes];
}
