/**
 * What helps this node to be reached, and to reach its hubs, beside plain UDP: its router's port mappings, and TLS where UDP is blocked. On a hub, the door
 * for nodes that come by TLS.
 */
import { sameValue } from "../engine/mod.ts";
import type { MeshView } from "../hub/mod.ts";
import type { Endpoint, PrivateKey, PublicKey } from "../net/mod.ts";
import { Rtnetlink } from "../netlink/mod.ts";
import { defaultRouters, PortMapper } from "../portmap/mod.ts";
import { hkdf } from "../sys/mod.ts";
import type { TlsHub, TlsStatus } from "../tunnel/tls/mod.ts";
import { warn } from "./log.ts";
import { STATE } from "./paths.ts";
import { TlsDoor } from "./tls-door.ts";
import { TLS_PLACE, TlsHolder } from "./tls-holder.ts";
import { TlsWay } from "./tls-way.ts";
import { pinOf, proxyOf, type TlsWish } from "./tls-wish.ts";

/** portMappingModes are whether routers are asked: where one leads to the Internet, or never. */
export const portMappingModes = ["auto", "off"] as const;

/** WayOptions are what the operator of this machine wants. */
export interface WayOptions {
  readonly portMapping: (typeof portMappingModes)[number];
  readonly tls: TlsWish;
  /** Hashes of hubs' TLS keys as the token had them, by public key, for hubs that have not said theirs yet. */
  readonly pins: ReadonlyMap<string, string>;
}

/** WayHooks tell what changed. */
export interface WayHooks {
  /** Hubs have other endpoints from now on. */
  readonly changed: () => void;
  /** The node's facts have changed: what is mapped, the pin. */
  readonly facts: () => void;
  /** Ask each hub by UDP, at its own endpoint. */
  readonly probe: () => void;
}

/** OPERATOR_TLS are the files that an operator may put there: not the membership's, so they stay when it ends. */
export const OPERATOR_TLS = { certificatePath: `${STATE}/tls.crt`, keyPath: `${STATE}/tls.key` };
/** What we make, which goes with the register. */
const made = { certificatePath: `${STATE}/register.tls.crt`, keyPath: `${STATE}/register.tls.key` };

/** Ways owns all of it. Disposing leaves mappings and connections as they are. */
export class Ways implements Disposable {
  readonly #options: WayOptions;
  readonly #key: PrivateKey;
  readonly #hooks: WayHooks;
  #mapper: PortMapper | undefined;
  #mappedPort = 0;
  #way: TlsWay | undefined;
  #door: TlsDoor | undefined;
  #ended: Promise<void> | undefined;
  /** Of the hubs, by name. */
  #keys: ReadonlyMap<string, PublicKey> = new Map();
  /** The other endpoints that this node can be called at. */
  mapped: readonly Endpoint[] = [];

  constructor(options: WayOptions, { key, hooks }: { readonly key: PrivateKey; readonly hooks: WayHooks }) {
    this.#options = options;
    this.#key = key;
    this.#hooks = hooks;
  }

  /** follow takes over what the register says; `fallback` are the hub's endpoints where it names none. */
  follow({ mesh, self, nodes }: MeshView, fallback: readonly string[]): void {
    if (self === undefined) return;
    this.#map(mesh.listenPort);
    if (self.hub) {
      this.#door ??= new TlsDoor({ given: OPERATOR_TLS, made, place: TLS_PLACE, changed: this.#hooks.facts });
      this.#door.update({ port: mesh.tlsPort, tunnelPort: mesh.listenPort });
      return;
    }
    const port = mesh.tlsPort;
    const hubs = nodes.filter((node) => node.hub);
    this.#keys = new Map(hubs.map((hub) => [hub.name, hub.publicKey]));
    const targets = {
      tunnelPort: mesh.listenPort,
      hubs:
        port === undefined
          ? []
          : hubs.flatMap((hub): TlsHub[] => {
              const [first] = hub.endpoints.length > 0 ? hub.endpoints : hubs.length === 1 ? fallback : [];
              if (first === undefined) return [];
              // A hub says its MTU always, and its hash unless an authority vouches for it.
              const known = hub.mtuBytes === undefined ? pinOf(this.#options.pins, hub) : hub.tlsPin;
              const pin = known === undefined ? {} : { pin: known };
              return [{ name: hub.publicKey, host: hostOf(first), port, ...pin }];
            }),
    };
    const { tls } = this.#options;
    if (tls.mode === "never") return this.#endTls();
    if (this.#way !== undefined) this.#way.update(targets);
    else
      this.#way = new TlsWay(
        {
          mode: tls.mode,
          place: TLS_PLACE,
          proxy: () => proxyOf(tls),
          changed: this.#hooks.changed,
          probe: this.#hooks.probe,
        },
        targets,
      );
  }

  /** Once: the agent before this one may have wanted it. */
  #endTls(): void {
    this.#ended ??= TlsHolder.end(TLS_PLACE).catch((error: unknown) =>
      warn("cannot end the process for TLS", { error }),
    );
  }

  #map(listenPort: number): void {
    if (
      this.#options.portMapping === "off" ||
      (this.#mapper !== undefined && this.#mappedPort === listenPort)
    )
      return;
    this.#mapper?.[Symbol.dispose]();
    this.#mappedPort = listenPort;
    this.#mapper = PortMapper.start({
      listenPort,
      secret: hkdf(this.#key.reveal(), "causeway port mapping", 32),
      gateways: () => {
        using route = Rtnetlink.open();
        return defaultRouters(route.routes({ table: 254 }));
      },
      onMapped: (endpoints) => {
        if (sameValue(this.mapped, endpoints)) return;
        this.mapped = endpoints;
        this.#hooks.facts();
      },
    });
  }

  /** endpoint returns where a hub is reached while UDP is blocked; undefined: at its own endpoint. */
  endpoint(hub: string): Endpoint | undefined {
    const key = this.#keys.get(hub);
    return key === undefined ? undefined : this.#way?.endpoint(key);
  }

  /** asked: a hub was asked by UDP; answered: one answered by UDP. */
  asked(): void {
    this.#way?.asked();
  }

  answered(): void {
    this.#way?.answered();
  }

  /** moved: interfaces, addresses or routes changed. */
  moved(): void {
    this.#way?.moved();
    this.#mapper?.refresh();
  }

  /** Of a hub that takes TLS, the hash of its key. */
  get pin(): string | undefined {
    return this.#door?.pin;
  }

  /** portMappings says for people what each router did. */
  get portMappings(): readonly string[] {
    return this.#mapper?.describe() ?? [];
  }

  /** tls is what the process says of itself, and whether hubs are reached by it. */
  get tls(): { readonly using: boolean; readonly status: TlsStatus } | undefined {
    const status = this.#way?.status ?? this.#door?.status;
    if (status === undefined) return undefined;
    const names = new Map([...this.#keys].map(([name, key]) => [key as string, name]));
    const hubs = status.hubs.map((hub) => ({ ...hub, name: names.get(hub.name) ?? hub.name }));
    return { using: this.#way?.using ?? false, status: { ...status, hubs } };
  }

  /** leave gives back what was asked for and ends what was started: the node leaves the mesh. */
  async leave(): Promise<void> {
    const ends = [this.#mapper?.leave(), this.#way?.destroy(), this.#door?.destroy()];
    for (const end of await Promise.allSettled(ends))
      if (end.status === "rejected") warn("cannot end a way of this node", { error: end.reason });
  }

  [Symbol.dispose](): void {
    this.#mapper?.[Symbol.dispose]();
    this.#way?.[Symbol.dispose]();
    this.#door?.[Symbol.dispose]();
  }
}

/** hostOf returns the host of `host:port`, an IPv6 address without brackets. */
export function hostOf(endpoint: string): string {
  return endpoint.slice(0, endpoint.lastIndexOf(":")).replace(/^\[|\]$/g, "");
}
