/** States of several workers as one: counters are added up, lists are joined by their keys. */
import type { Entries, Members, SchemaNode, Struct, Value } from "./schema-node.ts";
import { type GatewayState, type GatewayStateTree, noState, stateSchema } from "./state-schema.ts";

function sumValue(node: SchemaNode, a: Value, b: Value): Value {
  if (a === undefined) return b;
  if (b === undefined) return a;
  switch (node.kind) {
    case "container":
      return sumStruct(node.members, a as Struct, b as Struct);
    case "list": {
      const entries = new Map(a as Entries);
      for (const [key, entry] of b as Entries) {
        const own = entries.get(key);
        entries.set(key, own === undefined ? entry : sumStruct(node.members, own, entry));
      }
      return entries;
    }
    case "leaf":
      // Only counters are of 64 bits; of what is said twice, the later counts.
      return typeof a === "bigint" && typeof b === "bigint" ? BigInt.asUintN(64, a + b) : b;
    case "leaf-list":
      return b;
  }
}

function sumStruct(members: Members, a: Struct, b: Struct): Struct {
  const sums: Record<string, Value> = {};
  for (const [name, node] of Object.entries(members)) {
    const value = sumValue(node, a[name], b[name]);
    if (value !== undefined) sums[name] = value;
  }
  return sums;
}

/** sumStates returns the state of a gateway from those of its workers; without workers an empty one. */
export function sumStates(states: readonly GatewayStateTree[]): GatewayState {
  const { members } = stateSchema["gateway-state"];
  const sum = states.reduce<Struct>((all, one) => sumStruct(members, all, one), noState);
  return { "gateway-state": sum as GatewayStateTree };
}
