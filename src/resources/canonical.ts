/** The one form of JSON that is hashed, signed and compared: sorted keys, no spaces, no absent fields. */

/** Json is what JSON can say. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };

/** canonicalJson returns the canonical text; object keys sorted by UTF-16 code unit as RFC 8785 has it. */
export function canonicalJson(value: Json): string {
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(",")}]`;
  const object = value as { readonly [key: string]: Json };
  const members = Object.keys(object)
    .sort()
    .map((key) => `${JSON.stringify(key)}:${canonicalJson(object[key] as Json)}`);
  return `{${members.join(",")}}`;
}

/** present drops undefined members, so that absent fields stay absent in text. */
export function present(fields: { readonly [key: string]: Json | undefined }): {
  readonly [key: string]: Json;
} {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as {
    [key: string]: Json;
  };
}

/** withoutAbsent drops the undefined members of a parsed value, so that absent fields are not there at all. */
export function withoutAbsent<T extends object>(value: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(value).filter(([, field]) => field !== undefined)) as never;
}
