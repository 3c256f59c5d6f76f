/**
 * Joining tokens: all that a newcomer needs to reach the hub through its one UDP port, and to trust what it answers.
 *
 * ```
 * cw1.<base64url of canonical JSON, then the first 4 bytes of its SHA-256>
 *
 * seed ──HKDF "use N key"──▶ WireGuard key pair of use N      the hub keeps the public key …
 *      └─HKDF "use N address"─▶ address in the enrolment prefix   … and the address; never the seed
 * ```
 * Each use is a WireGuard peer of its own at the hub, so that several newcomers at once all get through. The token is a secret
 * until it is spent: who has it may register one node per use. It opens nothing else.
 */
import { z } from "zod";
import {
  type Ip,
  ip,
  parsePrefix,
  parsePublicKey,
  parseSigningKey,
  type Prefix,
  PrivateKey,
  type PublicKey,
  publicKeyBytes,
  Secret,
  type SigningKey,
  formatPrefix,
} from "../net/mod.ts";
import {
  canonicalJson,
  hostPortSchema,
  type Json,
  labelSchema,
  nameProblem,
  present,
  siteSchema,
  tlsPinSchema,
} from "../resources/mod.ts";
import { equalBytes, hkdf, sha256 } from "../sys/mod.ts";

/** MAX_USES is how many nodes one token can let in. */
export const MAX_USES = 256;

const START = "cw1.";
/** Longer texts are no tokens of ours. */
const MAX_TEXT = 8192;
const CHECK_BYTES = 4;
/** Hubs of a token beside the first. */
export const MAX_HUBS = 15;

/** TokenTls says how a hub is reached by TLS, where UDP is blocked. */
export interface TokenTls {
  /** TCP port. */
  readonly port: number;
  /** The hash of the hub's TLS key; absent: its certificate is for its name, by an authority. */
  readonly pin?: string;
}

/** TokenHub is another hub through which a newcomer may register. */
export interface TokenHub {
  readonly endpoints: readonly string[];
  readonly key: PublicKey;
  /** Absent: it does not take TLS. */
  readonly tls?: TokenTls;
}

/** Token is the parsed form. */
export interface Token {
  readonly id: string;
  /** The mesh's name, for messages. */
  readonly mesh: string;
  /** `host:port` of the hub, best first. */
  readonly endpoints: readonly string[];
  readonly hubKey: PublicKey;
  /** How that hub is reached by TLS; absent: it is not. */
  readonly tls?: TokenTls;
  /** Further hubs, in the order in which they are tried. */
  readonly hubs?: readonly TokenHub[];
  readonly signingKey: SigningKey;
  readonly enrol6: Prefix;
  readonly seed: Secret;
  readonly uses: number;
  /** Milliseconds since 1970, the hub's clock; for messages only, the hub decides. */
  readonly expiresAtMs: number;
  /** The one existing node that this token is for. */
  readonly node?: string;
  /** What the newcomer becomes; absent: `node`, or what the existing node is. Here for messages only, the hub decides. */
  readonly role?: string;
  /** Where the newcomer stands; absent: it may say so itself, unless a rule names that site. */
  readonly site?: string;
}

// Added later: older versions pass it over, and newer ones read tokens without it.
const tlsSchema = z
  .object({ port: z.number().int().min(1).max(65535), pin: tlsPinSchema.optional() })
  .transform(({ port, pin }): TokenTls => ({ port, ...(pin === undefined ? {} : { pin }) }))
  .optional();

const schema = z.object({
  id: z.string().regex(/^[0-9a-f]{8,32}$/),
  mesh: z.string().max(253),
  hub: z.array(hostPortSchema).min(1).max(8),
  key: z.string().transform(parsePublicKey),
  tls: tlsSchema,
  hubs: z
    .array(
      z.object({
        at: z.array(hostPortSchema).min(1).max(8),
        key: z.string().transform(parsePublicKey),
        tls: tlsSchema,
      }),
    )
    .max(MAX_HUBS)
    .optional(),
  sign: z.string().transform(parseSigningKey),
  enrol: z.string().transform(parsePrefix),
  seed: z.string().transform((text) => Secret.fromBase64(text)),
  uses: z.number().int().min(1).max(MAX_USES),
  until: z.number().int().positive(),
  node: z
    .string()
    .refine((name) => nameProblem(name) === undefined)
    .optional(),
  role: labelSchema.optional(),
  site: siteSchema.optional(),
});

/** formatToken returns the secret text. */
export function formatToken(token: Token): string {
  const json = canonicalJson(
    present({
      id: token.id,
      mesh: token.mesh,
      hub: [...token.endpoints],
      key: token.hubKey,
      tls: tlsJson(token.tls),
      hubs: token.hubs?.map((hub) =>
        present({ at: [...hub.endpoints], key: hub.key, tls: tlsJson(hub.tls) }),
      ),
      sign: token.signingKey,
      enrol: formatPrefix(token.enrol6),
      seed: token.seed.toFile().trim(),
      uses: token.uses,
      until: token.expiresAtMs,
      node: token.node,
      role: token.role,
      site: token.site,
    }),
  );
  const body = Buffer.from(json);
  return START + Buffer.concat([body, sha256(body).subarray(0, CHECK_BYTES)]).toString("base64url");
}

function tlsJson(tls: TokenTls | undefined): Json | undefined {
  return tls && present({ port: tls.port, pin: tls.pin });
}

/** parseToken reads a token; its errors never repeat the text. */
export function parseToken(text: string): Token {
  const trimmed = text.trim();
  if (!trimmed.startsWith(START))
    throw new Error(
      'Cannot read the token: it does not start with "cw1."; copy all of what `causeway token create` printed',
    );
  if (trimmed.length > MAX_TEXT || !/^[A-Za-z0-9_-]+$/.test(trimmed.slice(START.length)))
    throw new Error(
      "Cannot read the token: it holds characters that no token has; copy it again without line breaks",
    );
  const bytes = Buffer.from(trimmed.slice(START.length), "base64url");
  const body = bytes.subarray(0, -CHECK_BYTES);
  if (!equalBytes(sha256(body).subarray(0, CHECK_BYTES), bytes.subarray(-CHECK_BYTES)))
    throw new Error("Cannot read the token: a part is missing or changed; copy all of it again");
  let data: z.output<typeof schema>;
  try {
    data = schema.parse(JSON.parse(body.toString("utf8")));
  } catch {
    throw new Error(
      "Cannot read the token: its content is not known; install the version of causeway that made it",
    );
  }
  if (data.enrol.family !== 6 || data.enrol.length > 64)
    throw new Error("Cannot read the token: its enrolment network is not an IPv6 /64; make a new token");
  return {
    id: data.id,
    mesh: data.mesh,
    endpoints: data.hub,
    hubKey: data.key,
    ...(data.tls === undefined ? {} : { tls: data.tls }),
    ...(data.hubs === undefined
      ? {}
      : { hubs: data.hubs.map(({ at, key, tls }) => ({ endpoints: at, key, ...(tls && { tls }) })) }),
    signingKey: data.sign,
    enrol6: data.enrol,
    seed: data.seed,
    uses: data.uses,
    expiresAtMs: data.until,
    ...(data.node === undefined ? {} : { node: data.node }),
    ...(data.role === undefined ? {} : { role: data.role }),
    ...(data.site === undefined ? {} : { site: data.site }),
  };
}

/** tokenHubs returns all hubs of a token, the first to try first. */
export function tokenHubs(token: Pick<Token, "endpoints" | "hubKey" | "tls" | "hubs">): readonly TokenHub[] {
  const { endpoints, hubKey: key, tls, hubs = [] } = token;
  return [{ endpoints, key, ...(tls && { tls }) }, ...hubs];
}

/** TokenUse is what one newcomer speaks WireGuard with until it is registered. */
export interface TokenUse {
  readonly number: number;
  readonly privateKey: PrivateKey;
  readonly address: Ip;
}

/** tokenUse derives use `number`, from 0. */
export function tokenUse(token: Pick<Token, "seed" | "enrol6">, number: number): TokenUse {
  const seed = token.seed.reveal();
  const host = hkdf(seed, `causeway enrol 1 use ${number} address`, 8).reduce(
    (value, byte) => (value << 8n) | BigInt(byte),
    0n,
  );
  // The lowest 2^16 addresses are kept for services.
  const suffix = host < 0x10000n ? host + 0x10000n : host;
  return {
    number,
    privateKey: new PrivateKey(hkdf(seed, `causeway enrol 1 use ${number} key`, 32)),
    address: ip(6, token.enrol6.value | suffix),
  };
}

/** useSecret derives what a use and the hub have in common beside its keys; from it come pre-shared keys (pair-key.ts). */
export function useSecret(token: Pick<Token, "seed">, number: number): Secret {
  return new Secret(hkdf(token.seed.reveal(), `causeway enrol 1 use ${number} secret`, 32));
}

/**
 * useOrder returns the order in which a newcomer tries the uses. Where it starts and how it goes on depend on its key, so that
 * newcomers who meet at one use part at the next.
 */
export function useOrder(token: Pick<Token, "uses">, ownKey: PublicKey): readonly number[] {
  const digest = sha256("causeway enrol 1 first use", publicKeyBytes(ownKey));
  const view = new DataView(digest.buffer, digest.byteOffset);
  const first = view.getUint32(0) % token.uses;
  const strides = Array.from({ length: token.uses }, (_, i) => i + 1).filter((n) => gcd(n, token.uses) === 1);
  const stride = strides[view.getUint32(4) % strides.length] as number;
  return Array.from({ length: token.uses }, (_, i) => (first + i * stride) % token.uses);
}

function gcd(a: number, b: number): number {
  return b === 0 ? a : gcd(b, a % b);
}
