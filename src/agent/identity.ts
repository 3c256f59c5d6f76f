/** Who this node is: its private key, made here and never leaving, in a file of mode 0600. */
import { noteMachine } from "../doctor/mod.ts";
import { PrivateKey, Secret, SigningSecret } from "../net/mod.ts";
import { Rtnetlink } from "../netlink/mod.ts";
import { readText, writeAtomic } from "../sys/mod.ts";
import { STATE } from "./paths.ts";

const NODE_KEY = `${STATE}/node.key`;
const NODE_SECRET = `${STATE}/node.key.secret`;
const SIGNING_KEY = `${STATE}/register.key`;

/** nodeKey returns the node's key, made at the first call and stored before it is returned. */
export function nodeKey(): PrivateKey {
  const stored = readText(NODE_KEY);
  if (stored !== undefined) return PrivateKey.fromBase64(stored);
  const made = PrivateKey.random();
  writeAtomic(NODE_KEY, made.toFile(), 0o600);
  noteThisMachine();
  return made;
}

/** A copy of the machine has the same key: by its network cards it is known as one. */
function noteThisMachine(): void {
  using route = Rtnetlink.open();
  noteMachine(STATE, route.links());
}

/** takeNodeKey makes a key this node's that another tool made for it. */
export function takeNodeKey(key: PrivateKey): void {
  writeAtomic(NODE_KEY, key.toFile(), 0o600);
  noteThisMachine();
}

/** storeNodeSecret keeps what this node and its hubs have in common in secret since it joined, for pre-shared keys. */
export function storeNodeSecret(secret: Secret): void {
  writeAtomic(NODE_SECRET, secret.toFile(), 0o600);
}

/** nodeSecret returns it; undefined on a node that joined with a token of an older version. */
export function nodeSecret(): Secret | undefined {
  const stored = readText(NODE_SECRET);
  return stored === undefined ? undefined : Secret.fromBase64(stored);
}

/** takeSigningKey makes the key of a register this hub's too, which another hub made. */
export function takeSigningKey(key: SigningSecret): void {
  writeAtomic(SIGNING_KEY, key.toFile(), 0o600);
}

/** signingKey returns the key with which a hub signs its register; made at the first call. */
export function signingKey(): SigningSecret {
  const stored = readText(SIGNING_KEY);
  if (stored !== undefined) return SigningSecret.fromBase64(stored);
  const made = SigningSecret.random();
  writeAtomic(SIGNING_KEY, made.toFile(), 0o600);
  return made;
}
