/** How rules report, and the one rule of addresses that all have. */
import { formatIp, formatPrefix, type Ip, parsePrefix, prefixContains } from "../net/mod.ts";

/** Report says that something breaks a rule; the value is left out for secrets. */
export type Report = (path: string, rule: string, value?: string | undefined) => void;

/** Addresses that no host has: this host, loopback, multicast and broadcast. Link-local ones are next hops. */
const NO_HOSTS = ["0.0.0.0/8", "127.0.0.0/8", "224.0.0.0/3", "::/127", "ff00::/8"].map(parsePrefix);

/** hostRule reports an address that no host has. */
export function hostRule(path: string, address: Ip, report: Report): void {
  const network = NO_HOSTS.find((prefix) => prefixContains(prefix, address));
  if (network !== undefined)
    report(path, `is no address of a host: it lies in ${formatPrefix(network)}`, formatIp(address));
}
