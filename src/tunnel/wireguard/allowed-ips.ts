/**
 * Cryptokey routing (whitepaper, section 2): which peer has an address. The longest allowed prefix that holds it decides, for packets
 * going out by their destination and for packets coming in by their source.
 */
import {
  type Family,
  formatPrefix,
  type Ip,
  ipBytes,
  type Prefix,
  prefixBytes,
  prefixOf,
  ipFromBytes,
} from "../../net/mod.ts";
import { MAX_ALLOWED_IPS } from "./limits.ts";
import { type Bits, PrefixTrie } from "./prefix-trie.ts";

/** Where addresses lie in an IP header (RFC 791 section 3.1, RFC 8200 section 3). */
const SOURCE = { 4: 12, 6: 8 } as const;
const DESTINATION = { 4: 16, 6: 24 } as const;
const HEADER_BYTES = { 4: 20, 6: 40 } as const;

/** AllowedIps maps prefixes of both families to numbers of peers. A prefix has one peer at a time. */
export class AllowedIps {
  readonly #tries = {
    4: new PrefixTrie(4, MAX_ALLOWED_IPS),
    6: new PrefixTrie(16, MAX_ALLOWED_IPS),
  } as const;

  /** insert gives a prefix to a peer, and takes it from the one that had it. */
  insert(prefix: Prefix, peer: number): void {
    if (!this.#tries[prefix.family].insert(bitsOf(prefix), peer))
      throw new Error(
        `Cannot allow ${formatPrefix(prefix)}: there are ${MAX_ALLOWED_IPS} entries already; remove some`,
      );
  }

  /** remove takes a prefix from a peer; false if the peer did not have exactly this one. */
  remove(prefix: Prefix, peer: number): boolean {
    return this.#tries[prefix.family].remove(bitsOf(prefix), peer);
  }

  /** clear takes all prefixes from a peer. */
  clear(peer: number): void {
    for (const trie of Object.values(this.#tries)) {
      if (trie.uses(peer) === 0) continue;
      const found: Bits[] = [];
      trie.each(({ bytes, length }) => found.push({ bytes: bytes.slice(), length }), peer);
      for (const prefix of found) trie.remove(prefix, peer);
    }
  }

  /** owner returns the peer that has exactly this prefix. */
  owner(prefix: Prefix): number | undefined {
    return this.#tries[prefix.family].get(bitsOf(prefix));
  }

  /** find returns the peer of an address. */
  find(address: Ip): number | undefined {
    return this.#tries[address.family].find(ipBytes(address), 0);
  }

  /** trie returns the table of one family, for a data path that finds the place of an address itself. */
  trie(family: Family): Pick<PrefixTrie, "find"> {
    return this.#tries[family];
  }

  /** destination returns the peer that a packet goes to; for every packet, so it allocates nothing. */
  destination(packet: Uint8Array): number | undefined {
    const family = familyOf(packet);
    return family === undefined ? undefined : this.#tries[family].find(packet, DESTINATION[family]);
  }

  /** source returns the peer that a packet may come from. */
  source(packet: Uint8Array): number | undefined {
    const family = familyOf(packet);
    return family === undefined ? undefined : this.#tries[family].find(packet, SOURCE[family]);
  }

  /** list returns the prefixes of each peer, or of some of them, ordered by address, IPv4 first. */
  list(only?: ReadonlySet<number>): ReadonlyMap<number, readonly Prefix[]> {
    const peers = new Map<number, Prefix[]>();
    for (const family of [4, 6] as const) {
      this.#tries[family].each(({ bytes, length }, peer) => {
        if (only?.has(peer) === false) return;
        const prefixes = peers.get(peer);
        const prefix = prefixOf(ipFromBytes(bytes), length);
        if (prefixes === undefined) peers.set(peer, [prefix]);
        else prefixes.push(prefix);
      });
    }
    return peers;
  }
}

function bitsOf(prefix: Prefix): Bits {
  return { bytes: prefixBytes(prefix), length: prefix.length };
}

function familyOf(packet: Uint8Array): Family | undefined {
  const version = (packet[0] ?? 0) >> 4;
  return (version === 4 || version === 6) && packet.length >= HEADER_BYTES[version] ? version : undefined;
}
