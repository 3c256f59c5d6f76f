/** What the agent and the process behind it say to each other: one JSON object a line, a request and its answer. */
import type { HttpProxy, TlsTrust } from "../../sys/mod.ts";
import type { ListenerStatus } from "./listener.ts";
import type { UplinkStatus } from "./uplink.ts";

/** TlsHub is a hub to be reached by TLS. */
export interface TlsHub {
  readonly name: string;
  /** Name or address, and TCP port. */
  readonly host: string;
  readonly port: number;
  /** The hash of the hub's key, base64 of SHA-256; absent: its certificate is for `host`, by an authority of the runtime's list or `authoritiesPath`. */
  readonly pin?: string;
  /** File with certificates of authorities, PEM. */
  readonly authoritiesPath?: string;
}

/** TlsConfig is all that is wished; what it does not name ends. */
export interface TlsConfig {
  /** The UDP port of this machine's tunnel. */
  readonly tunnelPort: number;
  /** On a hub: serve TLS. The files are read again when they change. */
  readonly listener?: {
    readonly port: number;
    readonly certificatePath: string;
    readonly keyPath: string;
  };
  readonly hubs: readonly TlsHub[];
  /** `http://[USER:PASSWORD@]HOST:PORT`, asked to connect to the hubs. */
  readonly proxy?: string;
}

/** TlsStatus is how things are. */
export interface TlsStatus {
  readonly build: string;
  readonly pid: number;
  readonly hubs: readonly UplinkStatus[];
  readonly listener?: ListenerStatus;
  /** What could not be done, and is tried again. */
  readonly problems: readonly string[];
}

/** Keep is what a successor is told, so that endpoints stay the same. */
export type Keep = Readonly<Record<string, Pick<UplinkStatus, "localPort" | "session">>>;

/** TlsRequest is what may be asked. */
export type TlsRequest =
  { readonly op: "status" } | { readonly op: "configure"; readonly config: TlsConfig; readonly keep?: Keep };

/** TlsAnswer is what comes back. */
export type TlsAnswer = { readonly status: TlsStatus } | { readonly error: string };

/** keepOf returns what a successor needs to know. */
export function keepOf(status: TlsStatus): Keep {
  return Object.fromEntries(
    status.hubs.map(({ name, localPort, session }) => [name, { localPort, session }]),
  );
}

/** trustOf says whom a hub has to be. */
export function trustOf(hub: TlsHub, readText: (path: string) => string | undefined): TlsTrust {
  if (hub.pin !== undefined) return { kind: "key", sha256: hub.pin };
  if (hub.authoritiesPath === undefined) return { kind: "name", name: hub.host };
  const authorities = readText(hub.authoritiesPath);
  if (authorities === undefined)
    throw new Error(
      `Cannot read ${hub.authoritiesPath}: there is no such file; it has to hold certificates (PEM)`,
    );
  return { kind: "name", name: hub.host, authorities };
}

/** parseProxy reads the URL of a proxy. */
export function parseProxy(text: string): HttpProxy {
  const match = /^http:\/\/(?:([^@/]*)@)?(?:\[([0-9a-fA-F:.]+)\]|([^:/@[\]]+)):(\d{1,5})\/?$/.exec(text);
  const port = Number(match?.[4]);
  const host = match?.[2] ?? match?.[3];
  // Never repeats the text: it may hold a password.
  if (host === undefined || !(port >= 1 && port <= 65535))
    throw new Error("Cannot use the proxy: its URL is not of the form http://[USER:PASSWORD@]HOST:PORT");
  const encoded = match?.[1];
  return { host, port, ...(encoded === undefined ? {} : { credentials: decoded(encoded) }) };
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw new Error(
      "Cannot use the proxy: in its URL a % is not followed by two hexadecimal digits; write %25",
    );
  }
}
