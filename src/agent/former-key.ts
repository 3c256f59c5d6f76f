/** The key that this hub had before its present one: a file of mode 0600, as long as the hub answers to it. */
import { z } from "zod";
import { PrivateKey } from "../net/mod.ts";
import { readText, removeTree, writeAtomic } from "../sys/mod.ts";
import { nodeKey } from "./identity.ts";
import { STATE } from "./paths.ts";

const fileSchema = z.object({ key: z.string(), untilMs: z.number(), tokens: z.array(z.string()) });
const FORMER = `${STATE}/node.key.former`;

/** FormerKey is the key, and what it is kept for. */
export interface FormerKey {
  readonly key: PrivateKey;
  /** Until when it was the hub's only one, milliseconds since 1970 by this machine's clock. */
  readonly untilMs: number;
  /** Tokens of that time: their text names the key. */
  readonly tokens: readonly string[];
}

/** storeFormerKey keeps it; durable when it returns. */
export function storeFormerKey({ key, ...rest }: FormerKey): void {
  writeAtomic(FORMER, `${JSON.stringify({ key: key.toFile().trim(), ...rest })}\n`, 0o600);
}

/** formerKey returns it; undefined when there is none, also in the moment before the present one takes its place. */
export function formerKey(): FormerKey | undefined {
  const text = readText(FORMER);
  if (text === undefined) return undefined;
  const former = parseFormer(text);
  return former.key.publicKey === nodeKey().publicKey ? undefined : former;
}

/** What the parser says of a damaged file may hold some of the key: it is not passed on. */
export function parseFormer(text: string): FormerKey {
  try {
    const { key, ...rest } = fileSchema.parse(JSON.parse(text));
    return { ...rest, key: PrivateKey.fromBase64(key) };
  } catch {
    throw new Error(
      `Cannot read ${FORMER}: it is damaged; put it back from a backup, or remove it: whoever knows this hub by its former key only has to be joined anew`,
    );
  }
}

/** removeFormerKey forgets it. */
export function removeFormerKey(): void {
  removeTree(FORMER);
}
