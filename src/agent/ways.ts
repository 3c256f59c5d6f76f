/**
 * What helps this node to be reached, and to reach its hubs, beside plain UDP: its router's port mappings, and TLS where UDP is blocked. On a hub, the door
 * for nodes that come by TLS.
 */
import { sameValue } from "../engine/mod.ts";
import type { MeshView } from "../hub/mod.ts";
import type { TlsMode } from "../mesh/mod.ts";
import type { Endpoint, PrivateKey } from "../net/mod.ts";
import { Rtnetlink } from "../netlink/mod.ts";
import { defaultRouters, PortMapper } from "../portmap/mod.ts";
import { hkdf } from "../sys/mod.ts";
import type { TlsHub, TlsStatus } from "../tunnel/tls/mod.ts";
import { warn } from "./log.ts";
import { RUN, STATE } from "./paths.ts";
import { TlsDoor } from "./tls-door.ts";
import { TlsWay } from "./tls-way.ts";

/** portMappingModes are whether routers are asked: where one leads to the Internet, or never. */
export const portMappingModes = ["auto", "off"] as const;

/** WayOptions are what the operator of this machine wants. */
export interface WayOptions {
  readonly portMapping: (typeof portMappingModes)[number];
  readonly tls: TlsMode;
  /** `http://[user:password@]host:port`, through which TLS goes. */
  readonly tlsProxy?: string | undefined;
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

const PLACE = { socket: `${RUN}/tls.sock`, logPath: `${RUN}/tls.log` };

/** Ways owns all of it. Disposing leaves mappings and connections as they are. */
export class Ways implements Disposable {
  readonly #options: WayOptions;
  readonly #key: PrivateKey;
  readonly #hooks: WayHooks;
  #mapper: PortMapper | undefined;
  #mappedPort = 0;
  #way: TlsWay | undefined;
  #door: TlsDoor | undefined;
  /** The other endpoints that this node can be called at. */
  mapped: readonly Endpoint[] = [];
  /** Of a hub that takes TLS, the hash of its key. */
  pin: string | undefined;

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
      this.#door ??= new TlsDoor({
        certificatePath: `${STATE}/tls.crt`,
        keyPath: `${STATE}/tls.key`,
        place: PLACE,
      });
      this.#door.update({ port: mesh.tlsPort, tunnelPort: mesh.listenPort });
      const { pin } = this.#door;
      if (pin !== this.pin) {
        this.pin = pin;
        this.#hooks.facts();
      }
      return;
    }
    const port = mesh.tlsPort;
    const hubs = nodes.filter((node) => node.hub);
    const targets = {
      tunnelPort: mesh.listenPort,
      hubs:
        port === undefined
          ? []
          : hubs.flatMap((hub): TlsHub[] => {
              const [first] = hub.endpoints.length > 0 ? hub.endpoints : hubs.length === 1 ? fallback : [];
              if (first === undefined) return [];
              const host = first.slice(0, first.lastIndexOf(":")).replace(/^\[|\]$/g, "");
              return [
                { name: hub.name, host, port, ...(hub.tlsPin === undefined ? {} : { pin: hub.tlsPin }) },
              ];
            }),
    };
    const { tls, tlsProxy } = this.#options;
    if (this.#way !== undefined) this.#way.update(targets);
    else if (tls !== "never")
      this.#way = new TlsWay(
        {
          mode: tls,
          place: PLACE,
          ...(tlsProxy === undefined ? {} : { proxy: tlsProxy }),
          changed: this.#hooks.changed,
          probe: this.#hooks.probe,
        },
        targets,
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
    return this.#way?.endpoint(hub);
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

  /** portMappings says for people what each router did. */
  get portMappings(): readonly string[] {
    return this.#mapper?.describe() ?? [];
  }

  /** tls is what the process says of itself, and whether hubs are reached by it. */
  get tls(): { readonly using: boolean; readonly status: TlsStatus } | undefined {
    const status = this.#way?.status ?? this.#door?.status;
    return status && { using: this.#way?.using ?? false, status };
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
