/** Where ipsec-mb lies that was fetched and not installed. Unit tests use what is there; other tests may fetch it. */
import { existsSync } from "node:fs";
import { fetchPackages, SuiteError, unpackedFolder } from "../../tools/debian-suite.ts";

const PACKAGES = [
  ["trixie", "libipsec-mb2"],
  ["bookworm", "libipsec-mb1"],
] as const;
const LIBRARIES = "usr/lib/x86_64-linux-gnu";

/** ipsecMbFolders returns the folders with a library that earlier runs have fetched. */
export function ipsecMbFolders(): string[] {
  return PACKAGES.map(([suite, name]) => `${unpackedFolder(suite, [name])}/${LIBRARIES}`).filter(existsSync);
}

/** fetchIpsecMb fetches both interfaces, and returns why that failed. */
export function fetchIpsecMb(): string | undefined {
  if (process.arch !== "x64") return "ipsec-mb is for x86-64";
  try {
    for (const [suite, name] of PACKAGES) fetchPackages(suite, [name]);
    return undefined;
  } catch (error) {
    if (error instanceof SuiteError) return error.message;
    throw error;
  }
}
