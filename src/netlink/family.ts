/** Address families as the kernel numbers them. */
import type { Family } from "../net/mod.ts";

export const AF = { unspec: 0, inet: 2, bridge: 7, inet6: 10 } as const;

/** afOf returns the kernel's number of a family. */
export function afOf(family: Family): number {
  return family === 4 ? AF.inet : AF.inet6;
}

/** familyOf returns undefined for families other than IPv4 and IPv6. */
export function familyOf(af: number): Family | undefined {
  return af === AF.inet ? 4 : af === AF.inet6 ? 6 : undefined;
}
