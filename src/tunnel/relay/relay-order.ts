/** What workers are told of the relay, as it goes through a link (dataplane/link.ts). */
import { ipBytes } from "../../net/mod.ts";
import { socketAddress } from "../../sys/mod.ts";
import type { RelayStep } from "./relay.ts";

/** RelayOrder is a step in JSON: the endpoint is a `sockaddr` in hexadecimal. */
export type RelayOrder =
  | Exclude<RelayStep, { readonly kind: "node" }>
  | { readonly kind: "node"; readonly node: number; readonly address?: string };

/** relayOrder returns the order of a step. */
export function relayOrder(step: RelayStep): RelayOrder {
  if (step.kind !== "node") return step;
  const { kind, node, endpoint } = step;
  if (endpoint === undefined) return { kind, node };
  const address = socketAddress(ipBytes(endpoint.ip), endpoint.port);
  return { kind, node, address: Buffer.from(address).toString("hex") };
}
