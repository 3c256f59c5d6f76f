/** What a node asks its hub beside following the register: another key, its pre-shared keys, removals that the operator signed, addresses. */
import type { PrivateKey } from "../net/mod.ts";
import { monotonicMs } from "../sys/mod.ts";
import { answerClaims } from "./answer-claims.ts";
import type { HubRemovals } from "./hub-removals.ts";
import type { KeyLimit } from "./key-limit.ts";
import type { Registrar } from "./registrar.ts";
import { rotationProofHolds } from "./rotation.ts";
import type { SyncEffect } from "./sync-server.ts";

/** NodeRequest is one of the effects of a node's connection. */
export type NodeRequest = Extract<
  SyncEffect,
  { readonly kind: "rotate" | "psk" | "removals" | "claims" | "usage" }
>;

/** RequestContext is what the answers need of the hub. */
export interface RequestContext {
  readonly registrar: Registrar;
  readonly removals: HubRemovals;
  readonly keyLimit: KeyLimit;
  /** The present one, and the one before while the hub answers to it. */
  readonly hubKeys: readonly PrivateKey[];
  /** Whether a node is told of another. */
  sees(node: string, other: string): boolean;
  readonly send: (message: unknown) => void;
  /** For the log. */
  readonly failed: (error: Error) => void;
}

/** answerRequest answers one request of a node. */
export function answerRequest(node: string, request: NodeRequest, context: RequestContext): void {
  const { registrar, removals, failed, send } = context;
  const { register } = registrar;
  switch (request.kind) {
    case "removals":
      for (const name of removals.news(request.removals, monotonicMs()))
        registrar.removeNode(name).catch(failed);
      return;
    case "psk": {
      const peers = request.peers
        .filter((peer) => context.sees(node, peer))
        .flatMap((peer) => register.node(peer) ?? []);
      return send({ type: "psk", keys: register.sealedKeys(node, peers) });
    }
    case "claims":
      void answerClaims(registrar, node, request.request).then(send);
      return;
    case "usage":
      return registrar.usage.say(node, new Map(request.used));
    case "rotate":
      announceKey(node, request, context).catch((error: Error) =>
        failed(new Error(`Cannot announce another key of ${node}: ${error.message}`)),
      );
      return;
  }
}

async function announceKey(
  name: string,
  { now, next, proof }: NodeRequest & { readonly kind: "rotate" },
  { registrar, hubKeys, keyLimit }: RequestContext,
): Promise<void> {
  const { register } = registrar;
  const node = register.node(name);
  if (node === undefined) return;
  if (!keyLimit.allows(name, next, monotonicMs())) throw new Error("it announced too many keys lately");
  const claim = { node: name, epoch: register.epoch, now, next, address: node.overlay6 };
  const bytes = Buffer.from(proof, "base64");
  if (!hubKeys.some((key) => rotationProofHolds(key, claim, bytes)))
    throw new Error("its proof does not fit the key");
  await registrar.announceKey(name, { now, next });
}
