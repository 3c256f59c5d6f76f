/**
 * Where nodes are, in memory that raw sockets send from: their addresses, and the address of ours that each speaks to. That is what its last handshake
 * message was sent to; until one is seen, what routing says.
 */
import { type Endpoint, formatEndpoint, ipBytes } from "../../net/mod.ts";
import { type Arena, isErrno, SourceAddresses } from "../../sys/mod.ts";
import { familyOf, type Place, placeOf } from "../dataplane/place.ts";
import { ENDPOINT } from "../path/endpoint-memory.ts";
import { CONTROL, CONTROL_HEADER } from "../path/message-header.ts";
import { LOCAL_PART, NODE_BYTES, setNode } from "./raw-outlet.ts";

/** struct in_pktinfo, struct in6_pktinfo. */
const PACKET_INFO = { 4: 12, 6: 20 } as const;

/** NodePlace is what the path of data knows of a node (relay-path.ts). */
export interface NodePlace {
  readonly endpoint: number;
  readonly session: true;
  readonly sender: true;
  readonly place: Place;
  readonly name: string;
}

/** NodePlaces owns the memory. */
export class NodePlaces implements Disposable {
  /** By the nodes' numbers. */
  readonly nodes = new Map<number, NodePlace>();
  readonly #arena: Arena;
  readonly #named = new Map<string, number>();
  readonly #free: number[] = [];
  readonly #sources = new Map<4 | 6, SourceAddresses>();

  constructor(arena: Arena) {
    this.#arena = arena;
  }

  /** at returns the node that is at an endpoint. */
  at(endpoint: Endpoint): number | undefined {
    return this.#named.get(formatEndpoint(endpoint));
  }

  /** set puts a node somewhere, and returns its place; undefined if no way leads there. */
  set(node: number, endpoint: Endpoint): Place | undefined {
    const before = this.nodes.get(node);
    const local = this.#localTo(endpoint, before?.place);
    if (local === undefined) {
      this.delete(node);
      return undefined;
    }
    return this.#store(node, { endpoint, local });
  }

  /** heard takes the address of ours that a node speaks to, 4 or 16 bytes, and returns its place if that is news. */
  heard(node: number, endpoint: Endpoint, local: Uint8Array): Place | undefined {
    const known = this.nodes.get(node);
    if (known === undefined || Buffer.from(localOf(known.place)).equals(local)) return undefined;
    return this.#store(node, { endpoint, local });
  }

  #store(
    node: number,
    { endpoint, local }: { readonly endpoint: Endpoint; readonly local: Uint8Array },
  ): Place {
    const before = this.nodes.get(node);
    const at = before?.endpoint ?? this.#free.pop() ?? this.#arena.allocate(NODE_BYTES);
    if (before !== undefined) this.#named.delete(before.name);
    const place = placeOf(endpoint);
    layLocal(place, local);
    setNode(this.#arena, at, place);
    const name = formatEndpoint(endpoint);
    this.#named.set(name, node);
    this.nodes.set(node, { endpoint: at, session: true, sender: true, place, name });
    return place;
  }

  /** delete: a node is nowhere. */
  delete(node: number): void {
    const known = this.nodes.get(node);
    if (known === undefined) return;
    this.nodes.delete(node);
    this.#named.delete(known.name);
    this.#free.push(known.endpoint);
  }

  #localTo({ ip, port }: Endpoint, before: Place | undefined): Uint8Array | undefined {
    if (before !== undefined && familyOf(before) === ip.family) {
      const local = localOf(before);
      if (this.#sourcesOf(ip.family).has(local)) return local;
    }
    try {
      return this.#sourcesOf(ip.family).towards(ipBytes(ip), port);
    } catch (error) {
      if (isErrno(error, "ENETUNREACH", "EHOSTUNREACH", "EACCES", "EAFNOSUPPORT", "EADDRNOTAVAIL", "EINVAL"))
        return undefined;
      throw error;
    }
  }

  #sourcesOf(family: 4 | 6): SourceAddresses {
    const known = this.#sources.get(family);
    if (known !== undefined) return known;
    const made = SourceAddresses.open(family);
    this.#sources.set(family, made);
    return made;
  }

  [Symbol.dispose](): void {
    for (const sources of this.#sources.values()) sources[Symbol.dispose]();
  }
}

/** The address of ours that a place has. */
function localOf(place: Place): Uint8Array {
  const family = familyOf(place);
  return place.slice(LOCAL_PART[family], LOCAL_PART[family] + (family === 4 ? 4 : 16));
}

/** Writes the control message that has a packet leave from an address. */
function layLocal(place: Place, local: Uint8Array): void {
  const family = familyOf(place);
  const view = new DataView(place.buffer, place.byteOffset);
  const bytes = CONTROL_HEADER + PACKET_INFO[family];
  view.setBigUint64(ENDPOINT.control, BigInt(bytes), true);
  view.setInt32(ENDPOINT.control + 8, family === 4 ? CONTROL.ip : CONTROL.ipv6, true);
  view.setInt32(ENDPOINT.control + 12, family === 4 ? CONTROL.packetInfo4 : CONTROL.packetInfo6, true);
  place.set(local, LOCAL_PART[family]);
  view.setInt32(ENDPOINT.controlBytes, (bytes + 7) & ~7, true);
}
