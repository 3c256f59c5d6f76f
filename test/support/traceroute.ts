/** traceroute(8), from Debian's package: unpacked, and never installed. */
import { fetchPackages, SuiteError } from "../../tools/debian-suite.ts";

/** fetchTraceroute returns where it is, or why it cannot be had. */
export function fetchTraceroute():
  | { readonly path: string; readonly lacks?: undefined }
  | { readonly path?: undefined; readonly lacks: string } {
  try {
    return { path: `${fetchPackages("bookworm", ["traceroute"])}/usr/bin/traceroute.db` };
  } catch (error) {
    if (error instanceof SuiteError) return { lacks: error.message };
    throw error;
  }
}

/** hopsOf returns who answered at each hop, as it prints them with `-n -q 1`; `*` is nobody. */
export function hopsOf(said: string): string[] {
  return [...said.matchAll(/^ *\d+ +(\S+)/gm)].map(([, from]) => from as string);
}
