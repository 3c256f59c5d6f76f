/** Selectors: which packets an association or a policy is for. Addresses of XFRM have their family beside them. */
import {
  type Family,
  type Ip,
  ipBytes,
  ipFromBytes,
  type Prefix,
  formatPrefix,
  prefixAddress,
  prefixOf,
} from "../net/mod.ts";
import { DecodeError, type GivenStruct, type StructCodec } from "../wire/mod.ts";
import { afOf, familyOf } from "./family.ts";
import { selector } from "./xfrm-table.ts";

/** A port, or what those of its bits are that a mask has. */
type PortMatch = number | { readonly value: number; readonly mask: number };

/** Selector chooses packets by their addresses, and by what is given of the rest. */
export interface Selector {
  readonly source: Prefix;
  readonly destination: Prefix;
  /** IP protocol number. */
  readonly protocol?: number;
  readonly sourcePort?: PortMatch;
  readonly destinationPort?: PortMatch;
  /** The link that packets leave or come in by. */
  readonly linkIndex?: number;
}

type SelectorPart = ReturnType<typeof selector.decode>;
type Given<C> = C extends StructCodec<infer F> ? GivenStruct<F> : never;

const ADDRESS_BYTES = 16;
const WHOLE_PORT = 0xffff;

/** addressBlock returns an xfrm_address_t. */
export function addressBlock(address: Ip): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(ADDRESS_BYTES);
  bytes.set(ipBytes(address));
  return bytes;
}

/** addressOf reads an xfrm_address_t. */
export function addressOf(bytes: Uint8Array, family: Family): Ip {
  return ipFromBytes(family === 4 ? bytes.subarray(0, 4) : bytes);
}

/** knownFamily is familyOf where another family is a DecodeError. */
export function knownFamily(af: number): Family {
  const family = familyOf(af);
  if (family === undefined) throw new DecodeError(`addresses of family ${af}`);
  return family;
}

/** selectorPart makes the structure. */
export function selectorPart(given: Selector): Given<typeof selector> {
  const { source, destination, protocol, sourcePort, destinationPort, linkIndex } = given;
  if (source.family !== destination.family)
    throw new RangeError(
      `A selector has one family: ${formatPrefix(source)} and ${formatPrefix(destination)} have two`,
    );
  return {
    family: afOf(source.family),
    saddr: addressBlock(prefixAddress(source)),
    slength: source.length,
    daddr: addressBlock(prefixAddress(destination)),
    dlength: destination.length,
    protocol,
    ...(sourcePort !== undefined && { sport: valueOf(sourcePort), sportMask: maskOf(sourcePort) }),
    ...(destinationPort !== undefined && {
      dport: valueOf(destinationPort),
      dportMask: maskOf(destinationPort),
    }),
    linkIndex,
  };
}

const valueOf = (match: PortMatch) => (typeof match === "number" ? match : match.value);
const maskOf = (match: PortMatch) => (typeof match === "number" ? WHOLE_PORT : match.mask);
const matchOf = (value: number, mask: number): PortMatch => (mask === WHOLE_PORT ? value : { value, mask });

/** selectorOf reads the structure; undefined when it has no family, and so chooses everything. */
export function selectorOf(part: SelectorPart): Selector | undefined {
  if (part.family === 0) return undefined;
  const family = knownFamily(part.family);
  return {
    source: prefix(part.saddr, { family, length: part.slength }),
    destination: prefix(part.daddr, { family, length: part.dlength }),
    ...(part.protocol !== 0 && { protocol: part.protocol }),
    ...(part.sportMask !== 0 && { sourcePort: matchOf(part.sport, part.sportMask) }),
    ...(part.dportMask !== 0 && { destinationPort: matchOf(part.dport, part.dportMask) }),
    ...(part.linkIndex !== 0 && { linkIndex: part.linkIndex }),
  };
}

function prefix(
  bytes: Uint8Array,
  { family, length }: { readonly family: Family; readonly length: number },
): Prefix {
  if (length > (family === 4 ? 32 : 128))
    throw new DecodeError(`a prefix of ${length} bits in family IPv${family}`);
  return prefixOf(addressOf(bytes, family), length);
}
