/**
 * Types of leaves: text on the outside, values on the inside. Each message says the rule and the fix; whoever calls puts path and value before
 * it.
 *
 * All restrictions of Vita's schema are here, also those that stand in its `typedef`s, which Vita itself does not look at. Numbers are decimal:
 * where Vita takes `010` for eight and `abc` for nothing, both are refused here.
 */
import {
  type Family,
  formatIp,
  formatMac,
  formatPrefix,
  type Ip,
  type Mac,
  networkOf,
  parseMac,
  parsePublicKey,
  type Prefix,
  type PublicKey,
  tryParseInterfaceAddress,
  tryParseIp,
} from "../net/mod.ts";
import { HIDDEN, KEPT, SecretBytes } from "./secret-bytes.ts";

/** LeafType reads and writes one kind of value. */
export interface LeafType<T> {
  /** What it is, for documentation: `number 1…65535`. */
  readonly name: string;
  /** Throws an Error whose message is the rule and the fix. */
  parse(text: string): T;
  /** Canonical text: what is printed, and what the keys of lists are compared by. */
  format(value: T): string;
  /** Its values are in no message and no output. */
  readonly secret?: true;
  /** How InfluxDB's line protocol writes it; absent: as a string. */
  readonly measured?: "number" | "boolean";
}

function read<T>(value: T | undefined, rule: string): T {
  if (value === undefined) throw new Error(rule);
  return value;
}

/** wholeNumber is a number of the range, which fits 53 bits. */
export function wholeNumber(first: number, last: number): LeafType<number> {
  const rule = `is not a whole number from ${first} to ${last}; write one in decimal`;
  return {
    name: `number ${first}…${last}`,
    measured: "number",
    parse(text) {
      const value = /^(0|[1-9]\d{0,15})$/.test(text) ? Number(text) : undefined;
      return read(value !== undefined && value >= first && value <= last ? value : undefined, rule);
    },
    format: String,
  };
}

const MAX_U64 = 2n ** 64n - 1n;

/** unsigned64 is a number of 64 bits from `first` on: a counter, or a bound on one. */
export function unsigned64(first: bigint): LeafType<bigint> {
  const rule = `is not a whole number from ${first} to ${MAX_U64}; write one in decimal`;
  return {
    name: `number ${first}…2^64-1`,
    measured: "number",
    parse(text) {
      const value = /^(0|[1-9]\d{0,19})$/.test(text) ? BigInt(text) : undefined;
      return read(value !== undefined && value >= first && value <= MAX_U64 ? value : undefined, rule);
    },
    format: String,
  };
}

/** truth is `true` or `false`. */
export const truth: LeafType<boolean> = {
  name: "true or false",
  measured: "boolean",
  parse: (text) =>
    read(text === "true" ? true : text === "false" ? false : undefined, "is not true or false"),
  format: String,
};

/** oneOf is a word of a list. */
export function oneOf<const W extends string>(...words: readonly W[]): LeafType<W> {
  return {
    name: words.join(" | "),
    parse: (text) =>
      read(
        words.find((word) => word === text),
        `is none of ${words.join(", ")}`,
      ),
    format: (word) => word,
  };
}

/** word is text of a form; `rule` says what is wrong with other text. */
export function word(name: string, form: RegExp, rule: string): LeafType<string> {
  return { name, parse: (text) => read(form.test(text) ? text : undefined, rule), format: (text) => text };
}

/** address is an IP address without zone, of one family or of either. */
export function address(family?: Family): LeafType<Ip> {
  const name = family === undefined ? "IP address" : `IPv${family} address`;
  const example =
    family === undefined ? "192.0.2.1 or 2001:db8::1" : family === 4 ? "192.0.2.1" : "2001:db8::1";
  return {
    name,
    parse(text) {
      const value = tryParseIp(text);
      const fits = value !== undefined && (family === undefined || value.family === family);
      return read(fits ? value : undefined, `is not an ${name}; write it like ${example}`);
    },
    format: formatIp,
  };
}

/** network is a prefix of one family, or of either; bits after its length are dropped, as RFC 6991 has it. */
export function network(family?: Family): LeafType<Prefix> {
  const name = family === undefined ? "prefix" : `IPv${family} prefix`;
  const example =
    family === undefined ? "10.1.0.0/16 or fd00:1::/64" : family === 4 ? "10.1.0.0/16" : "fd00:1::/64";
  return {
    name,
    parse(text) {
      const value = tryParseInterfaceAddress(text);
      const fits = value !== undefined && (family === undefined || value.ip.family === family);
      return networkOf(read(fits ? value : undefined, `is not an ${name}; write it like ${example}`));
    },
    format: formatPrefix,
  };
}

const GROUP_BIT = 2 ** 40;

/** macAddress is the Ethernet address of one machine: neither a group's nor all zeros. */
export const macAddress: LeafType<Mac> = {
  name: "MAC address",
  parse(text) {
    const value = /^[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}$/.test(text) ? parseMac(text) : undefined;
    const fits = value !== undefined && value !== 0 && Math.floor(value / GROUP_BIT) % 2 === 0;
    return read(
      fits ? value : undefined,
      "is not a MAC address of one machine; write it like 02:00:00:00:00:01",
    );
  },
  format: formatMac,
};

/** pciAddress is where a device is on the bus; the domain is 0000 where it is left out, and is not written then. */
export const pciAddress: LeafType<string> = {
  name: "PCI address",
  parse(text) {
    const match = /^(?:([0-9a-f]{4}):)?([0-9a-f]{2}:[0-9a-f]{2}\.[0-9a-f])$/i.exec(text);
    const [, domain, device] = read(
      match ?? undefined,
      "is not a PCI address; write it like 00:06.0 or 0000:00:06.0",
    );
    return (domain === undefined || domain === "0000" ? `${device}` : `${domain}:${device}`).toLowerCase();
  },
  format: (text) => text,
};

/** secret is `bytes` secret bytes in hexadecimal, with blanks between them where people like; `(hidden)` keeps what is there. */
export function secret(...bytes: readonly number[]): LeafType<SecretBytes> {
  const digits = bytes.map((length) => length * 2).join(" or ");
  const rule = `is not ${digits} hexadecimal digits; write them in pairs, or ${HIDDEN} to keep what is there`;
  return {
    name: `${bytes.join(" or ")} bytes in hexadecimal`,
    secret: true,
    parse(text) {
      if (text === HIDDEN) return KEPT;
      const pairs = /^\s*[0-9a-fA-F]{2}(\s*[0-9a-fA-F]{2})*\s*$/.test(text) ? text.replaceAll(/\s/g, "") : "";
      const fits = bytes.includes(pairs.length / 2);
      return new SecretBytes(read(fits ? Buffer.from(pairs, "hex") : undefined, rule));
    },
    format: String,
  };
}

/** publicKey is a Curve25519 public key. */
export const publicKey: LeafType<PublicKey> = {
  name: "public key",
  parse(text) {
    try {
      return parsePublicKey(text);
    } catch (cause) {
      throw new Error("is not a public key; write its 44 characters of base64", { cause });
    }
  },
  format: (key) => key,
};
