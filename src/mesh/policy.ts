/**
 * Policy: which nodes may talk, as `Mesh.spec.rules` says it. Without rules all may; hubs may always be talked to, since without them
 * there is no register and no relay.
 *
 * A node is told only of nodes that it may talk to, and WireGuard answers only keys that it knows: so a pair that no rule allows has
 * no tunnel on either side, and no hub relays for it.
 */
import type { PublicKey } from "../net/mod.ts";
import { formatRule, type Mesh, type Node, nodeRole, type Rule, selects } from "../resources/mod.ts";

/** PolicyNode is what rules can see of a node. */
export type PolicyNode = Pick<Node, "name" | "hub" | "role" | "site">;

type Policy = Pick<Mesh, "rules">;

/** ruleFor returns the first rule that allows a pair, in either direction. */
export function ruleFor(rules: readonly Rule[], a: PolicyNode, b: PolicyNode): Rule | undefined {
  return rules.find(
    ({ from, to }) => (selects(from, a) && selects(to, b)) || (selects(from, b) && selects(to, a)),
  );
}

/** mayTalk tells whether two nodes may have a tunnel; it does not matter which comes first. */
export function mayTalk(mesh: Policy, a: PolicyNode, b: PolicyNode): boolean {
  return a.hub || b.hub || mesh.rules === undefined || ruleFor(mesh.rules, a, b) !== undefined;
}

/** explainTalk says in one sentence why two nodes may talk or not. */
export function explainTalk(mesh: Policy, a: PolicyNode, b: PolicyNode): string {
  if (mesh.rules === undefined) return "the mesh has no rules: all nodes may talk";
  const hub = a.hub ? a : b.hub ? b : undefined;
  if (hub !== undefined) return `${hub.name} is a hub, and hubs may always be talked to`;
  const rule = ruleFor(mesh.rules, a, b);
  if (rule !== undefined) return `rule ${mesh.rules.indexOf(rule) + 1} allows it: ${formatRule(rule)}`;
  const shown = (node: PolicyNode) =>
    `${node.name} (role ${nodeRole(node)}${node.site === undefined ? "" : `, site ${node.site}`})`;
  return `none of the mesh's ${mesh.rules.length} rules allows ${shown(a)} and ${shown(b)} to talk; see causeway mesh show`;
}

/** Classified is a node or an external peer; `id` tells apart what may have the same name. */
export type Classified = PolicyNode & { readonly id?: string };

/** TalkClasses sorts nodes so that rules treat all of one class alike. */
export interface TalkClasses {
  /** Class of each node by `id`, or else by name; classes are numbered from 0. */
  readonly classOf: ReadonlyMap<string, number>;
  readonly count: number;
  /** Pairs of classes whose nodes may talk, `a <= b`; a class may be in a pair with itself. */
  readonly allowed: readonly (readonly [a: number, b: number])[];
}

/** talkClasses returns the fewest classes that say the same as mayTalk of every pair. The numbers follow the order of the nodes. */
export function talkClasses(mesh: Policy, nodes: readonly Classified[]): TalkClasses {
  const { rules } = mesh;
  const byRules = group(nodes, (node) => fingerprint(rules, node));
  const examples = byRules.groups.map((members) => members[0] as PolicyNode);
  // Nodes that different rules fit may still have the same partners.
  const rows = examples.map((a) => examples.map((b) => (mayTalk(mesh, a, b) ? "1" : "0")).join(""));
  const merged = group([...examples.keys()], (index) => rows[index] as string);
  const classOf = new Map(
    nodes.map((node, i) => [node.id ?? node.name, merged.of[byRules.of[i] as number] as number] as const),
  );
  const allowed: [number, number][] = [];
  for (const [a, [first]] of merged.groups.entries())
    for (const [b, [second]] of merged.groups.entries())
      if (a <= b && rows[first as number]?.[second as number] === "1") allowed.push([a, b]);
  return { classOf, count: merged.groups.length, allowed };
}

/** relayPolicy returns whom a hub relays for: the class of each key, and which classes may talk. */
export function relayPolicy(
  mesh: Policy,
  nodes: readonly (PolicyNode & Pick<Node, "publicKey" | "nextPublicKey">)[],
): {
  readonly classes: ReadonlyMap<PublicKey, number>;
  /** By the next key of nodes that change theirs, the present one. */
  readonly successors: ReadonlyMap<PublicKey, PublicKey>;
  readonly allow: readonly (readonly [a: number, b: number])[];
} {
  const { classOf, allowed } = talkClasses(mesh, nodes);
  const classes = new Map<PublicKey, number>();
  for (const { name, publicKey, nextPublicKey } of nodes)
    for (const key of [publicKey, nextPublicKey])
      if (key !== undefined) classes.set(key, classOf.get(name) as number);
  const successors = new Map(
    nodes.flatMap(({ publicKey, nextPublicKey }) =>
      nextPublicKey === undefined ? [] : [[nextPublicKey, publicKey] as const],
    ),
  );
  return { classes, successors, allow: allowed };
}

/** treatedAlike tells whether every rule fits both nodes or neither: then they may talk to the same others. */
export function treatedAlike(mesh: Policy, a: PolicyNode, b: PolicyNode): boolean {
  return fingerprint(mesh.rules, a) === fingerprint(mesh.rules, b);
}

/** All that rules can tell of a node. Without rules hubs are like others. */
function fingerprint(rules: readonly Rule[] | undefined, node: PolicyNode): string {
  if (rules === undefined) return "";
  const fits = rules.map(({ from, to }) => (selects(from, node) ? 1 : 0) + (selects(to, node) ? 2 : 0));
  return `${node.hub ? "h" : "n"}${fits.join("")}`;
}

/** group sorts values by a text, in order of first appearance; `of` has the group's number of each value. */
function group<T>(values: readonly T[], text: (value: T) => string) {
  const numbers = new Map<string, number>();
  const groups: T[][] = [];
  const of = values.map((value) => {
    const key = text(value);
    const number = numbers.get(key) ?? numbers.size;
    numbers.set(key, number);
    (groups[number] ??= []).push(value);
    return number;
  });
  return { of, groups };
}
