/** Path attributes as text: one entry for each, for people (`show`) and for JSON. */
import { formatIp } from "../../net/mod.ts";
import { attributeRow, attributeRows } from "./attribute-table.ts";
import type { NextHop, PathAttributes, RawAttribute } from "./path-attributes.ts";

/** printNextHop returns the address, and the link-local one behind it. */
export function printNextHop({ address, linkLocal }: NextHop): string {
  return linkLocal === undefined ? formatIp(address) : `${formatIp(address)} ${formatIp(linkLocal)}`;
}

/** printRawAttribute returns `attribute 254 (flags 0xe0) 0xdead`, with the name of a known code. */
export function printRawAttribute({ code, flags, value }: RawAttribute): string {
  const name = attributeRow(code)?.name ?? `attribute ${code}`;
  return `${name} (flags 0x${flags.toString(16)}) 0x${Buffer.from(value).toString("hex")}`;
}

/**
 * printAttributes returns the text of each field that is there, under its name, in the order of codes; octets are under `others`.
 *
 * @example
 * ```ts
 * printAttributes(attributes); // { nextHop: "10.255.0.1", origin: "IGP", asPath: "65001", extendedCommunities: "ET:8 RT:65001:100" }
 * ```
 */
export function printAttributes(attributes: PathAttributes): Readonly<Record<string, string>> {
  const text: Record<string, string> = {};
  if (attributes.nextHop !== undefined) text["nextHop"] = printNextHop(attributes.nextHop);
  for (const { codec } of attributeRows) {
    const value = codec === undefined ? undefined : attributes[codec.field];
    if (codec !== undefined && value !== undefined) text[codec.field] = codec.print(value);
  }
  if (attributes.others !== undefined) text["others"] = attributes.others.map(printRawAttribute).join("; ");
  return text;
}
