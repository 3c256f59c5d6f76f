/** BGP messages laid out by field, for tests: hexadecimal with spaces, and UPDATE bodies put together from parts. */
import {
  EVPN,
  IPV4_UNICAST,
  IPV6_UNICAST,
  ROUTE_TARGET,
  type UpdateSession,
} from "../../src/bgp/wire/mod.ts";

/** hex reads hexadecimal digits; spaces mean nothing. */
export function hex(...texts: readonly string[]): Uint8Array<ArrayBuffer> {
  return new Uint8Array(Buffer.from(texts.join("").replaceAll(/\s/g, ""), "hex"));
}

/** toHex is the inverse of hex, without spaces. */
export function toHex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}

/** attribute returns a path attribute; its length has two octets where the flags say so. */
export function attribute(flags: number, code: number, value: Uint8Array | string): Uint8Array<ArrayBuffer> {
  const bytes = typeof value === "string" ? hex(value) : value;
  const length = (flags & 0x10) === 0 ? [bytes.length] : [bytes.length >>> 8, bytes.length & 0xff];
  return Uint8Array.of(flags, code, ...length, ...bytes);
}

/** UpdateParts are the three fields of an UPDATE. */
export interface UpdateParts {
  readonly withdrawn?: Uint8Array | string;
  readonly attributes?: readonly Uint8Array[];
  readonly nlri?: Uint8Array | string;
}

/** updateBody returns an UPDATE without its header. */
export function updateBody({
  withdrawn = "",
  attributes = [],
  nlri = "",
}: UpdateParts): Uint8Array<ArrayBuffer> {
  const bytes = (part: Uint8Array | string) => (typeof part === "string" ? hex(part) : part);
  const routes = bytes(withdrawn);
  const all = attributes.flatMap((one) => [...one]);
  return Uint8Array.of(
    routes.length >>> 8,
    routes.length & 0xff,
    ...routes,
    all.length >>> 8,
    all.length & 0xff,
    ...all,
    ...bytes(nlri),
  );
}

const families = new Set([IPV4_UNICAST, IPV6_UNICAST, EVPN, ROUTE_TARGET]);

/** internalSession is an iBGP session with all families and 4-octet AS numbers. */
export const internalSession: UpdateSession = {
  external: false,
  as4: true,
  families,
  addPathReceive: new Set(),
  extendedNextHop: new Set(),
};

/** externalSession is the same with a peer of another AS. */
export const externalSession: UpdateSession = { ...internalSession, external: true };

/** ORIGIN, AS_PATH, NEXT_HOP and LOCAL_PREF as any UPDATE may have them. */
export const plain = {
  origin: attribute(0x40, 1, "00"),
  asPath: attribute(0x40, 2, "02010000fde9"),
  nextHop: attribute(0x40, 3, "c0000201"),
  localPreference: attribute(0x40, 5, "00000064"),
} as const;
