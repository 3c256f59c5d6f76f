/**
 * Schemas of the single values that resources are made of: text on the outside, values of `net` on the inside.
 *
 * Each message is a cause and a fix; `manifest.ts` puts object, field and value before it. What `meta` says is of JSON Schema, for those who
 * read that only: the API server of Kubernetes.
 */
import { z } from "zod";
import {
  type Endpoint,
  type Family,
  type Ip,
  type Mac,
  parseDurationMs,
  parseMac,
  parsePrefix,
  parsePublicKey,
  parseRateBits,
  parseSigningKey,
  type Prefix,
  type PublicKey,
  type SigningKey,
  tryParseEndpoint,
  tryParseIp,
} from "../net/mod.ts";

// The executable forbids code generation from strings.
z.config({ jitless: true });

/** textValue makes a schema from a parser that throws an Error whose message says cause and fix. */
export function textValue<T>(expected: string, parse: (text: string) => T) {
  return z.string({ error: `expected ${expected} as text; put it in quotes` }).transform((text, context) => {
    try {
      return parse(text);
    } catch (error) {
      context.addIssue({ code: "custom", message: (error as Error).message });
      return z.NEVER;
    }
  });
}

/** prefixSchema reads a network of one family, or of both when none is named; host bits are refused. */
export function prefixSchema(family?: Family) {
  return textValue<Prefix>(`a network such as ${family === 6 ? "fd00:1::/64" : "10.1.0.0/16"}`, (text) => {
    const prefix = parsePrefix(text);
    if (family !== undefined && prefix.family !== family)
      throw new Error(`is not an IPv${family} network; write one of IPv${family}`);
    return prefix;
  }).meta({ format: "cidr" });
}

/** ipSchema reads an address of one family. */
export function ipSchema(family: Family) {
  return textValue<Ip>(`an IPv${family} address`, (text) => {
    const address = tryParseIp(text);
    if (address?.family !== family)
      throw new Error(`is not an IPv${family} address; write one of IPv${family}`);
    return address;
  }).meta({ format: `ipv${family}` });
}

/** addressSchema reads an address of either family. */
export const addressSchema = textValue<Ip>("an IP address", (text) => {
  const address = tryParseIp(text);
  if (address === undefined) throw new Error("is not an IP address; write it like 192.0.2.1 or 2001:db8::1");
  return address;
});

/** endpointSchema reads an address with a port. */
export const endpointSchema = textValue<Endpoint>("an endpoint such as 192.0.2.1:51820", (text) => {
  const endpoint = tryParseEndpoint(text);
  if (endpoint === undefined)
    throw new Error("is not an endpoint; write it like 192.0.2.1:51820 or [2001:db8::1]:51820");
  return endpoint;
});

/** publicKeySchema reads a Curve25519 public key. */
export const publicKeySchema = textValue<PublicKey>("a public key", parsePublicKey);

const HOST =
  /^(?=.{1,253}$)[a-zA-Z0-9]([-a-zA-Z0-9]*[a-zA-Z0-9])?(\.[a-zA-Z0-9]([-a-zA-Z0-9]*[a-zA-Z0-9])?)*\.?$/;

/** hostPortSchema checks `host:port` where the host is a name or an address; it stays text until somebody resolves it. */
export const hostPortSchema = textValue<string>("host:port", (text) => {
  if (tryParseEndpoint(text) !== undefined) return text;
  const match = /^([^:[\]]+):([1-9]\d{0,4})$/.exec(text);
  const host = match?.[1] ?? "";
  // All digits and dots, yet no address: a mistyped address, not a name.
  if (match === null || Number(match[2]) > 65535 || !HOST.test(host) || /^[\d.]+$/.test(host))
    throw new Error(
      "is not host:port; write it like hub.example.com:51820, 192.0.2.1:51820 or [2001:db8::1]:51820",
    );
  return text;
});

/** siteSchema reads the name of a place. It comes from other nodes and goes to terminals, so it holds nothing that a terminal obeys. */
export const siteSchema = z
  .string()
  .min(1)
  .max(63)
  .regex(/^\P{C}+$/u, "holds control characters; write it with letters, digits and spaces");

const LABEL = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/;

/** labelSchema reads a role: one word that rules can name. */
export const labelSchema = z
  .string({ error: "is not a word; write it with letters, digits and '-'" })
  .regex(LABEL, {
    error:
      "is not a word; use lower-case letters, digits and '-', starting and ending with a letter or digit, at most 63",
  });

/** linkSchema reads the name of a network interface (at most 15 bytes, as the kernel has it: IFNAMSIZ of if.h). */
export const linkSchema = z
  .string({ error: "is not the name of a network interface" })
  .regex(/^(?!\.{1,2}$)[!-.0-9;-~]{1,15}$/, {
    error: "is not the name of a network interface; write it like eth0, at most 15 characters",
  });

/** macSchema reads an Ethernet address of one machine. */
export const macSchema = textValue<Mac>("a MAC address such as 02:aa:00:00:00:05", (text) => {
  try {
    return parseMac(text);
  } catch {
    throw new Error("is not a MAC address; write it like 02:aa:00:00:00:05");
  }
}).meta({ format: "mac" });

/** vniSchema reads a VXLAN network identifier (RFC 7348 section 5: 24 bits). */
export const vniSchema = wholeNumber(1, 0xffffff);

/** durationSchema reads a duration such as `90d`, as milliseconds. */
export const durationSchema = textValue<number>("a duration such as 90d", parseDurationMs);

/** rateSchema reads a rate such as `500Mbit`, as bits a second. */
export const rateSchema = textValue<number>("a rate such as 500Mbit", parseRateBits);

/** signingKeySchema reads an Ed25519 public key. */
export const signingKeySchema = textValue<SigningKey>("a public key", parseSigningKey);

/** ExposedPort is a range of ports that other interfaces than the tunnel may reach. */
export interface ExposedPort {
  readonly protocol: "tcp" | "udp";
  readonly first: number;
  /** Equal to `first` for a single port. */
  readonly last: number;
}

/** parseExposedPort reads `tcp/80` or `udp/30000-30010`; throws for anything else. */
export function parseExposedPort(text: string): ExposedPort {
  const match = /^(tcp|udp)\/([1-9]\d{0,4})(?:-([1-9]\d{0,4}))?$/.exec(text);
  const first = Number(match?.[2]);
  const last = Number(match?.[3] ?? match?.[2]);
  if (match === null || first > last || last > 65535)
    throw new Error("is not a port; write it like tcp/443 or udp/30000-30010");
  return { protocol: match[1] as "tcp" | "udp", first, last };
}

/** formatExposedPort undoes parseExposedPort. */
export function formatExposedPort(port: ExposedPort): string {
  return `${port.protocol}/${port.first}${port.last === port.first ? "" : `-${port.last}`}`;
}

/** exposedPortSchema reads `tcp/80` or `udp/30000-30010`. */
export const exposedPortSchema = textValue<ExposedPort>("a port such as tcp/443", parseExposedPort);

/** wholeNumber reads an integer in a range. */
export function wholeNumber(first: number, last: number) {
  const message = `is not a whole number from ${first} to ${last}; write one without quotes`;
  return z
    .number({ error: message })
    .refine((n) => Number.isInteger(n) && n >= first && n <= last, { error: message })
    .meta({ type: "integer", minimum: first, maximum: last });
}

const NAME = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;

/** nameProblem returns what is wrong with an object's name (RFC 1123 subdomain, as Kubernetes has it), or undefined. */
export function nameProblem(name: string): string | undefined {
  if (name.length <= 253 && NAME.test(name)) return undefined;
  return "is not a name; use lower-case letters, digits, '-' and '.', starting and ending with a letter or digit, at most 253";
}
