/** What `(hidden)` stands for: the secret that the same place of the configuration before has. So what `get` prints can be given to `set`. */
import { keyPath } from "./path.ts";
import type { ConfigProblem } from "./problem.ts";
import type { Entries, Members, Struct, Value } from "./schema-node.ts";
import { HIDDEN, KEPT } from "./secret-bytes.ts";

/** keepSecrets returns `next` with the secrets of `before` where it says `(hidden)`, and adds a problem where there is none. */
export function keepSecrets(
  members: Members,
  next: Struct,
  at: { readonly before: Struct | undefined; readonly path: string; readonly problems: ConfigProblem[] },
): Struct {
  const { before, path, problems } = at;
  if (next === before) return next;
  const values: Record<string, Value> = { ...next };
  for (const [name, node] of Object.entries(members)) {
    const value = next[name];
    const old = before?.[name];
    const here = `${path}/${name}`;
    if (value === undefined || value === old) continue;
    if (node.kind === "container") {
      values[name] = keepSecrets(node.members, value as Struct, {
        before: old as Struct | undefined,
        path: here,
        problems,
      });
    } else if (node.kind === "list") {
      const entries = [...(value as Entries)].map(([key, entry]) => {
        const earlier = (old as Entries | undefined)?.get(key);
        if (entry === earlier) return [key, entry] as const;
        const below = { before: earlier, path: `${here}${keyPath(node, key)}`, problems };
        return [key, keepSecrets(node.members, entry, below)] as const;
      });
      values[name] = new Map(entries);
    } else if (value === KEPT) {
      if (old === undefined)
        problems.push({
          path: here,
          value: HIDDEN,
          rule: "keeps a secret that is not there; write its digits",
        });
      values[name] = old;
    }
  }
  return values;
}
