/** Asking the routers that lead to the Internet for the tunnel's port, for as long as it runs. */
import { type Endpoint, ipBytes, ipFromBytes, parseIp } from "../net/mod.ts";
import {
  after,
  every,
  type Netns,
  openUdp,
  SourceAddresses,
  SystemError,
  type UdpSocket,
} from "../sys/mod.ts";
import type { Gateway } from "./default-routers.ts";
import { describeGateway } from "./gateway-client.ts";
import { GatewayIo } from "./gateway-io.ts";
import { isReachable, type MappingProtocol, type MappingWish } from "./mapping-answer.ts";

/** Where gateways announce that they restarted, to all hosts of the link (RFC 6886 section 3.2.1, RFC 6887 section 14.1.1). */
const ANNOUNCEMENT_PORT = 5350;
const LOOK_MS = 60_000;
const LEAVE_MS = 3000;
/** Any address of the Internet, to learn which of ours we speak from; nothing is sent there. */
const FAR_AWAY = parseIp("2001:db8::1");

/** PortMapperOptions say what is asked for, and who is told. */
export interface PortMapperOptions {
  /** The tunnel's UDP port. */
  readonly listenPort: number;
  /** What only this node knows, the same after a restart: it proves to gateways that a mapping is ours. */
  readonly secret: Uint8Array;
  /** Whom to ask, now (defaultRouters). Called at the start, on `refresh`, and every minute. */
  readonly gateways: () => readonly Gateway[];
  /** Gets all endpoints under which this node can be reached by mappings, whenever that changes. */
  readonly onMapped: (endpoints: readonly Endpoint[]) => void;
  /** Default all. */
  readonly protocols?: readonly MappingProtocol[];
  readonly netns?: Netns;
}

/** PortMapper owns a client for each gateway. Disposing leaves the mappings to expire: the next agent renews them. */
export class PortMapper implements Disposable {
  readonly #options: PortMapperOptions;
  readonly #resources = new DisposableStack();
  readonly #gateways = new Map<string, GatewayIo>();
  #closed = false;

  private constructor(options: PortMapperOptions) {
    this.#options = options;
  }

  /** start begins to ask. */
  static start(options: PortMapperOptions): PortMapper {
    const mapper = new PortMapper(options);
    mapper.#resources.use(every(LOOK_MS, () => mapper.#look()));
    void mapper.#listen();
    mapper.#look();
    return mapper;
  }

  /** The endpoints that are mapped. */
  get endpoints(): Endpoint[] {
    return [...this.#gateways.values()].flatMap(({ client: { state } }) =>
      state.kind === "mapped" ? [state.external] : [],
    );
  }

  /** describe says what came of each gateway, for people; empty where no address of ours needs one. */
  describe(): string[] {
    return [...this.#gateways.values()].map(({ client }) => describeGateway(client));
  }

  /** refresh looks at the gateways again, and asks them whether all is as before: after links, routes or addresses changed. */
  refresh(): void {
    this.#look();
    this.#hint();
  }

  #hint(): void {
    for (const io of this.#gateways.values()) io.step({ kind: "hint" });
  }

  #look(): void {
    if (this.#closed) return;
    const wishes = new Map<string, { readonly gateway: Gateway; readonly wish: MappingWish }>();
    for (const gateway of this.#options.gateways()) {
      const wish = this.#wish(gateway);
      if (wish !== undefined) wishes.set(keyOf(wish), { gateway, wish });
    }
    const before = this.endpoints.length;
    for (const [key, io] of this.#gateways)
      if (!wishes.has(key)) {
        io[Symbol.dispose]();
        this.#gateways.delete(key);
      }
    if (this.endpoints.length !== before) this.#tell();
    for (const [key, { gateway, wish }] of wishes)
      if (!this.#gateways.has(key)) {
        const { netns, protocols } = this.#options;
        this.#gateways.set(
          key,
          new GatewayIo({ gateway, wish, netns, protocols, onChange: () => this.#tell() }),
        );
      }
  }

  /** What to ask a gateway for; undefined where there is nothing to ask for. */
  #wish(gateway: Gateway): MappingWish | undefined {
    const { listenPort, secret, netns, protocols } = this.#options;
    const { family } = gateway.ip;
    // Only PCP knows IPv6.
    if (family === 6 && protocols?.includes("pcp") === false) return undefined;
    try {
      using sources = SourceAddresses.open(family, { netns });
      const towards = ipBytes(family === 4 ? gateway.ip : FAR_AWAY);
      const local = ipFromBytes(sources.towards(towards, listenPort));
      // An IPv4 address of the Internet needs no mapping; only such an IPv6 address can be let through a firewall.
      if (isReachable(local) !== (family === 6)) return undefined;
      return { gateway: gateway.ip, local, port: listenPort, secret };
    } catch (error) {
      if (error instanceof SystemError) return undefined;
      throw error;
    }
  }

  #tell(): void {
    if (!this.#closed) this.#options.onMapped(this.endpoints);
  }

  /** Anybody can send an announcement; it only makes us ask the gateways themselves. */
  async #listen(): Promise<void> {
    const { netns } = this.#options;
    let socket: UdpSocket;
    try {
      socket = await openUdp({
        ...(netns === undefined ? {} : { netns }),
        host: "0.0.0.0",
        port: ANNOUNCEMENT_PORT,
        onDatagram: () => this.#hint(),
        onError: () => {},
      });
    } catch {
      // Another program listens; renewals notice a restart too, only later.
      return;
    }
    if (this.#closed) socket.close();
    else this.#resources.use(socket);
  }

  /** leave deletes all mappings; resolves when the gateways heard it, at the latest after some seconds. */
  async leave(): Promise<void> {
    const all = [...this.#gateways.values()];
    this.#closed = true;
    await Promise.race([
      Promise.allSettled(all.map((io) => io.leave())),
      new Promise<void>((resolve) => void after(LEAVE_MS, resolve)),
    ]);
    this[Symbol.dispose]();
  }

  [Symbol.dispose](): void {
    this.#closed = true;
    this.#resources.dispose();
    for (const io of this.#gateways.values()) io[Symbol.dispose]();
    this.#gateways.clear();
  }
}

const keyOf = ({ gateway, local, port }: MappingWish) => `${gateway.value} ${local.value} ${port}`;
