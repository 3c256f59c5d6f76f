/**
 * The keys of the text that user-space WireGuard speaks on its socket (https://www.wireguard.com/xplatform/): how the value of each is
 * written and read. Both sides use this table: uapi.ts asks, wireguard/uapi.ts answers.
 *
 * Errors name the key, never the value: it may be a secret.
 */
import {
  type Endpoint,
  formatEndpoint,
  formatPrefix,
  networkOf,
  type Prefix,
  tryParseEndpoint,
  tryParseInterfaceAddress,
} from "../net/mod.ts";

/** Field is how one value is written. `parse` throws an Error without the value. */
interface Field<T> {
  parse(text: string): T;
  format(value: T): string;
}

function integer(least: number, most: number): Field<number> {
  return {
    parse: (text) => {
      const value = /^-?\d{1,15}$/.test(text) ? Number(text) : Number.NaN;
      if (!(value >= least && value <= most)) throw new Error(`not a number from ${least} to ${most}`);
      return value;
    },
    format: String,
  };
}

/** Keys are hexadecimal. */
const key: Field<Uint8Array> = {
  parse: (text) => {
    if (!/^[0-9a-fA-F]{64}$/.test(text)) throw new Error("not a key of 64 hexadecimal digits");
    return Buffer.from(text, "hex");
  },
  format: (bytes) => Buffer.from(bytes).toString("hex"),
};

/** A wish is there or not; there is no way to say no. */
const wish: Field<true> = {
  parse: (text) => {
    if (text !== "true") throw new Error("not true");
    return true;
  },
  format: () => "true",
};

/** tryEndpoint reads an endpoint. A link-local address comes with its zone, which is the business of the device. */
export function tryEndpoint(text: string): Endpoint | undefined {
  return tryParseEndpoint(text.replace(/%[^\]]*\]/, "]"));
}

const endpoint: Field<Endpoint> = {
  parse: (text) => {
    const value = tryEndpoint(text);
    if (value === undefined) throw new Error("not an address and a port");
    return value;
  },
  format: formatEndpoint,
};

/** Host bits are cut off, as the kernel does. */
const prefix: Field<Prefix> = {
  parse: (text) => {
    const address = tryParseInterfaceAddress(text);
    if (address === undefined) throw new Error("not an address and a prefix length");
    return networkOf(address);
  },
  format: formatPrefix,
};

const count = integer(-Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER);

/** FIELDS is the table. */
export const FIELDS = {
  private_key: key,
  /** Of ours: the key before, which is answered to beside the present one; zeros end that. */
  former_private_key: key,
  listen_port: integer(0, 65_535),
  fwmark: integer(0, 2 ** 32 - 1),
  replace_peers: wish,
  public_key: key,
  remove: wish,
  update_only: wish,
  /** Of ours: the peer has heard of the present key. */
  move: wish,
  preshared_key: key,
  protocol_version: integer(1, 1),
  endpoint,
  persistent_keepalive_interval: integer(0, 65_535),
  replace_allowed_ips: wish,
  allowed_ip: prefix,
  last_handshake_time_sec: count,
  last_handshake_time_nsec: count,
  tx_bytes: count,
  rx_bytes: count,
  errno: count,
} as const satisfies Readonly<Record<string, { parse(text: string): unknown }>>;

/** FieldName is one of its keys. */
export type FieldName = keyof typeof FIELDS;

/** FieldValue is what a key carries. */
export type FieldValue<N extends FieldName> = ReturnType<(typeof FIELDS)[N]["parse"]>;

/** isFieldName tells whether a key is known. */
export function isFieldName(name: string): name is FieldName {
  return Object.hasOwn(FIELDS, name);
}

/** line returns `key=value`. */
export function line<N extends FieldName>(name: N, value: FieldValue<N>): string {
  return `${name}=${(FIELDS[name] as Field<FieldValue<N>>).format(value)}`;
}

/** parseField reads a value; its error names the key. */
export function parseField<N extends FieldName>(name: N, text: string): FieldValue<N> {
  try {
    return FIELDS[name].parse(text) as FieldValue<N>;
  } catch (error) {
    throw new Error(`${name} is ${(error as Error).message}`);
  }
}

/** Pair is a line that was read. */
export type Pair = readonly [key: string, value: string];

/** isWhole tells whether a message is complete: an empty line ends it. */
export function isWhole(message: string): boolean {
  return message.endsWith("\n\n");
}

/** pairs returns the lines of a message. */
export function pairs(message: string): Pair[] {
  if (!isWhole(message)) throw new Error("the text ends in the middle");
  const lines = message.slice(0, -2).split("\n");
  return lines.map((text) => {
    const equals = text.indexOf("=");
    if (equals < 1) throw new Error("the text has a line that is not key=value");
    return [text.slice(0, equals), text.slice(equals + 1)];
  });
}
