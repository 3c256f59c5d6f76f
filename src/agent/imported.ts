/** A generated mesh of plain WireGuard as the beginning of this one: what `init --from` hands over, and how it comes into the register. */
import { z } from "zod";
import type { Registrar } from "../hub/mod.ts";
import { parsePublicKey, PrivateKey, Secret } from "../net/mod.ts";
import { storePeerKey } from "./peer-keys.ts";

const key = z.string().max(64);
const number = z.number().int().min(1);

/** importedSchema reads what the command line found in the folder. It holds keys, and goes nowhere but to the agent. */
export const importedSchema = z.object({
  hub: z.object({ name: z.string().max(253), number, privateKey: key }),
  peers: z
    .array(
      z.object({
        name: z.string().max(253),
        number,
        publicKey: key,
        families: z
          .array(z.union([z.literal(4), z.literal(6)]))
          .min(1)
          .max(2),
        presharedKey: key.optional(),
      }),
    )
    .max(4096),
});

/** Imported is a generated mesh as it is handed over. */
export type Imported = z.output<typeof importedSchema>;

/** importedKey returns the key of the generated hub, which becomes this node's. */
export function importedKey(imported: Imported): PrivateKey {
  return PrivateKey.fromBase64(imported.hub.privateKey);
}

/** addImported makes all other machines external peers of this hub, with the addresses and keys that they have. */
export async function addImported(
  registrar: Registrar,
  { hub, peers }: Imported,
  hubName: string,
): Promise<void> {
  for (const { name, publicKey, families, presharedKey, ...peer } of peers) {
    if (peer.number === hub.number) throw new Error(`Cannot take over ${name}: it has the hub's number`);
    if (presharedKey !== undefined) storePeerKey(name, Secret.fromBase64(presharedKey));
    await registrar.addPeer({
      name,
      number: peer.number,
      publicKey: parsePublicKey(publicKey),
      hub: hubName,
      families,
      allowed: [],
      presharedKey: presharedKey !== undefined,
    });
  }
}
