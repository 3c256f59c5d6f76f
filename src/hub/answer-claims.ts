/** The hub's answers to what a node asks about its addresses of subnets. A node claims for itself alone: its name is its connection's. */
import { formatIp } from "../net/mod.ts";
import type { Json } from "../resources/mod.ts";
import { grantJson } from "./claim-fields.ts";
import { Refusal } from "./refusal.ts";
import type { Registrar } from "./registrar.ts";
import type { ClaimRequest } from "./sync-protocol.ts";

/** answerClaims does what was asked and returns the answer; a refusal is one, too. */
export async function answerClaims(registrar: Registrar, node: string, request: ClaimRequest): Promise<Json> {
  const { id } = request;
  try {
    return { type: "answer", id, ...(await answer(registrar, node, request)) };
  } catch (error) {
    const { message } = error as Error;
    const code = error instanceof Refusal ? error.code : "failed";
    return { type: "answer", id, refused: { code, message: message.slice(0, 1024) } };
  }
}

async function answer(
  registrar: Registrar,
  node: string,
  request: ClaimRequest,
): Promise<{ readonly [field: string]: Json }> {
  switch (request.type) {
    case "claim":
      return { grants: (await registrar.claimBlocks(node, request)).map(grantJson) };
    case "claim-address": {
      const { subnet, family, address, owner, outOf } = request;
      const claimed = await registrar.claimAddress(node, {
        subnet,
        family,
        ...(address === undefined ? {} : { address }),
        ...(owner === undefined ? {} : { owner }),
        ...(outOf === undefined ? {} : { outOf }),
      });
      return claimed.kind === "owned"
        ? { owned: formatIp(claimed.address) }
        : { grants: [grantJson(claimed.grant)] };
    }
    case "return":
      await registrar.returnBlocks(node, request.numbers);
      return {};
    case "grants":
      return { grants: (await registrar.grantsOf(node)).map(grantJson) };
  }
}
