/** A member's role: it follows the hub's register, keeps a signed copy, and goes on from the copy when the hub is away. */
import { formatCache, HubClient, type MeshView, meshView, parseCache, type SignedState } from "../hub/mod.ts";
import type { Enrolment } from "../mesh/mod.ts";
import { type Endpoint, parseSigningKey, type SigningKey } from "../net/mod.ts";
import { monotonicMs, readText, writeAtomic } from "../sys/mod.ts";
import { resolveInTurn } from "./endpoint.ts";
import { info, warn } from "./log.ts";
import { STATE } from "./paths.ts";
import type { Role, RoleHooks, SelfFacts } from "./role.ts";
import { VERSION } from "./version.ts";

const MEMBERSHIP = `${STATE}/member.json`;
const COPY = `${STATE}/register.json`;

/** With the hub away for so long, its endpoints are resolved anew and the next one is tried. */
const RESOLVE_AGAIN_MS = 20_000;
/** The same while no endpoint could be resolved at all. */
const RESOLVE_RETRY_MS = 5_000;

/** Membership is what a node keeps of its token: nothing of it is secret. */
export interface Membership {
  readonly name: string;
  readonly signingKey: SigningKey;
  /** Of the hub, `host:port`, best first; used until the register says others. */
  readonly endpoints: readonly string[];
}

/** storeMembership makes this node a member, durably. */
export function storeMembership(membership: Membership, state: SignedState): void {
  writeAtomic(COPY, formatCache(state), 0o600);
  writeAtomic(MEMBERSHIP, `${JSON.stringify(membership)}\n`, 0o600);
}

/** loadMembership returns what was stored, or undefined on a node that has not joined. */
export function loadMembership(): Membership | undefined {
  const text = readText(MEMBERSHIP);
  if (text === undefined) return undefined;
  const stored = JSON.parse(text) as { name: string; signingKey: string; endpoints: string[] };
  return { ...stored, signingKey: parseSigningKey(stored.signingKey) };
}

/** MemberRole owns the connection to the hub. */
export class MemberRole implements Role {
  readonly hub = false;
  readonly #membership: Membership;
  #signed: SignedState;
  #view: MeshView;
  #facts: SelfFacts = { local: [], mtuBytes: 1280 };
  #client: HubClient | undefined;
  #endpoint: Endpoint | undefined;
  #resolvedMs = Number.NEGATIVE_INFINITY;
  #turn = 0;

  constructor(membership: Membership) {
    this.#membership = membership;
    const text = readText(COPY);
    if (text === undefined)
      throw new Error(
        "Cannot start as a member: the copy of the register is missing; restore it, or leave (--force) and join again",
      );
    this.#signed = parseCache(text, { signingKey: membership.signingKey, node: membership.name });
    this.#view = meshView(this.#signed.entries, membership.name);
  }

  get name(): string {
    return this.#membership.name;
  }

  get revision(): number {
    return this.#signed.header.revision;
  }

  get connected(): boolean {
    return this.#client?.connected ?? false;
  }

  view(): MeshView {
    return this.#view;
  }

  start(hooks: RoleHooks): void {
    const hub = this.#view.nodes.find((node) => node.hub);
    if (this.#client !== undefined || hub === undefined) return;
    this.#client = HubClient.start({
      node: this.name,
      hubAddresses: [hub.overlay4, hub.overlay6],
      signingKey: this.#membership.signingKey,
      signed: this.#signed,
      facts: this.#hubFacts(),
      hooks: {
        onState: (view, signed) => {
          this.#signed = signed;
          this.#view = view;
          // A copy that cannot be written costs time after the next restart, not the network now.
          try {
            writeAtomic(COPY, formatCache(signed), 0o600);
          } catch (error) {
            warn("cannot store the copy of the register", { error });
          }
          hooks.onView();
        },
        onProbe: hooks.onInvited,
        onLeft: hooks.onGone,
        onConnection: (connected, reason) => {
          if (connected) info("hub connected");
          else warn("hub away", { reason: reason ?? "" });
          hooks.onConnection(connected, reason);
        },
      },
    });
  }

  setFacts(facts: SelfFacts): void {
    this.#facts = facts;
    this.#client?.setFacts(this.#hubFacts());
  }

  #hubFacts() {
    return { local: [...this.#facts.local], mtuBytes: this.#facts.mtuBytes, version: VERSION };
  }

  report(peer: string, up: boolean): void {
    this.#client?.report(peer, up);
  }

  invite(peer: string): void {
    this.#client?.invite(peer);
  }

  enrolments(): readonly Enrolment[] {
    return [];
  }

  observe(): void {}

  async hubEndpoint(): Promise<Endpoint | undefined> {
    const nowMs = monotonicMs();
    const pauseMs = this.#endpoint === undefined ? RESOLVE_RETRY_MS : RESOLVE_AGAIN_MS;
    if (this.connected || nowMs - this.#resolvedMs <= pauseMs) return this.#endpoint;
    this.#resolvedMs = nowMs;
    const known = this.#view.mesh.endpoints;
    const endpoints = known.length > 0 ? known : this.#membership.endpoints;
    try {
      this.#endpoint = await resolveInTurn(endpoints, this.#turn++);
    } catch (error) {
      warn("cannot resolve the hub's endpoint", { error });
    }
    return this.#endpoint;
  }

  /** leave asks the hub to remove this node; rejects when the hub does not answer. */
  async leave(): Promise<void> {
    if (this.#client === undefined)
      throw new Error("Cannot leave the mesh: the tunnel is not up yet; try again");
    await this.#client.leave();
  }

  [Symbol.dispose](): void {
    this.#client?.close();
  }
}
