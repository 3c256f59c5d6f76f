/**
 * Messages of NAT-PMP (RFC 6886, sections 3.2 and 3.3), for UDP.
 *
 * ```
 * 0 │ 0                                          ▶  0 │ 128 │ result │ epoch │ external address (4)
 * 0 │ 1 │ 0 0 │ internal │ external │ lifetime   ▶  0 │ 129 │ result │ epoch │ internal │ external │ lifetime
 * ```
 */
import { type Ip, ipFromBytes } from "../net/mod.ts";

const ADDRESS = 0;
const MAP_UDP = 1;
const ANSWER = 0x80;

/** NatPmpAnswer is one of the two answers. */
export type NatPmpAnswer =
  | {
      readonly kind: "address";
      readonly result: number;
      readonly epochSeconds: number;
      /** Absent when there is none. */
      readonly address?: Ip;
    }
  | {
      readonly kind: "mapping";
      readonly result: number;
      readonly epochSeconds: number;
      readonly port: number;
      readonly externalPort: number;
      readonly lifetimeSeconds: number;
    };

/** NAT_PMP_ADDRESS asks for the external address. */
export const NAT_PMP_ADDRESS: Uint8Array<ArrayBuffer> = Uint8Array.of(0, ADDRESS);

/** encodeNatPmpMapping asks for a port; lifetime 0 with external port 0 deletes. */
export function encodeNatPmpMapping(mapping: {
  readonly port: number;
  readonly externalPort: number;
  readonly lifetimeSeconds: number;
}): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(new ArrayBuffer(12));
  const view = new DataView(bytes.buffer);
  bytes[1] = MAP_UDP;
  view.setUint16(4, mapping.port);
  view.setUint16(6, mapping.externalPort);
  view.setUint32(8, mapping.lifetimeSeconds);
  return bytes;
}

/** decodeNatPmp reads an answer; undefined for anything else. An error may be without what comes after the count of seconds. */
export function decodeNatPmp(bytes: Uint8Array): NatPmpAnswer | undefined {
  if (bytes.length < 8 || bytes.length > 64 || bytes[0] !== 0) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const [result, epochSeconds] = [view.getUint16(2), view.getUint32(4)];
  if (bytes[1] === (ADDRESS | ANSWER)) {
    if (result !== 0) return { kind: "address", result, epochSeconds };
    if (bytes.length < 12) return undefined;
    return { kind: "address", result, epochSeconds, address: ipFromBytes(bytes.slice(8, 12)) };
  }
  if (bytes[1] !== (MAP_UDP | ANSWER)) return undefined;
  const whole = bytes.length >= 16;
  if (result === 0 && !whole) return undefined;
  return {
    kind: "mapping",
    result,
    epochSeconds,
    port: whole ? view.getUint16(8) : 0,
    externalPort: whole ? view.getUint16(10) : 0,
    lifetimeSeconds: whole ? view.getUint32(12) : 0,
  };
}

const RESULTS: readonly string[] = [
  "success",
  "unsupported version",
  "not authorised",
  "its network has failed",
  "no resources left",
  "unsupported operation",
];

/** natPmpResult says a result code in words. */
export function natPmpResult(code: number): string {
  return `${RESULTS[code] ?? "unknown error"} (${code})`;
}
