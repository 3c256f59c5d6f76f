/** Ceases of an administrator, with words for the neighbor's administrator (RFC 9003). */
import { type BgpError, bgpError, ERROR, shutdownData } from "../wire/mod.ts";

/** administrative returns a cease: administrative shutdown or reset, the two that carry words. */
export function administrative(subcode: number, text: string): BgpError {
  return bgpError(ERROR.cease, subcode, { text, data: shutdownData(text) });
}
