/** This machine's name, and other machines' addresses by name. */
import { lookup } from "node:dns/promises";
import { hostname } from "node:os";

/** hostName returns the machine's name without its domain, in lower case. */
export function hostName(): string {
  return (hostname().split(".")[0] ?? "").toLowerCase();
}

/** resolveHost returns the addresses of a name (or the address itself) as text, best first; rejects when there is none. */
export async function resolveHost(name: string): Promise<string[]> {
  return (await lookup(name, { all: true })).map((entry) => entry.address);
}
