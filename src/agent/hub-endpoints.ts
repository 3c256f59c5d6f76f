/** Where hubs are: of each hub's endpoints the one that answers, and for a hub the nodes as they were seen. Pure, but for what the resolver found. */
import { type KnownHub, type PeerPath, tunnelMtuOf } from "../mesh/mod.ts";
import { type Endpoint, endpointEqual } from "../net/mod.ts";
import type { Node } from "../resources/mod.ts";

/** Keeps the NAT's mapping towards a hub (most forget after 30 s). */
const HUB_KEEPALIVE_SECONDS = 25;
/** A hub that is down is tried at its next address after this time. */
const NEXT_ADDRESS_MS = 4_000;

/** Resolved is what the register's texts lead to. */
export interface Resolved {
  readonly resolved: ReadonlyMap<string, readonly Endpoint[]>;
  /** Endpoints of the hub, if there is one only, and the register names none of it. */
  readonly fallback: readonly string[];
  /** Where a hub is reached while UDP is blocked. */
  readonly instead?: (hub: string) => Endpoint | undefined;
}

interface Entry {
  /** Its own, by UDP. */
  own: readonly Endpoint[];
  endpoints: readonly Endpoint[];
  index: number;
  /** Since when the one in use does not answer. */
  downMs: number | undefined;
  /** How often the session with it was made anew. */
  generation: number;
}

/** HubEndpoints keeps one address in use for each hub. */
export class HubEndpoints {
  readonly #entries = new Map<string, Entry>();

  /** follow takes over the register's hubs, and returns the names of those that are to be sent to elsewhere now. */
  follow(hubs: readonly Node[], { resolved, fallback, instead }: Resolved): string[] {
    for (const name of [...this.#entries.keys()])
      if (!hubs.some((hub) => hub.name === name)) this.#entries.delete(name);
    return hubs.flatMap((hub) => {
      const before = this.of(hub.name);
      const texts = hub.endpoints.length > 0 ? hub.endpoints : hubs.length === 1 ? fallback : [];
      const own = texts.flatMap((text) => resolved.get(text) ?? []);
      const other = instead?.(hub.name);
      const endpoints = other === undefined ? own : [other];
      // The address in use stays in use while the hub has it.
      const kept = before === undefined ? -1 : endpoints.findIndex((one) => endpointEqual(one, before));
      const entry = this.#entries.get(hub.name);
      this.#entries.set(hub.name, {
        own,
        endpoints,
        index: Math.max(0, kept),
        downMs: entry?.downMs,
        generation: entry?.generation ?? 0,
      });
      return kept >= 0 ? [] : [hub.name];
    });
  }

  /** has tells whether a node is a hub. */
  has(name: string): boolean {
    return this.#entries.has(name);
  }

  /** anew has the session with a hub made anew: it has lost its own. */
  anew(name: string): void {
    const entry = this.#entries.get(name);
    if (entry !== undefined) entry.generation++;
  }

  /** generation returns how often that was. */
  generation(name: string): number {
    return this.#entries.get(name)?.generation ?? 0;
  }

  /** names returns the hubs' names. */
  names(): string[] {
    return [...this.#entries.keys()];
  }

  /** of returns the endpoint in use. */
  of(name: string): Endpoint | undefined {
    const entry = this.#entries.get(name);
    return entry?.endpoints[entry.index];
  }

  /** own returns each hub's first endpoint by UDP, whichever way is in use. */
  own(): { readonly name: string; readonly endpoint: Endpoint }[] {
    return [...this.#entries].flatMap(([name, { own }]) => {
      const [endpoint] = own;
      return endpoint === undefined ? [] : [{ name, endpoint }];
    });
  }

  /** known returns the hubs that have an endpoint. */
  known(linkMtuBytes: number): KnownHub[] {
    return this.names().flatMap((name) => {
      const endpoint = this.of(name);
      return endpoint === undefined ? [] : [{ name, endpoint, linkMtuBytes }];
    });
  }

  /** rotate goes on to the next address of hubs that have been down for a while, and returns their names. */
  rotate(health: readonly { readonly name: string; readonly state: string }[], nowMs: number): string[] {
    return health.flatMap(({ name, state }) => {
      const entry = this.#entries.get(name);
      if (entry === undefined) return [];
      if (state !== "down" || entry.endpoints.length < 2) {
        entry.downMs = undefined;
        return [];
      }
      entry.downMs ??= nowMs;
      if (nowMs - entry.downMs < NEXT_ADDRESS_MS) return [];
      entry.downMs = undefined;
      entry.index = (entry.index + 1) % entry.endpoints.length;
      return [name];
    });
  }
}

/** hubPath is the path between a node and a hub; `mtuBytes` is the largest IP packet that fits. */
export function hubPath(
  endpoint: Endpoint,
  { generation, mtuBytes }: { readonly generation: number; readonly mtuBytes: number | undefined },
): PeerPath {
  return {
    endpoint,
    generation,
    keepaliveSeconds: HUB_KEEPALIVE_SECONDS,
    ...(mtuBytes === undefined ? {} : { mtuBytes: tunnelMtuOf(mtuBytes, endpoint.ip.family) }),
  };
}

/** seenNodes returns where a hub called `self` sees nodes, or where they say that they are. */
export function seenNodes(
  self: string,
  nodes: readonly Node[],
  { resolved }: Resolved,
): ReadonlyMap<string, Endpoint> {
  const found = new Map<string, Endpoint>();
  for (const node of nodes) {
    const seen = node.observed.find(({ hub }) => hub === self)?.endpoint;
    const [said] = node.endpoints.flatMap((text) => resolved.get(text) ?? []);
    const endpoint = seen ?? said;
    if (!node.hub && endpoint !== undefined) found.set(node.name, endpoint);
  }
  return found;
}

/** isLoopback tells whether an endpoint is not UDP to a hub, but TLS (tunnel/tls). */
export function isLoopback({ ip }: Endpoint): boolean {
  return ip.family === 4 && ip.value >> 24n === 127n;
}
