/** Sessions of a node's edge, with the fabric and with the host: what both may be configured with. */
import { z } from "zod";
import { formatDurationMs } from "../net/mod.ts";
import { type PolicyRule, policyJson, policySchema } from "./bgp-policy.ts";
import { type Json, present, withoutAbsent } from "./canonical.ts";
import { durationSchema, nameProblem, wholeNumber } from "./scalars.ts";

/** PasswordReference says where the password of TCP MD5 (RFC 2385) is; the password itself is in no resource. */
export type PasswordReference =
  /** A file on the node, readable by its owner alone. */
  | { readonly file: string }
  /** A Secret of Kubernetes. */
  | { readonly secret: { readonly namespace: string; readonly name: string; readonly key: string } };

/** EdgeBfd are the parameters of a BFD session (RFC 5880). */
export interface EdgeBfd {
  /** 10 to 60000. */
  readonly transmitMs: number;
  readonly receiveMs: number;
  /** 2 to 255. */
  readonly multiplier: number;
  /** Waits for the other end to begin (section 6.1). */
  readonly passive: boolean;
  /** Of what comes over several links, 1 to 254; absent: any. */
  readonly minimumTtl?: number;
}

/** EdgeSession is what sessions have in common. */
export interface EdgeSession {
  /** TCP port of the neighbor; absent: 179. */
  readonly port?: number;
  readonly password?: PasswordReference;
  /** 0: never; absent, as keepaliveMs: the speaker's own. Both or none are there. */
  readonly holdMs?: number;
  readonly keepaliveMs?: number;
  readonly connectRetryMs?: number;
  readonly bfd?: EdgeBfd;
  /** Which routes are taken and given; absent: all. What no rule decides is rejected. */
  readonly import?: readonly PolicyRule[];
  readonly export?: readonly PolicyRule[];
  /** The session ends above so many routes received of a family. */
  readonly maximumPrefixes?: number;
}

const object = (what: string) =>
  z.string().refine((name) => nameProblem(name) === undefined, { error: `is not the name of a ${what}` });

const FORM = "{file: /etc/causeway/bgp.password} or {secret: {namespace: …, name: …, key: password}}";

const passwordSchema = z
  .strictObject(
    {
      file: z.string().regex(/^\//, "is not an absolute path").max(4096).optional(),
      secret: z
        .strictObject(
          {
            namespace: object("namespace"),
            name: object("Secret"),
            key: z
              .string()
              .regex(/^[-._a-zA-Z0-9]{1,253}$/, "is no key of a Secret")
              .default("password"),
          },
          { error: "is not a Secret; write {namespace: …, name: …, key: password}" },
        )
        .optional(),
    },
    // A password that was written here must not come back in the message: see shownProblem.
    { error: `is not where a password is; write ${FORM}` },
  )
  .transform(({ file, secret }, context): PasswordReference => {
    if (file !== undefined && secret === undefined) return { file };
    if (secret !== undefined && file === undefined) return { secret };
    context.addIssue({ code: "custom", message: `names ${file ? "two places" : "no place"}; write ${FORM}` });
    return z.NEVER;
  });

const interval = durationSchema.refine((ms) => ms >= 10 && ms <= 60_000, {
  error: "is not from 10ms to 60s",
});

const bfdSchema = z
  .strictObject(
    {
      transmit: interval.default(300),
      receive: interval.default(300),
      multiplier: wholeNumber(2, 255).default(3),
      passive: z.boolean({ error: "is not true or false" }).default(false),
      minimumTtl: wholeNumber(1, 254).optional(),
    },
    { error: "is not BFD's parameters; write {transmit: 300ms, receive: 300ms, multiplier: 3}, or {}" },
  )
  .transform(({ transmit, receive, ...rest }): EdgeBfd =>
    withoutAbsent({ transmitMs: transmit, receiveMs: receive, ...rest }),
  );

const durationOrNone = z.union([durationSchema, z.literal(0)], {
  error: "is not a duration such as 90s, nor 0 for none",
});

/** sessionFields are the fields of all sessions. */
export const sessionFields = {
  port: wholeNumber(1, 65535).optional(),
  password: passwordSchema.optional(),
  hold: durationOrNone.optional(),
  keepalive: durationOrNone.optional(),
  connectRetry: durationSchema.optional(),
  bfd: bfdSchema.optional(),
  import: policySchema.optional(),
  export: policySchema.optional(),
  maximumPrefixes: wholeNumber(1, 0xffffffff).optional(),
} as const;

/** sessionOf names the times of what was read by their unit. */
export function sessionOf<G extends z.output<z.ZodObject<typeof sessionFields>>>(given: G) {
  const { hold, keepalive, connectRetry, ...rest } = given;
  return withoutAbsent({ ...rest, holdMs: hold, keepaliveMs: keepalive, connectRetryMs: connectRetry });
}

type Report = (field: string, value: string, problem: string) => void;

/** Durations as they are written; 0 is written without a unit. */
export const duration = (ms: number): Json => (ms === 0 ? 0 : formatDurationMs(ms));

/** checkSession reports times that no session can have (RFC 4271 section 4.2). */
export function checkSession(field: string, session: EdgeSession, report: Report): void {
  const { holdMs, keepaliveMs, connectRetryMs } = session;
  if ((holdMs === undefined) !== (keepaliveMs === undefined)) {
    const [there, missing] = holdMs === undefined ? ["keepalive", "hold"] : ["hold", "keepalive"];
    const ms = holdMs ?? keepaliveMs ?? 0;
    report(`${field}.${there}`, `${duration(ms)}`, `stands without ${missing}; write both, or none`);
  }
  if (holdMs !== undefined && holdMs !== 0 && (holdMs < 3000 || holdMs > 65_535_000))
    report(`${field}.hold`, `${duration(holdMs)}`, "is not 0, nor from 3s to 65535s (RFC 4271 section 4.2)");
  if (holdMs !== undefined && keepaliveMs !== undefined && keepaliveMs > holdMs)
    report(
      `${field}.keepalive`,
      `${duration(keepaliveMs)}`,
      `is longer than hold ${duration(holdMs)}; write a third of it`,
    );
  if (connectRetryMs !== undefined && (connectRetryMs < 1000 || connectRetryMs > 65_535_000))
    report(`${field}.connectRetry`, `${duration(connectRetryMs)}`, "is not from 1s to 65535s");
}

/** sessionJson undoes sessionOf. */
export function sessionJson(session: EdgeSession): { readonly [field: string]: Json } {
  const { holdMs, keepaliveMs, connectRetryMs, bfd, password } = session;
  const time = (ms: number | undefined) => (ms === undefined ? undefined : duration(ms));
  return present({
    port: session.port,
    password: password as Json | undefined,
    hold: time(holdMs),
    keepalive: time(keepaliveMs),
    connectRetry: time(connectRetryMs),
    bfd:
      bfd &&
      present({
        transmit: formatDurationMs(bfd.transmitMs),
        receive: formatDurationMs(bfd.receiveMs),
        multiplier: bfd.multiplier,
        passive: bfd.passive,
        minimumTtl: bfd.minimumTtl,
      }),
    import: session.import && policyJson(session.import),
    export: session.export && policyJson(session.export),
    maximumPrefixes: session.maximumPrefixes,
  });
}
