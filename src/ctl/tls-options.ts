/** What the command line takes about TLS to hubs: for the agent, and for a node that joins. */
import { proxyOf } from "../agent/mod.ts";
import { type TlsMode, tlsModes } from "../mesh/mod.ts";
import type { Given } from "./command.ts";

/** tlsOptions are those options. */
export const tlsOptions = {
  tls: {
    about: "reach hubs by TLS where UDP is blocked (default never)",
    value: "WHEN",
    choices: tlsModes,
  },
  "tls-proxy": { about: "HTTP proxy for TLS: http://HOST:PORT", value: "URL" },
  "tls-proxy-file": { about: "file with the proxy's URL, for one with a password", value: "FILE" },
} as const;

/** tlsOf returns what was given; throws when a proxy cannot be used. */
export function tlsOf(given: Given) {
  const mode = given.value("tls") as TlsMode | undefined;
  const proxy = given.value("tls-proxy");
  const file = given.value("tls-proxy-file");
  const tls = {
    ...(mode === undefined ? {} : { mode }),
    ...(proxy === undefined ? {} : { proxy }),
    ...(file === undefined ? {} : { proxyFile: file }),
  };
  proxyOf(tls);
  return tls;
}
