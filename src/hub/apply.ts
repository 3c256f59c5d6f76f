/**
 * What each command does to the tables. Deterministic: no clock, no randomness, no order that is not the tables' own; what is
 * refused is refused at every hub, with the same words.
 */
import { apply as claimCommands } from "./apply-claim.ts";
import { apply as hubKeyCommands } from "./apply-hub-key.ts";
import { apply as identityCommands } from "./apply-identity.ts";
import { apply as meshCommands } from "./apply-mesh.ts";
import { apply as nodeCommands } from "./apply-node.ts";
import { apply as peerCommands } from "./apply-peer.ts";
import { apply as pskCommands } from "./apply-psk.ts";
import { apply as tenantCommands } from "./apply-tenant.ts";
import { apply as tokenCommands } from "./apply-token.ts";
import type { Command } from "./command.ts";
import type { Tables } from "./tables.ts";

/** Of picks the command of one op. */
export type Of<O extends Command["op"]> = Extract<Command, { op: O }>;

/** Handlers is a part of the table of commands. */
export type Handlers<O extends Command["op"]> = {
  readonly [K in O]: (tables: Tables, command: Of<K>) => unknown;
};

const handlers = {
  ...identityCommands,
  ...hubKeyCommands,
  ...pskCommands,
  ...meshCommands,
  ...nodeCommands,
  ...peerCommands,
  ...tokenCommands,
  ...tenantCommands,
  ...claimCommands,
} as const satisfies Handlers<Command["op"]>;

/** Results is what a command returns, by op. */
export type Results = { readonly [O in Command["op"]]: ReturnType<(typeof handlers)[O]> };

/** applyCommand changes the tables, or throws and must be rolled back. */
export function applyCommand(tables: Tables, command: Command): unknown {
  return (handlers[command.op] as (tables: Tables, command: Command) => unknown)(tables, command);
}
