/**
 * Whether this machine reaches hubs by TLS, and through which proxy: what the agent's command line says, or what was said when the node
 * joined, which is stored with its membership. A password is in a file of the operator's, and read when it is needed.
 */
import { z } from "zod";
import type { TokenHub } from "../hub/mod.ts";
import { type TlsMode, tlsModes } from "../mesh/mod.ts";
import { tlsPinSchema } from "../resources/mod.ts";
import { exists, fileMode, readText, writeAtomic } from "../sys/mod.ts";
import { parseProxy } from "../tunnel/tls/mod.ts";
import { warn } from "./log.ts";
import { STATE } from "./paths.ts";

const FILE = `${STATE}/member.tls.json`;

/** tlsGiven is what may be said of it; absent fields are said elsewhere. */
export const tlsGiven = z.object({
  mode: z.enum(tlsModes).optional(),
  /** `http://HOST:PORT`, without a password. */
  proxy: z.string().max(1024).optional(),
  /** Full path of a file that holds the proxy's URL, also with `USER:PASSWORD@`; readable by root only. */
  proxyFile: z.string().max(4096).optional(),
});

const storedSchema = tlsGiven.extend({ pins: z.record(z.string(), tlsPinSchema).default({}) });

/** TlsGiven is what was said of it. */
export type TlsGiven = z.output<typeof tlsGiven>;

/** TlsWish is what holds. */
export type TlsWish = TlsGiven & { readonly mode: TlsMode };

/** tlsWish puts together what was said at the agent's start, which comes first, and when the node joined; `never` where nobody says anything. */
export function tlsWish(agent: TlsGiven, joining: TlsGiven): TlsWish {
  const own = agent.proxy ?? agent.proxyFile;
  const { proxy, proxyFile } = own === undefined ? joining : agent;
  return {
    mode: agent.mode ?? joining.mode ?? "never",
    ...(proxy === undefined ? {} : { proxy }),
    ...(proxyFile === undefined ? {} : { proxyFile }),
  };
}

/** joiningWish returns what holds for a node that joins; throws where the agent was started with something else, which would hold afterwards. */
export function joiningWish(agent: TlsGiven, joining: TlsGiven): TlsWish {
  const wish = tlsWish(agent, joining);
  const options = { mode: "--tls", proxy: "--tls-proxy", proxyFile: "--tls-proxy-file" } as const;
  for (const field of ["mode", "proxy", "proxyFile"] as const)
    if (joining[field] !== undefined && joining[field] !== wish[field])
      throw new Error(
        `Cannot join with ${options[field]} ${joining[field]}: the agent of this machine was started with another; change it there, or leave it out here`,
      );
  proxyOf(wish);
  return wish;
}

/** storeTls keeps what was said when the node joined, and how its token's hubs are known. */
export function storeTls(given: TlsGiven, hubs: readonly TokenHub[]): void {
  writeAtomic(FILE, `${JSON.stringify({ ...given, pins: pinsOf(hubs) })}\n`, 0o600);
}

/** pinsOf returns the hashes of a token's hubs by public key, and by endpoint: a hub may have changed its key since the token was made. */
export function pinsOf(hubs: readonly TokenHub[]): Readonly<Record<string, string>> {
  const pins = hubs.flatMap(({ key, endpoints, tls }) =>
    tls?.pin === undefined ? [] : [key, ...endpoints].map((name) => [name, tls.pin]),
  );
  return Object.fromEntries(pins);
}

/** pinOf finds a hub's among them. */
export function pinOf(
  pins: ReadonlyMap<string, string>,
  hub: { readonly publicKey: string; readonly endpoints: readonly string[] },
): string | undefined {
  const name = [hub.publicKey, ...hub.endpoints].find((one) => pins.has(one));
  return name === undefined ? undefined : pins.get(name);
}

/** storedTls returns it; nothing on a node that was never told, and from a file that is damaged. */
export function storedTls(): { readonly given: TlsGiven; readonly pins: ReadonlyMap<string, string> } {
  try {
    const { pins, ...given } = storedSchema.parse(JSON.parse(readText(FILE) ?? "{}"));
    return { given, pins: new Map(Object.entries(pins)) };
  } catch (error) {
    warn(`cannot read ${FILE}`, { error });
    return { given: {}, pins: new Map() };
  }
}

/** proxyOf returns the proxy's URL; undefined without one. Throws when it is none, or can be read by others. */
export function proxyOf({ proxy, proxyFile }: TlsGiven): string | undefined {
  const refuse = (cause: string) => new Error(`Cannot use the proxy: ${cause}`);
  if (proxy !== undefined && proxyFile !== undefined)
    throw refuse("give --tls-proxy or --tls-proxy-file, not both");
  if (proxy !== undefined) {
    if (parseProxy(proxy).credentials === undefined) return proxy;
    throw refuse(
      "every user of this machine sees a password on a command line; write the URL into a file with mode 0600 and give --tls-proxy-file FILE",
    );
  }
  if (proxyFile === undefined) return undefined;
  if (!proxyFile.startsWith("/")) throw refuse(`${proxyFile} is not a full path; begin it with /`);
  if (!exists(proxyFile)) throw refuse(`there is no file ${proxyFile}`);
  if ((fileMode(proxyFile) & 0o077) !== 0)
    throw refuse(`others can read ${proxyFile}, which may hold a password; chmod 600 ${proxyFile}`);
  const url = (readText(proxyFile) ?? "").trim();
  parseProxy(url);
  return url;
}
