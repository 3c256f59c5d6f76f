/**
 * UpdateEncoder: a slice of what changed, as UPDATEs in a group's log. Routes of the same attributes and the same source share messages;
 * withdrawals go first. One encoder serves all groups, one after another.
 *
 * ```
 *  IPv4 unicast with an IPv4 next hop   | attributes | NLRI
 *  all others                           | MP_REACH_NLRI with the NLRI | other attributes     (RFC 7606 section 5.1: MP_REACH_NLRI first)
 * ```
 */
import {
  afiOf,
  ATTRIBUTE,
  type BgpFamily,
  CANONICAL_BYTES_MAX,
  copyOctets,
  EXTENDED_BYTES_MAX,
  FLAG,
  HEADER_BYTES,
  IPV4_UNICAST,
  IPV6_UNICAST,
  MESSAGE,
  MESSAGE_BYTES_MAX,
  OPTIONAL,
  readU16,
  safiOf,
  WELL_KNOWN,
  writeAttributeHeader,
  writeAttributes,
  writeHeader,
  writeNlri,
  writeU16,
} from "../wire/mod.ts";
import { type Export, writeExported } from "./export-attributes.ts";
import type { GroupLog } from "./group-log.ts";
import type { RibPeer } from "./peer.ts";
import type { RibTable, TableContext } from "./table.ts";

/** Form is how a group's peers want their messages. */
export interface Form extends Export {
  readonly family: BgpFamily;
  readonly as4: boolean;
  /** Path identifiers are sent (RFC 7911). */
  readonly pathIds: boolean;
  /** Messages may have 65535 octets (RFC 8654). */
  readonly extendedMessages: boolean;
  /** IPv4 routes may have an IPv6 next hop (RFC 8950). */
  readonly extendedNextHop: boolean;
}

/** Extended messages are cut at this size too, where attributes let them: a larger one saves nothing and wastes room in chunks. */
const USUAL_EXTENDED_BYTES = 16_384;
/** What a withdrawal adds to a key at most: an EVPN type 5 with IPv6 gateway, ESI and label, and headers. */
const MOST_BESIDE_KEY = 40;
const MP_HEADER_BYTES = 4;
/** No bucket's key: withdrawals have -1 and below, announcements 0 and above. */
const NO_KEY = -0x7fffffff;

/** UpdateEncoder collects a slice and writes it. It is reused. */
export class UpdateEncoder {
  readonly #context: TableContext;
  // One row for each NLRI of the slice: which, and the next one of the same bucket.
  #destination = new Uint32Array(4096);
  #pathId = new Uint32Array(4096);
  #extra = new Uint32Array(4096);
  #next = new Uint32Array(4096);
  #rows = 0;
  // One row for each bucket: withdrawals have attributes 0.
  readonly #attributes: number[] = [];
  readonly #source: number[] = [];
  readonly #condition: number[] = [];
  readonly #head: number[] = [];
  readonly #tail: number[] = [];
  readonly #bucketOf = new Map<number, number>();
  #lastKey = NO_KEY;
  #lastBucket = 0;
  readonly #canonical = new Uint8Array(CANONICAL_BYTES_MAX);
  readonly #wire = new Uint8Array(CANONICAL_BYTES_MAX);
  #wireBytes = 0;

  constructor(context: TableContext) {
    this.#context = context;
  }

  /** How many NLRI wait for `flush`. */
  get waiting(): number {
    return this.#rows;
  }

  /** announce adds an NLRI with a set of attributes, from a peer; `condition` says for whom it is. */
  announce(
    destination: number,
    pathId: number,
    extra: number,
    attributes: number,
    source: number,
    condition: number,
  ): void {
    // Source and condition go together: a condition of an announcement is its source, or nobody.
    const key = (attributes * 0x10000 + source) * 2 + (condition === 0 ? 0 : 1);
    this.#add(this.#bucket(key, attributes, source, condition), destination, pathId, extra);
  }

  /** withdraw adds an NLRI that is taken back. */
  withdraw(destination: number, pathId: number, condition: number): void {
    this.#add(this.#bucket(-1 - condition, 0, 0, condition), destination, pathId, 0);
  }

  /** flush writes all that was added; `refused` is called with what does not fit into a message and is to be withdrawn instead. */
  flush(
    log: GroupLog,
    form: Form,
    table: RibTable,
    refused: (destination: number, pathId: number, condition: number) => void,
  ): void {
    for (let i = 0; i < this.#head.length; i++)
      if (this.#attributes[i] === 0) this.#writeWithdrawals(i, log, form, table);
    for (let i = 0; i < this.#head.length; i++)
      if (this.#attributes[i] !== 0) this.#writeAnnouncements(i, log, form, table, refused);
    this.#rows = 0;
    this.#bucketOf.clear();
    this.#lastKey = NO_KEY;
    this.#attributes.length = 0;
    this.#source.length = 0;
    this.#condition.length = 0;
    this.#head.length = 0;
    this.#tail.length = 0;
  }

  /** endOfRib writes the mark that ends an initial dump (RFC 4724 section 2). */
  endOfRib(log: GroupLog, family: BgpFamily): void {
    const out = log.room(MESSAGE_BYTES_MAX);
    const at = log.roomAt();
    let position = writeU16(out, at + HEADER_BYTES, 0);
    if (family === IPV4_UNICAST) position = writeU16(out, position, 0);
    else {
      position = writeU16(out, position, 6);
      position = writeAttributeHeader(out, position, ATTRIBUTE.mpUnreach, OPTIONAL, 3);
      position = writeFamily(out, position, family);
    }
    writeHeader(out, at, MESSAGE.update, position - at);
    log.commit(position - at, 0);
  }

  #bucket(key: number, attributes: number, source: number, condition: number): number {
    if (key === this.#lastKey) return this.#lastBucket;
    let bucket = this.#bucketOf.get(key);
    if (bucket === undefined) {
      bucket = this.#head.length;
      this.#bucketOf.set(key, bucket);
      this.#attributes.push(attributes);
      this.#source.push(source);
      this.#condition.push(condition);
      this.#head.push(-1);
      this.#tail.push(-1);
    }
    this.#lastKey = key;
    this.#lastBucket = bucket;
    return bucket;
  }

  #add(bucket: number, destination: number, pathId: number, extra: number): void {
    const row = this.#rows++;
    if (row >= this.#destination.length) this.#grow();
    this.#destination[row] = destination;
    this.#pathId[row] = pathId;
    this.#extra[row] = extra;
    const tail = this.#tail[bucket] as number;
    if (tail < 0) this.#head[bucket] = row;
    else this.#next[tail] = row;
    this.#tail[bucket] = row;
  }

  #grow(): void {
    const twice = (column: Uint32Array) => {
      const wider = new Uint32Array(column.length * 2);
      wider.set(column);
      return wider;
    };
    this.#destination = twice(this.#destination);
    this.#pathId = twice(this.#pathId);
    this.#extra = twice(this.#extra);
    this.#next = twice(this.#next);
  }

  #writeWithdrawals(bucket: number, log: GroupLog, form: Form, table: RibTable): void {
    const { family } = form;
    const classic = family === IPV4_UNICAST;
    const condition = this.#condition[bucket] as number;
    let row = this.#head[bucket] as number;
    const last = this.#tail[bucket] as number;
    for (let more = true; more;) {
      const out = log.room(MESSAGE_BYTES_MAX);
      const at = log.roomAt();
      const limit = at + MESSAGE_BYTES_MAX - 2;
      // Behind the withdrawn routes' length, or behind the attribute's header and its family.
      const from = at + HEADER_BYTES + (classic ? 2 : 4 + MP_HEADER_BYTES + 3);
      let position = from;
      for (;;) {
        const destination = this.#destination[row] as number;
        const key = table.keys.memoryOf(destination);
        const keyBytes = table.keys.lengthOf(destination);
        if (position + keyBytes + MOST_BESIDE_KEY > limit && position > from) break;
        position = writeNlri(
          family,
          form.pathIds,
          this.#pathId[row] as number,
          key,
          table.keys.offsetIn(destination),
          keyBytes,
          key,
          0,
          0,
          out,
          position,
        );
        more = row !== last;
        if (!more) break;
        row = this.#next[row] as number;
      }
      const body = at + HEADER_BYTES;
      if (classic) {
        writeU16(out, body, position - from);
        position = writeU16(out, position, 0);
      } else {
        writeU16(out, writeU16(out, body, 0), position - body - 4);
        writeMpHeader(out, body + 4, ATTRIBUTE.mpUnreach, position - body - 8);
        writeFamily(out, body + 8, family);
      }
      writeHeader(out, at, MESSAGE.update, position - at);
      log.commit(position - at, condition);
    }
  }

  #writeAnnouncements(
    bucket: number,
    log: GroupLog,
    form: Form,
    table: RibTable,
    refused: (destination: number, pathId: number, condition: number) => void,
  ): void {
    const { extras } = this.#context;
    const condition = this.#condition[bucket] as number;
    const classic = this.#prepare(bucket, form);
    const wireBytes = this.#wireBytes;
    const nextHopBytes = this.#canonical[0] as number;
    const mostBytes = isSendable(form, nextHopBytes) ? messageLimit(form, wireBytes) : 0;
    const before = HEADER_BYTES + 4 + (classic ? wireBytes : MP_HEADER_BYTES + 5 + nextHopBytes);
    const after = classic ? 0 : wireBytes;
    let row = this.#head[bucket] as number;
    const last = this.#tail[bucket] as number;
    for (let more = true; more;) {
      const out = log.room(mostBytes);
      const at = log.roomAt();
      const limit = at + mostBytes - after;
      const from = at + before;
      let position = from;
      for (;;) {
        const destination = this.#destination[row] as number;
        const key = table.keys.memoryOf(destination);
        const keyBytes = table.keys.lengthOf(destination);
        const extra = this.#extra[row] as number;
        const fits = position + keyBytes + MOST_BESIDE_KEY <= limit;
        if (!fits && position > from) break;
        if (fits)
          position = writeNlri(
            form.family,
            form.pathIds,
            this.#pathId[row] as number,
            key,
            table.keys.offsetIn(destination),
            keyBytes,
            extras.memoryOf(extra),
            extras.offsetIn(extra),
            extras.lengthOf(extra),
            out,
            position,
          );
        // RFC 8654 section 4: attributes that do not fit into a message of this peer cannot be sent, and the route is not; nor is one whose next
        // hop the peer would not take.
        else refused(destination, this.#pathId[row] as number, condition);
        more = row !== last;
        if (!more) break;
        row = this.#next[row] as number;
      }
      if (position === from) continue;
      const body = at + HEADER_BYTES;
      writeU16(out, body, 0);
      writeU16(out, body + 2, classic ? wireBytes : position - body - 4 + wireBytes);
      if (classic) copyOctets(this.#wire, 0, wireBytes, out, body + 4);
      else {
        writeMpHeader(out, body + 4, ATTRIBUTE.mpReach, position - body - 8);
        const hop = writeFamily(out, body + 8, form.family);
        // The length, the next hop as the canonical form has both, and the reserved octet.
        out[copyOctets(this.#canonical, 0, nextHopBytes + 1, out, hop)] = 0;
        position = copyOctets(this.#wire, 0, wireBytes, out, position);
      }
      writeHeader(out, at, MESSAGE.update, position - at);
      log.commit(position - at, condition);
    }
  }

  /** Makes the attributes of a bucket as they are sent; tells whether NLRI and next hop go into RFC 4271's own fields. */
  #prepare(bucket: number, form: Form): boolean {
    const { store, peers } = this.#context;
    const id = this.#attributes[bucket] as number;
    const source = peers[this.#source[bucket] as number] as RibPeer;
    const from = store.offsetIn(id);
    const end = writeExported(
      form,
      source,
      store.memoryOf(id),
      from,
      from + store.lengthOf(id),
      this.#canonical,
    );
    this.#wireBytes = writeAttributes(this.#canonical, 0, end, form, this.#wire, 0);
    if (form.family !== IPV4_UNICAST || this.#canonical[0] !== 4) return false;
    const wire = this.#wire;
    // ORIGIN and AS_PATH are always there, and NEXT_HOP stands behind them.
    const at = afterAsPath(wire, this.#wireBytes);
    wire.copyWithin(at + 7, at, this.#wireBytes);
    copyOctets(this.#canonical, 1, 4, wire, writeAttributeHeader(wire, at, ATTRIBUTE.nextHop, WELL_KNOWN, 4));
    this.#wireBytes += 7;
    return true;
  }
}

/** Where the attributes behind AS_PATH begin, as they are sent. */
function afterAsPath(wire: Uint8Array, end: number): number {
  let at = 0;
  while (at < end && (wire[at + 1] as number) <= ATTRIBUTE.asPath) {
    const long = ((wire[at] as number) & FLAG.extendedLength) !== 0;
    at += long ? 4 + readU16(wire, at + 2) : 3 + (wire[at + 2] as number);
  }
  return at;
}

/** Whether a peer takes a next hop of that length (RFC 2545, RFC 8950); none at all nobody takes. */
function isSendable({ family, extendedNextHop }: Form, nextHopBytes: number): boolean {
  if (family === IPV6_UNICAST) return nextHopBytes > 4;
  return nextHopBytes === 4 || (nextHopBytes > 4 && (family !== IPV4_UNICAST || extendedNextHop));
}

function messageLimit(form: Form, wireBytes: number): number {
  if (!form.extendedMessages) return MESSAGE_BYTES_MAX;
  return wireBytes > USUAL_EXTENDED_BYTES / 2 ? EXTENDED_BYTES_MAX : USUAL_EXTENDED_BYTES;
}

function writeFamily(out: Uint8Array, at: number, family: BgpFamily): number {
  out[at + 2] = safiOf(family);
  return writeU16(out, at, afiOf(family)) + 1;
}

function writeMpHeader(out: Uint8Array, at: number, code: number, length: number): void {
  out[at] = OPTIONAL | FLAG.extendedLength;
  out[at + 1] = code;
  writeU16(out, at + 2, length);
}
