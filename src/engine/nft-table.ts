/**
 * Our nftables table as nft lists it in JSON: which ruleset it was made from, whether that is intact, and the elements of its sets.
 *
 * The mark is an empty chain whose name holds two digests: of the text that was loaded and of the listing that came of it. Names are
 * kept by every version of nft (1.0.6 leaves table comments out of its JSON), so an agent that restarts recognises its ruleset.
 */
import {
  formatIp,
  formatMac,
  formatPrefix,
  parseMac,
  prefixOf,
  tryParseInterfaceAddress,
  tryParseIp,
} from "../net/mod.ts";
import { sha256 } from "../sys/mod.ts";

/** TableView is our table of one family. */
export interface TableView {
  /** Digests in the name of the mark chain; undefined when there is none. */
  readonly mark: { readonly text: string; readonly listing: string } | undefined;
  /** Digest of the listing as it is now. */
  readonly listing: string;
  readonly sets: ReadonlyMap<string, Map<string, SetItem>>;
}

/** SetItem is an element as found: its value in a map, and the parts of its key as nft wrote them. */
export interface SetItem {
  readonly key: readonly string[];
  readonly value: string | undefined;
}

const MARK = /^mark-([0-9a-f]{16})-([0-9a-f]{16})$/;

/** markChain names the chain that marks a table. */
export function markChain(text: string, listing: string): string {
  return `mark-${text}-${listing}`;
}

/** digest shortens text to 16 characters. */
export function digest(text: string): string {
  return Buffer.from(sha256(text)).toString("hex").slice(0, 16);
}

type Json = Record<string, unknown>;

/** viewTable reads the JSON of `nft -j list table …`. */
export function viewTable(document: unknown): TableView {
  const sets = new Map<string, Map<string, SetItem>>();
  const kept: unknown[] = [];
  let mark: TableView["mark"];
  for (const entry of (document as { nftables?: Json[] }).nftables ?? []) {
    const [[kind, value] = ["", {}]] = Object.entries(entry) as [string, Json][];
    if (kind === "metainfo") continue;
    const found = kind === "chain" ? MARK.exec(String(value.name)) : null;
    if (found !== null) {
      mark = { text: found[1] as string, listing: found[2] as string };
      continue;
    }
    if (kind === "set" || kind === "map") sets.set(String(value.name), itemsOf(value.elem));
    kept.push(stable(kind, value, kind === "set" || kind === "map"));
  }
  return { mark, listing: digest(JSON.stringify(kept)), sets };
}

/** What changes without anybody changing the ruleset: counters, handles, elements. */
const VOLATILE = new Set(["handle", "packets", "bytes", "used", "used_unit", "index"]);

function stable(kind: string, value: unknown, isSet: boolean): unknown {
  if (Array.isArray(value)) return value.map((item) => stable(kind, item, false));
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([name]) => !VOLATILE.has(name) && !(isSet && name === "elem"))
      .map(([name, inner]) => [name, stable(kind, inner, false)]),
  );
}

function itemsOf(elements: unknown): Map<string, SetItem> {
  const out = new Map<string, SetItem>();
  for (const element of Array.isArray(elements) ? elements : []) {
    const [key, value] = Array.isArray(element) ? element : [element, undefined];
    const parts = partsOf(key);
    out.set(elementText(parts), { key: parts, value: value === undefined ? undefined : valueOf(value) });
  }
  return out;
}

function partsOf(key: unknown): string[] {
  if (typeof key === "object" && key !== null) {
    const { elem, concat, prefix, range } = key as Json;
    if (elem !== undefined) return partsOf((elem as Json).val);
    if (Array.isArray(concat)) return concat.flatMap(partsOf);
    if (prefix !== undefined) return [normal(`${(prefix as Json).addr}/${(prefix as Json).len}`)];
    if (Array.isArray(range)) return [`${partsOf(range[0])}-${partsOf(range[1])}`];
  }
  return [normal(String(key))];
}

function valueOf(value: unknown): string {
  if (typeof value === "object" && value !== null) {
    const [[verdict, inner] = ["", null]] = Object.entries(value);
    if (inner === null) return verdict;
    if (verdict === "jump" || verdict === "goto") return `${verdict} ${(inner as Json).target}`;
  }
  return partsOf(value).join(" . ");
}

/** elementText joins the parts of a key in one spelling, so that `"cw1" . 10.0.0.1/32` and `cw1 . 10.0.0.1` are the same. */
export function elementText(parts: readonly string[]): string {
  return parts.map(normal).join(" . ");
}

/** valueText brings the value of a map element into the same spelling. */
export function valueText(value: string): string {
  return value
    .split(" . ")
    .map((part) => normal(part.trim()))
    .join(" . ");
}

function normal(part: string): string {
  const text = part.startsWith('"') && part.endsWith('"') ? part.slice(1, -1) : part;
  const ip = tryParseIp(text);
  if (ip !== undefined) return formatIp(ip);
  const network = text.includes("/") ? tryParseInterfaceAddress(text) : undefined;
  if (network !== undefined) {
    const bits = network.ip.family === 4 ? 32 : 128;
    return network.length === bits
      ? formatIp(network.ip)
      : formatPrefix(prefixOf(network.ip, network.length));
  }
  if (/^([0-9a-f]{2}:){5}[0-9a-f]{2}$/i.test(text)) return formatMac(parseMac(text));
  // Numbers of more than 53 bits (an address taken from a payload) stay in the form that nft prints and reads.
  if (/^0x[0-9a-f]+$/i.test(text))
    return Number.isSafeInteger(Number(text)) ? String(Number(text)) : `0x${BigInt(text).toString(16)}`;
  return text;
}

/** fixedSets names the sets of a ruleset whose elements are not ours to remove: listed in the text, or filled by rules. */
export function fixedSets(text: string): ReadonlySet<string> {
  const out = new Set<string>();
  const start = /\b(?:set|map)\s+([A-Za-z_][\w./-]*)\s*\{/g;
  for (let match = start.exec(text); match !== null; match = start.exec(text)) {
    let depth = 1;
    let end = start.lastIndex;
    while (end < text.length && depth > 0) {
      if (text[end] === "{") depth++;
      if (text[end] === "}") depth--;
      end++;
    }
    const body = text.slice(start.lastIndex, end);
    if (/\belements\s*=/.test(body) || /\bflags\b[^;\n]*\b(?:dynamic|timeout)\b/.test(body))
      out.add(match[1] as string);
  }
  return out;
}
