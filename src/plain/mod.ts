/**
 * plain: WireGuard without Causeway at the other end. A whole mesh as files for wg-quick(8), remade without changing a key, and the
 * one file of an external peer.
 *
 * Pure but for the keys that it makes: reading and writing folders is the command line's.
 *
 * @example
 * ```ts
 * const mesh = updated(undefined, { prefixes: [parsePrefix("10.6.0.0/24")], endpoints: ["example.com:15220"], peers: 3 });
 * for (const [name, file] of filesOf(mesh)) formatWgQuick(file);
 * ```
 */
export { changesBetween, type MachineChange } from "./changes.ts";
export { importOf, type ImportedMesh, type ImportedPeer } from "./import.ts";
export {
  addressesOf,
  filePath,
  formatMesh,
  type Machine,
  parseMesh,
  type PlainMesh,
  topologies,
} from "./mesh.ts";
export { filesOf, pairSecret } from "./topology.ts";
export { updated, type Wishes, without } from "./update.ts";
export { formatWgQuick, INTERFACE_NAME, type WgQuickFile, type WgQuickPeer } from "./wg-quick.ts";
