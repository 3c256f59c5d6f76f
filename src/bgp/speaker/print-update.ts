/** An UPDATE in words: what RFC 7606 makes of it, its attributes, and the routes that it brings and takes away. */
import type { Negotiated } from "../session/mod.ts";
import {
  attributesOf,
  type BgpFamily,
  CANONICAL_BYTES_MAX,
  decodeNlri,
  decodeRefresh,
  familyName,
  HEADER_BYTES,
  IPV4_UNICAST,
  MESSAGE,
  NlriCursor,
  printAttributes,
  printNlriWithRd,
  reactionName,
  UpdateView,
  writeCanonical,
} from "../wire/mod.ts";

/** printUpdate returns lines for a whole message, header included, of an established session. */
export function printUpdate(message: Uint8Array, negotiated: Negotiated | undefined): readonly string[] {
  const type = message[HEADER_BYTES - 1];
  if (type === MESSAGE.refresh) {
    const refresh = decodeRefresh(message, HEADER_BYTES, message.length);
    return "code" in refresh
      ? [refresh.text]
      : [`route refresh ${familyName(refresh.family)} ${refresh.subtype}`];
  }
  if (negotiated === undefined) return [`${message.length} bytes outside of a session`];
  const view = new UpdateView();
  const reaction = view.parse(message, HEADER_BYTES, message.length, negotiated);
  if (view.endOfRib !== 0) return [`end of RIB ${familyName(view.endOfRib)}`];
  const lines = view.faults.map((fault) => `${reactionName(reaction)}: ${fault}`);
  const routes = (sign: string, family: BgpFamily, at: number, end: number) => {
    if (family !== 0 && at < end)
      lines.push(
        ...routesOf(message, { family, at, end, addPath: negotiated.addPathReceive.has(family) }).map(
          (text) => `${sign} ${text}`,
        ),
      );
  };
  routes("-", IPV4_UNICAST, view.withdrawnAt, view.withdrawnEnd);
  routes("-", view.unreachFamily, view.unreachAt, view.unreachEnd);
  for (const classic of [true, false]) {
    const [family, at, end] = classic
      ? [IPV4_UNICAST, view.nlriAt, view.nlriEnd]
      : [view.reachFamily, view.reachAt, view.reachEnd];
    if (family === 0 || at >= end) continue;
    const canonical = new Uint8Array(CANONICAL_BYTES_MAX);
    const length = writeCanonical(view, classic, canonical, 0);
    const attributes = printAttributes(attributesOf(canonical.subarray(0, length)));
    lines.push(
      Object.entries(attributes)
        .map(([name, text]) => `${name} ${text}`)
        .join(", "),
    );
    routes("+", family, at, end);
  }
  return lines;
}

function routesOf(
  bytes: Uint8Array,
  field: { readonly family: BgpFamily; readonly at: number; readonly end: number; readonly addPath: boolean },
): string[] {
  const cursor = new NlriCursor(field.family);
  const texts: string[] = [];
  for (let at = field.at; at >= 0 && at < field.end;) {
    at = cursor.next(bytes, at, field.end, field.addPath);
    if (at < 0 || cursor.skip) continue;
    const key = cursor.key.slice(0, cursor.keyBytes);
    const nlri = decodeNlri(field.family, key, cursor.extra.slice(0, cursor.extraBytes));
    texts.push(`${printNlriWithRd(nlri)}${field.addPath ? ` path ${cursor.pathId}` : ""}`);
  }
  return texts;
}
