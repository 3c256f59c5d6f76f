/**
 * Gossip: what two nodes tell each other of the register when they meet, so that a removal reaches all nodes while no hub is there. JSON lines
 * over TCP on the overlay; both sides say the same things, and the one that opened closes.
 *
 * ```
 * both   ─▶ have{version,epoch,revision,digest}     digest of the removals that it has
 * then, where they differ, both ─▶ ids{ids} ─▶ removals{list}    those that the other lacks
 * the older one ─▶ want        the newer one ─▶ loan{…} or none
 * ```
 * A state machine without socket, clock or file. Nothing here is believed: removals and loans prove themselves (removal.ts, loan.ts).
 */
import { z } from "zod";
import { type Loan, loanSchema } from "./loan.ts";
import {
  MAX_REMOVALS,
  type Removal,
  removalId,
  type Removals,
  removalsDigest,
  removalsSchema,
} from "./removal.ts";

/** GOSSIP_VERSION is raised when nodes of two versions cannot understand each other. */
export const GOSSIP_VERSION = 1;

/** GOSSIP_LINE_BYTES bounds a line: a loan of a large register. */
export const GOSSIP_LINE_BYTES = 64 * 1024 * 1024;
/** SHORT_LINE_BYTES bounds any other: MAX_REMOVALS removals are half of it. What is longer is not even kept. */
export const SHORT_LINE_BYTES = 1024 * 1024;

const haveSchema = z.object({
  type: z.literal("have"),
  version: z.number().int(),
  epoch: z.string().max(64),
  revision: z.number().int().min(0),
  digest: z.string().max(64),
});

const gossipMessage = z.discriminatedUnion("type", [
  haveSchema,
  z.object({ type: z.literal("ids"), ids: z.array(z.string().max(16)).max(MAX_REMOVALS) }),
  z.object({ type: z.literal("removals"), list: removalsSchema }),
  z.object({ type: z.literal("want") }),
  z.object({ type: z.literal("none") }),
  loanSchema,
]);

/** GossipLocal is what this node has now. */
export interface GossipLocal {
  readonly epoch: string;
  readonly revision: number;
  readonly removals: Removals;
  /** Whether it takes a loan now: it costs memory, and who lent a wrong one is not asked again. */
  readonly borrows?: boolean;
  /** What it may lend to the node at the other end; undefined when there is nothing. */
  loan(): Loan | undefined;
}

/** What is still to come from the other side. */
type Awaited = "have" | "ids" | "removals" | "want" | "loan";

/** GossipSession is one connection. */
export interface GossipSession {
  /** This side opened it, and closes it. */
  readonly opener: boolean;
  readonly awaited: ReadonlySet<Awaited>;
  readonly ended: boolean;
}

/** GossipEffect is to be carried out in order. */
export type GossipEffect =
  | { readonly kind: "send"; readonly message: unknown }
  /** Heard, not yet believed. */
  | { readonly kind: "removals"; readonly removals: readonly Removal[] }
  | { readonly kind: "loan"; readonly loan: Loan }
  | { readonly kind: "close"; readonly reason?: string };

type Step = readonly [GossipSession, readonly GossipEffect[]];

/** startGossip begins; the opener speaks first. */
export function startGossip(opener: boolean, local: GossipLocal): Step {
  const session: GossipSession = { opener, awaited: new Set(["have"]), ended: false };
  return [session, opener ? [have(local)] : []];
}

/** stepGossip takes one line. */
export function stepGossip(session: GossipSession, text: string, local: GossipLocal): Step {
  if (session.ended) return [session, []];
  if (text.length > SHORT_LINE_BYTES && !session.awaited.has("loan"))
    return hangUp(session, "a message is too long");
  let message: z.output<typeof gossipMessage>;
  try {
    message = gossipMessage.parse(JSON.parse(text));
  } catch {
    return hangUp(session, "a message cannot be understood");
  }
  const kind: Awaited = message.type === "none" ? "loan" : message.type;
  // Each thing once: nobody can keep this node busy with one connection.
  if (!session.awaited.has(kind)) return hangUp(session, `${message.type} was not asked for`);
  const awaited = new Set(session.awaited);
  awaited.delete(kind);
  const effects: GossipEffect[] = [];
  switch (message.type) {
    case "have":
      if (message.version > GOSSIP_VERSION) return hangUp(session, "the other node is newer");
      effects.push(...onHave(session, message, local, awaited));
      break;
    case "ids": {
      const known = new Set(message.ids);
      const list = [...local.removals.values()].filter((removal) => !known.has(removalId(removal)));
      effects.push({ kind: "send", message: { type: "removals", list } });
      break;
    }
    case "removals":
      if (message.list.length > 0) effects.push({ kind: "removals", removals: message.list });
      break;
    case "want":
      effects.push({ kind: "send", message: local.loan() ?? { type: "none" } });
      break;
    case "loan":
      effects.push({ kind: "loan", loan: message });
      break;
    case "none":
      break;
  }
  const done = session.opener && awaited.size === 0;
  if (done) effects.push({ kind: "close" });
  return [{ ...session, awaited, ended: done }, effects];
}

function onHave(
  session: GossipSession,
  other: z.output<typeof haveSchema>,
  local: GossipLocal,
  awaited: Set<Awaited>,
): GossipEffect[] {
  const effects: GossipEffect[] = session.opener ? [] : [have(local)];
  if (other.digest !== removalsDigest(local.removals)) {
    awaited.add("ids").add("removals");
    effects.push({
      kind: "send",
      message: { type: "ids", ids: [...local.removals.values()].map(removalId) },
    });
  }
  if (other.epoch === local.epoch && other.revision !== local.revision) {
    const older = local.revision < other.revision;
    if (older && local.borrows === false) return effects;
    awaited.add(older ? "loan" : "want");
    if (older) effects.push({ kind: "send", message: { type: "want" } });
  }
  return effects;
}

function have(local: GossipLocal): GossipEffect {
  const { epoch, revision, removals } = local;
  return {
    kind: "send",
    message: { type: "have", version: GOSSIP_VERSION, epoch, revision, digest: removalsDigest(removals) },
  };
}

function hangUp(session: GossipSession, reason: string): Step {
  return [{ ...session, ended: true }, [{ kind: "close", reason }]];
}
