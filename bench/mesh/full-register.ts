/**
 * The register of a large mesh, written as its hub would have: each node has registered through a token and was heard once. What nodes have said of
 * themselves, and where the hub has seen them, is known too, as after a restart.
 */
import { writeFileSync } from "node:fs";
import { FactBook, Register, Registrar, tokenUse } from "../../src/hub/mod.ts";
import type { StateHeader } from "../../src/hub/signed-state.ts";
import { Snapshots } from "../../src/hub/snapshot.ts";
import { type Endpoint, PrivateKey, SigningSecret } from "../../src/net/mod.ts";
import type { Node } from "../../src/resources/mod.ts";
import { readText, wallMs } from "../../src/sys/mod.ts";

const USES = 256;
const TOKEN_MS = 3_600_000;
/** What a node tells of itself at rest. */
export const RTT_MS = 1;
export const MTU_BYTES = 1420;

/** Seat is a node's place in the register, with what it needs to come back as if it had been away for a moment. */
export interface Seat {
  readonly node: Node;
  readonly key: PrivateKey;
  readonly endpoint: Endpoint;
  /** Proves to the hub that the node has its state. */
  readonly header: StateHeader;
}

/** factsOf returns what a node says of itself. */
export function factsOf(endpoint: Endpoint, hub: string, rttMs: number = RTT_MS) {
  return {
    local: [endpoint],
    mapped: [],
    mtuBytes: MTU_BYTES,
    hubs: [{ hub, rttMs, mtuBytes: 1500 }],
    version: "0.1.0",
  };
}

/** fillRegister adds nodes to the register in a hub's folder, while its agent does not run. `endpointOf` says where each is. */
export async function fillRegister(
  folder: string,
  {
    count,
    hub,
    endpointOf,
  }: { readonly count: number; readonly hub: string; endpointOf(i: number): Endpoint },
): Promise<readonly Seat[]> {
  using register = Register.open(`${folder}/register.db`);
  using registrar = new Registrar(register);
  const signing = SigningSecret.fromBase64(readText(`${folder}/register.key`) ?? "");
  const keys: PrivateKey[] = [];
  const nodes: Node[] = [];
  while (nodes.length < count) {
    const nowMs = wallMs();
    const uses = Math.min(USES, count - nodes.length);
    const wish = { uses, nowMs, expiresAtMs: nowMs + TOKEN_MS, signingKey: signing.publicKey };
    const { token } = await registrar.createToken(wish);
    for (let use = 0; use < uses; use++) {
      const key = PrivateKey.random();
      const { address } = tokenUse(token, use);
      const name = `n${String(nodes.length + 1).padStart(5, "0")}`;
      const { publicKey } = key;
      nodes.push(await registrar.registerNode({ address, publicKey, name, endpoints: [] }, nowMs));
      await registrar.handshakeSeen(publicKey);
      keys.push(key);
    }
    // Of open tokens a hub bears fewer uses than such a mesh has nodes.
    await registrar.revokeToken(token.id);
  }
  const book = new FactBook();
  for (const [i, { name }] of nodes.entries()) {
    book.say(name, factsOf(endpointOf(i), hub), wallMs());
    book.observe(name, { hub, endpoint: endpointOf(i) }, wallMs());
  }
  writeFileSync(`${folder}/register.facts.json`, book.format(), { mode: 0o600 });
  const snapshots = new Snapshots(register, signing);
  const { epoch, revision } = register;
  return nodes.map((node, i) => {
    const since = { epoch, revision, node: node.name, digest: "", signature: "" };
    const { header } = snapshots.message(node.name, since);
    return { node, key: keys[i] as PrivateKey, endpoint: endpointOf(i), header };
  });
}
