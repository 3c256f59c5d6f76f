/** A configuration as text with its secrets, for the file that only the gateway reads. What people are shown is made by write-text.ts. */
import { configSchema, type GatewayConfig } from "./schema.ts";
import {
  type AnyLeaf,
  type Entries,
  formatLeaf,
  type Members,
  type Struct,
  type Value,
} from "./schema-node.ts";
import { SecretBytes } from "./secret-bytes.ts";
import { quote } from "./statement.ts";

function leafText(node: Pick<AnyLeaf, "type">, value: Value): string {
  if (value instanceof SecretBytes) return quote(Buffer.from(value.reveal()).toString("hex"));
  return quote(formatLeaf(node.type, value));
}

function lines(members: Members, value: Struct): string[] {
  return Object.entries(members).flatMap(([name, node]) => {
    const member = value[name];
    if (member === undefined) return [];
    switch (node.kind) {
      case "leaf":
        return [`${name} ${leafText(node, member)};`];
      case "leaf-list":
        return (member as readonly Value[]).map((one) => `${name} ${leafText(node, one)};`);
      case "container":
        return [`${name} {`, ...lines(node.members, member as Struct), "}"];
      case "list":
        return [...(member as Entries).values()].flatMap((entry) => [
          `${name} {`,
          ...lines(node.members, entry),
          "}",
        ]);
    }
  });
}

/** saveConfig returns text that `readConfig` reads back as the same configuration. It holds secrets: write it with mode 0600, and show it to nobody. */
export function saveConfig(config: GatewayConfig): string {
  return lines(configSchema, config)
    .map((line) => `${line}\n`)
    .join("");
}
