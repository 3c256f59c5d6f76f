/** Networks with a meaning of their own, in which no other machine can be reached (RFC 6890). */
import { parsePrefix, type Prefix } from "./prefix.ts";

/** NOT_HOSTS are this host, loopback, link-local and multicast networks, and those that IPv4 and IPv6 keep for themselves. */
export const NOT_HOSTS: readonly Prefix[] = [
  "0.0.0.0/8",
  "127.0.0.0/8",
  "169.254.0.0/16",
  "224.0.0.0/3",
  "::/16",
  "fe80::/10",
  "ff00::/8",
].map(parsePrefix);
