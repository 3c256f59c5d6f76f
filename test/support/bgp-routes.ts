/** Routes for tests of BGP tables: UPDATEs made of values, and what a peer believes after reading the bytes that it was sent. */
import { attributesOf, encodeCanonical, type PathAttributes } from "../../src/bgp/wire/mod.ts";
import {
  afiOf,
  type BgpFamily,
  type EncodedNlri,
  IPV4_UNICAST,
  MESSAGE,
  NlriCursor,
  safiOf,
  type UpdateSession,
  UpdateView,
  writeAttributes,
  writeCanonical,
  writeHeader,
  writeNlri,
} from "../../src/bgp/wire/mod.ts";

/** Said is one NLRI with its path identifier. */
export interface Said extends EncodedNlri {
  readonly pathId: number;
}

const HEADER = 19;
const u16 = (value: number) => [value >>> 8, value & 255];

function nlriBytes(family: BgpFamily, addPath: boolean, said: readonly Said[], withdraw: boolean): number[] {
  const out = new Uint8Array(600);
  return said.flatMap(({ key, extra, pathId }) => {
    const bytes = withdraw ? 0 : extra.length;
    const end = writeNlri(family, addPath, pathId, key, 0, key.length, extra, 0, bytes, out, 0);
    return [...out.subarray(0, end)];
  });
}

/** announcement is an UPDATE that announces routes of one family; all but IPv4 with an IPv4 next hop in MP_REACH_NLRI. */
export function announcement(
  session: UpdateSession,
  attributes: PathAttributes,
  said: readonly Said[],
): Uint8Array {
  const { family } = said[0] as Said;
  const canonical = encodeCanonical(attributes);
  const wire = new Uint8Array(4096);
  const length = writeAttributes(canonical, 0, canonical.length, session, wire, 0);
  const nextHop = canonical.subarray(1, 1 + (canonical[0] as number));
  const nlri = nlriBytes(family, session.addPathReceive.has(family), said, false);
  const rest = [...wire.subarray(0, length)];
  if (family === IPV4_UNICAST && nextHop.length === 4) {
    const all = [...rest, 0x40, 3, 4, ...nextHop];
    return update([0, 0, ...u16(all.length), ...all, ...nlri]);
  }
  const value = [...u16(afiOf(family)), safiOf(family), nextHop.length, ...nextHop, 0, ...nlri];
  const all = [0x90, 14, ...u16(value.length), ...value, ...rest];
  return update([0, 0, ...u16(all.length), ...all]);
}

/** withdrawal is an UPDATE that takes routes of one family back. */
export function withdrawal(session: UpdateSession, said: readonly Said[]): Uint8Array {
  const { family } = said[0] as Said;
  const nlri = nlriBytes(family, session.addPathReceive.has(family), said, true);
  if (family === IPV4_UNICAST) return update([...u16(nlri.length), ...nlri, 0, 0]);
  const all = [0x90, 15, ...u16(nlri.length + 3), ...u16(afiOf(family)), safiOf(family), ...nlri];
  return update([0, 0, ...u16(all.length), ...all]);
}

function update(body: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(HEADER + body.length);
  writeHeader(bytes, 0, MESSAGE.update, bytes.length);
  bytes.set(body, HEADER);
  return bytes;
}

/** Belief is what a peer knows, from bytes alone: routes by family, key and path identifier, as text that compares. */
export class Belief {
  readonly routes = new Map<string, string>();
  readonly ended = new Set<BgpFamily>();
  /** ROUTE-REFRESH messages, as `family subtype`. */
  readonly marks: string[] = [];
  messages = 0;
  readonly #session: UpdateSession;
  readonly #view = new UpdateView();
  readonly #canonical = new Uint8Array(1 << 17);
  #rest: Uint8Array = new Uint8Array(0);

  constructor(session: UpdateSession) {
    this.#session = session;
  }

  /** read takes bytes as they come from a socket: in any pieces. */
  read(bytes: Uint8Array): void {
    const all = new Uint8Array(this.#rest.length + bytes.length);
    all.set(this.#rest);
    all.set(bytes, this.#rest.length);
    let at = 0;
    for (;;) {
      const length = ((all[at + 16] ?? 0) << 8) | (all[at + 17] ?? 0);
      if (all.length - at < HEADER || all.length - at < length) break;
      this.#message(all, at, length);
      at += length;
    }
    this.#rest = all.slice(at);
  }

  #message(bytes: Uint8Array, at: number, length: number): void {
    this.messages++;
    const type = bytes[at + 18];
    if (type === MESSAGE.refresh) {
      this.marks.push(
        `${((bytes[at + 19] as number) << 24) | ((bytes[at + 20] as number) << 16) | (bytes[at + 22] as number)} ${bytes[at + 21]}`,
      );
      return;
    }
    if (type !== MESSAGE.update) throw new Error(`A message of type ${type} came out of the table`);
    const view = this.#view;
    const reaction = view.parse(bytes, at + HEADER, at + length, this.#session);
    if (reaction !== 0) throw new Error(`An UPDATE that was sent is not accepted: ${view.faults.join("; ")}`);
    if (view.endOfRib !== 0) {
      this.ended.add(view.endOfRib);
      return;
    }
    if (view.withdrawnAt < view.withdrawnEnd)
      this.#each(IPV4_UNICAST, view.withdrawnAt, view.withdrawnEnd, undefined);
    if (view.unreachFamily !== 0) this.#each(view.unreachFamily, view.unreachAt, view.unreachEnd, undefined);
    if (view.nlriAt < view.nlriEnd) this.#each(IPV4_UNICAST, view.nlriAt, view.nlriEnd, true);
    if (view.reachFamily !== 0) this.#each(view.reachFamily, view.reachAt, view.reachEnd, false);
  }

  #each(family: BgpFamily, from: number, end: number, classic: boolean | undefined): void {
    const cursor = new NlriCursor(family);
    const attributes =
      classic === undefined
        ? undefined
        : this.#canonical.slice(0, writeCanonical(this.#view, classic, this.#canonical, 0));
    const addPath = this.#session.addPathReceive.has(family);
    for (let at = from; at < end;) {
      at = cursor.next(this.#view.bytes, at, end, addPath);
      const key = cursor.key.slice(0, cursor.keyBytes);
      const name = `${family}/${key.join(".")}/${cursor.pathId}`;
      if (attributes === undefined) this.routes.delete(name);
      else
        this.routes.set(name, routeText(attributesOf(attributes), cursor.extra.slice(0, cursor.extraBytes)));
    }
  }
}

/** routeText is a route as text: equal for equal attributes and extra. */
export function routeText(attributes: PathAttributes, extra: Uint8Array): string {
  return `${[...encodeCanonical(attributes)].join(".")} ${extra.join(".")}`;
}
