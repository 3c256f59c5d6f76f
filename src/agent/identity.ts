/** Who this node is: its private key, made here and never leaving, in a file of mode 0600. */
import { PrivateKey, SigningSecret } from "../net/mod.ts";
import { readText, writeAtomic } from "../sys/mod.ts";
import { STATE } from "./paths.ts";

const NODE_KEY = `${STATE}/node.key`;
const SIGNING_KEY = `${STATE}/register.key`;

/** nodeKey returns the node's key, made at the first call and stored before it is returned. */
export function nodeKey(): PrivateKey {
  const stored = readText(NODE_KEY);
  if (stored !== undefined) return PrivateKey.fromBase64(stored);
  const made = PrivateKey.random();
  writeAtomic(NODE_KEY, made.toFile(), 0o600);
  return made;
}

/** signingKey returns the key with which a hub signs its register; made at the first call. */
export function signingKey(): SigningSecret {
  const stored = readText(SIGNING_KEY);
  if (stored !== undefined) return SigningSecret.fromBase64(stored);
  const made = SigningSecret.random();
  writeAtomic(SIGNING_KEY, made.toFile(), 0o600);
  return made;
}
