/** The hub's role: it keeps the register, serves it, and tells it what its tunnel sees. */
import { HubServer, type MeshView, Register } from "../hub/mod.ts";
import { enrolServiceAddress, type Enrolment } from "../mesh/mod.ts";
import type { PeerState, PrivateKey, PublicKey, SigningSecret } from "../net/mod.ts";
import { wallMs } from "../sys/mod.ts";
import { info, warn } from "./log.ts";
import type { Role, RoleHooks, SelfFacts } from "./role.ts";

/** A handshake older than this says nothing of where a peer is now. */
const FRESH_MS = 180_000;

/** HubRole owns the register and its services. */
export class HubRole implements Role {
  readonly hub = true;
  readonly connected = true;
  readonly register: Register;
  readonly signing: SigningSecret;
  readonly #key: PrivateKey;
  readonly #spent = new Set<PublicKey>();
  /** When each node was heard last, by name, the wall clock's milliseconds. */
  readonly heardMs = new Map<string, number>();
  #server: HubServer | undefined;
  #subscription: Disposable | undefined;

  constructor(register: Register, keys: { readonly node: PrivateKey; readonly signing: SigningSecret }) {
    this.register = register;
    this.#key = keys.node;
    this.signing = keys.signing;
  }

  get name(): string {
    return this.register.hub().name;
  }

  get revision(): number {
    return this.register.revision;
  }

  view(): MeshView {
    return this.register.view(this.name);
  }

  start(hooks: RoleHooks): void {
    if (this.#server !== undefined) return;
    // Not only once the services run: a node that is removed must lose its peer in any case.
    this.#subscription ??= this.register.subscribe(hooks.onView);
    const { overlay4, overlay6 } = this.register.hub();
    this.#server = HubServer.start({
      register: this.register,
      enrolAddress: enrolServiceAddress(this.register.mesh()),
      overlayAddresses: [overlay4, overlay6],
      signing: this.signing,
      hubKey: this.#key,
      hooks: {
        onNode: (name, connected) => info(connected ? "node connected" : "node disconnected", { node: name }),
        onEvent: (event) => {
          if (event.kind === "failed") warn("hub service", { reason: event.message });
          else if (event.kind === "refused")
            warn("newcomer refused", { path: event.from, reason: event.message });
          else info(`node ${event.kind}`, { node: event.node });
        },
      },
    });
  }

  setFacts(facts: SelfFacts): void {
    this.register.setFacts(this.name, facts);
  }

  // A hub is reached by everyone directly; it has no pairs to report.
  report(): void {}

  invite(): void {}

  enrolments(): readonly Enrolment[] {
    return this.register.enrolments(wallMs());
  }

  observe(peers: readonly PeerState[]): void {
    const nowMs = wallMs();
    for (const peer of peers) {
      if (peer.lastHandshakeMs === undefined) continue;
      const node = this.register.nodeByKey(peer.publicKey);
      if (node === undefined) continue;
      this.heardMs.set(node.name, peer.lastHandshakeMs);
      if (!this.#spent.has(peer.publicKey)) {
        this.register.handshakeSeen(peer.publicKey);
        this.#spent.add(peer.publicKey);
      }
      if (peer.endpoint !== undefined && nowMs - peer.lastHandshakeMs < FRESH_MS)
        this.register.observe(node.name, peer.endpoint);
    }
  }

  /** removeNode removes a node from the register and from all pairs. */
  removeNode(name: string): void {
    this.register.removeNode(name);
  }

  async hubEndpoint(): Promise<undefined> {
    return undefined;
  }

  [Symbol.dispose](): void {
    this.#subscription?.[Symbol.dispose]();
    this.#server?.close();
    this.register.close();
  }
}
