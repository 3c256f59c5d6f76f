/**
 * What a hub hands to a newcomer that becomes a hub: the register's signing key, and where the log is. It goes through the tunnel,
 * and is sealed to the newcomer's own key besides, so that who has only the token, whose use the tunnel is, cannot read it.
 */
import { z } from "zod";
import { type PrivateKey, type PublicKey, SigningSecret } from "../net/mod.ts";
import { hkdf, seal, unseal } from "../sys/mod.ts";

/** HubSecret is what makes a node a hub. */
export interface HubSecret {
  readonly signing: SigningSecret;
  /** Where the register's keys are in etcd. */
  readonly prefix: string;
  /** etcd's endpoints as the other hub has them. */
  readonly etcd: readonly string[];
}

const schema = z.object({
  signing: z.string().transform((text) => SigningSecret.fromBase64(text)),
  prefix: z.string().max(256),
  etcd: z.array(z.string().max(256)).max(16),
});

interface Keys {
  readonly own: PrivateKey;
  readonly peer: PublicKey;
}

function sealKey({ own, peer }: Keys): Uint8Array {
  return hkdf(own.agree(peer), "causeway enrol 1 hub secret", 32);
}

/** sealHubSecret returns base64 that only the holder of the other key can read. */
export function sealHubSecret(keys: Keys, secret: HubSecret): string {
  const { signing, prefix, etcd } = secret;
  const json = JSON.stringify({ signing: signing.toFile().trim(), prefix, etcd });
  return Buffer.from(seal(sealKey(keys), Buffer.from(json))).toString("base64");
}

/** openHubSecret reads what sealHubSecret made; throws when it was not made for these keys. */
export function openHubSecret(keys: Keys, text: string): HubSecret {
  try {
    const json = Buffer.from(unseal(sealKey(keys), Buffer.from(text, "base64"))).toString("utf8");
    return schema.parse(JSON.parse(json));
  } catch {
    throw new Error("what the hub handed over cannot be opened; join again");
  }
}
