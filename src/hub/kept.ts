/**
 * What a member keeps beside its own state, so that it is right also while no hub is there: removals, a register that another node lent
 * it, and when it last heard a hub. One file; none of it is secret.
 */
import { z } from "zod";
import type { PublicKey, SigningKey } from "../net/mod.ts";
import { formatDurationMs } from "../net/mod.ts";
import type { Mesh } from "../resources/mod.ts";
import type { GossipLocal } from "./gossip.ts";
import { borrow, type Loan, loanOf, loanSchema, mayLend } from "./loan.ts";
import { mergeRemovals, type Removal, type Removals, parseRemovals } from "./removal.ts";
import { withoutRemoved } from "./removed-view.ts";
import { type Entries, type SignedState, StateError } from "./signed-state.ts";
import { type MeshView, meshView } from "./view.ts";

/** Hearing a hub is written down at most so often; a restart makes a node no older than this too old. */
const HEARD_STORE_MS = 60_000;

const fileSchema = z.object({
  heardMs: z.number().int().min(0).optional(),
  removals: z.array(z.unknown()).optional(),
  loan: loanSchema.optional(),
});

/** SnapshotAge is how long ago a hub confirmed what a node knows, by this node's own clock. */
export interface SnapshotAge {
  readonly ageMs: number;
  /** `old`: more than half of the limit; `expired`: the node talks to hubs only. */
  readonly state: "fresh" | "old" | "expired";
}

/** snapshotAge judges an age by Mesh.spec.snapshotMaxAge; without one it is always fresh. */
export function snapshotAge(
  mesh: Pick<Mesh, "snapshotMaxAgeMs">,
  heardMs: number,
  wallMs: number,
): SnapshotAge {
  const ageMs = Math.max(0, wallMs - heardMs);
  const limitMs = mesh.snapshotMaxAgeMs;
  if (limitMs === undefined || ageMs <= limitMs / 2) return { ageMs, state: "fresh" };
  return { ageMs, state: ageMs <= limitMs ? "old" : "expired" };
}

/** explainAge says what an age means, or undefined while there is nothing to say. */
export function explainAge(mesh: Pick<Mesh, "snapshotMaxAgeMs">, age: SnapshotAge): string | undefined {
  if (age.state === "fresh" || mesh.snapshotMaxAgeMs === undefined) return undefined;
  const limit = formatDurationMs(mesh.snapshotMaxAgeMs);
  const heard = `no hub was heard for ${formatDurationMs(Math.floor(age.ageMs / 1000) * 1000)}`;
  return age.state === "old"
    ? `${heard}; after ${limit} (snapshotMaxAge) this node talks to hubs only`
    : `${heard}, more than ${limit} (snapshotMaxAge): this node talks to hubs only until it hears one`;
}

/** Kept holds it, and calls `save` with the file's text after each change. */
export class Kept {
  readonly #trust: { readonly signingKey: SigningKey; readonly node: string };
  readonly #save: (text: string) => void;
  #signed: SignedState;
  #removals: Removals = new Map();
  #loan: { readonly loan: Loan; readonly entries: Entries } | undefined;
  #heardMs: number;
  #storedMs: number;

  constructor(options: {
    readonly signingKey: SigningKey;
    readonly node: string;
    readonly signed: SignedState;
    /** What `save` was given last. */
    readonly text?: string | undefined;
    readonly wallMs: number;
    readonly save: (text: string) => void;
  }) {
    const { signingKey, node, signed, text, wallMs, save } = options;
    this.#trust = { signingKey, node };
    this.#signed = signed;
    this.#save = save;
    const stored = readFile(text);
    // A clock that was wrong before must not make this node believe itself fresh for ever.
    this.#heardMs = Math.min(stored.heardMs ?? wallMs, wallMs);
    this.#storedMs = this.#heardMs;
    if (stored.loan !== undefined) this.#borrow(stored.loan);
    this.#removals = parseRemovals(JSON.stringify(stored.removals ?? []), this.#removalTrust());
  }

  #removalTrust() {
    return { signingKey: this.#trust.signingKey, operatorKey: this.#mesh().operatorKey };
  }

  #mesh(): Mesh {
    return meshView(new Map([["mesh", this.entries().get("mesh") as string]]), this.#trust.node).mesh;
  }

  /** Removals that this node knows. */
  get removals(): Removals {
    return this.#removals;
  }

  /** Number of the last change that this node knows of, its own state's or the loan's. */
  get revision(): number {
    return this.#loan?.loan.header.revision ?? this.#signed.header.revision;
  }

  /** entries returns the register's content: the loan's while it is newer than what a hub has told. */
  entries(): Entries {
    return this.#loan?.entries ?? this.#signed.entries;
  }

  /** told is called with each state that a hub tells, after it was stored. */
  told(signed: SignedState): void {
    this.#signed = signed;
    const { header } = signed;
    const loan = this.#loan?.loan.header;
    if (loan === undefined) return;
    if (loan.epoch === header.epoch && loan.revision > header.revision) return;
    this.#loan = undefined;
    this.#store();
  }

  /** heard is called when a hub has said anything: what this node knows is what the hub knows. */
  heard(wallMs: number): void {
    this.#heardMs = wallMs;
    if (Math.abs(wallMs - this.#storedMs) >= HEARD_STORE_MS) this.#store();
  }

  /** addRemovals takes those that hold; returns the new ones. */
  addRemovals(heard: readonly Removal[]): readonly Removal[] {
    const { removals, added } = mergeRemovals(this.#removals, heard, this.#removalTrust());
    if (removals === this.#removals) return [];
    this.#removals = removals;
    this.#store();
    return added;
  }

  /** isNewer tells whether a loan would be news. */
  isNewer({ header }: Loan): boolean {
    return header.epoch !== this.#signed.header.epoch || header.revision > this.revision;
  }

  /** addLoan takes a newer register from another node; false when it is none, or is wrong. */
  addLoan(loan: Loan): boolean {
    if (!this.isNewer(loan) || !this.#borrow(loan)) return false;
    this.#store();
    return true;
  }

  #borrow(loan: Loan): boolean {
    try {
      this.#loan = { loan, entries: borrow(this.#signed, loan, this.#trust) };
      return true;
    } catch (error) {
      if (!(error instanceof StateError)) throw error;
      // A stored loan may have been overtaken meanwhile; one that is heard and wrong is not taken, and that is all.
      return false;
    }
  }

  /** filter takes out of a view what was removed, and all but hubs when no hub was heard for too long. `ownKey` is the key that this node uses. */
  filter(view: MeshView, ownKey: PublicKey, wallMs: number): MeshView {
    const left = withoutRemoved(view, this.#removals, ownKey);
    if (this.age(view.mesh, wallMs).state !== "expired") return left;
    return { ...left, nodes: left.nodes.filter((node) => node.hub) };
  }

  /** age says how old what this node knows is. */
  age(mesh: Pick<Mesh, "snapshotMaxAgeMs">, wallMs: number): SnapshotAge {
    return snapshotAge(mesh, this.#heardMs, wallMs);
  }

  /** local returns what gossip with a peer is about; `view` is this node's. */
  local(view: MeshView, peer: string): GossipLocal {
    return {
      epoch: this.#signed.header.epoch,
      revision: this.revision,
      removals: this.#removals,
      loan: () => {
        if (!mayLend(view, peer)) return undefined;
        return this.#loan?.loan ?? loanOf(this.#signed);
      },
    };
  }

  #store(): void {
    this.#storedMs = this.#heardMs;
    this.#save(
      `${JSON.stringify({
        heardMs: this.#heardMs,
        removals: [...this.#removals.values()],
        ...(this.#loan === undefined ? {} : { loan: this.#loan.loan }),
      })}\n`,
    );
  }
}

/** Damage costs what is damaged, never the membership. */
function readFile(text: string | undefined): z.output<typeof fileSchema> {
  if (text === undefined) return {};
  try {
    return fileSchema.parse(JSON.parse(text));
  } catch {
    return {};
  }
}
