/** Pre-shared keys of the external peers that this hub carries: files of mode 0600 beside the register, which knows only that there is one. */
import { Secret } from "../net/mod.ts";
import { listDirectory, readText, removeTree, writeAtomic } from "../sys/mod.ts";
import { warn } from "./log.ts";
import { STATE } from "./paths.ts";

const FOLDER = `${STATE}/register.psk`;

/** What the folder holds: it is asked for at every change of the mesh. */
let known: ReadonlyMap<string, Secret> | undefined;

/** storePeerKey keeps the key of a peer; durable when it returns. */
export function storePeerKey(peer: string, key: Secret): void {
  writeAtomic(`${FOLDER}/${peer}`, key.toFile(), 0o600);
  known = undefined;
}

/** removePeerKey forgets the key of a peer, if there is one. */
export function removePeerKey(peer: string): void {
  removeTree(`${FOLDER}/${peer}`);
  known = undefined;
}

/** peerKeys returns all keys by name of the peer; one that cannot be read is left out, and its peer is not carried. */
export function peerKeys(): ReadonlyMap<string, Secret> {
  known ??= readKeys();
  return known;
}

function readKeys(): ReadonlyMap<string, Secret> {
  const keys = new Map<string, Secret>();
  for (const peer of listDirectory(FOLDER)) {
    if (peer.endsWith(".new")) continue;
    try {
      keys.set(peer, Secret.fromBase64(readText(`${FOLDER}/${peer}`) ?? ""));
    } catch (error) {
      warn("cannot read the pre-shared key of a peer", { peer, error });
    }
  }
  return keys;
}
