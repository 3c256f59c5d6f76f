/** Random verbs on random configurations: what is accepted is good as a whole, and what is refused has changed nothing. */
import { expect, test } from "bun:test";
import { type Piece, randomGateway, spell } from "../../test/support/gateway-text.ts";
import { newSeed, Random } from "../../test/support/random.ts";
import { sameValue } from "./identity.ts";
import { ConfigError } from "./problem.ts";
import { checkConfig } from "./rules.ts";
import type { GatewayConfig } from "./schema.ts";
import { noState } from "./state-schema.ts";
import { type ConfigRequest, type ConfigStore, perform, readConfig } from "./verbs.ts";

const storeOf = (config: GatewayConfig): ConfigStore => ({ config, state: { "gateway-state": noState } });

function lines(config: GatewayConfig): string[] {
  const request = { verb: "get", path: "/", print: { format: "xpath", printDefault: true } } as const;
  return perform(storeOf(config), request).text.trim().split("\n");
}

/** A path that is there, or part of one, or one that is nearly there. */
function somePath(random: Random, config: GatewayConfig): string {
  const [path] = (random.pick(lines(config)) as string).split(" ") as [string];
  const steps = path.split(/(?<!\[[^\]]*)\//).slice(1);
  const part = `/${steps.slice(0, 1 + random.below(steps.length)).join("/")}`;
  const bare = random.chance(0.3) ? part.replace(/\[[^\]]*\]$/, "") : part;
  return random.chance(0.1) ? Buffer.from(random.mutate(Buffer.from(bare))).toString() : bare;
}

function someValue(random: Random, config: GatewayConfig, other: readonly Piece[]): string {
  const blocks = other.flatMap(([, value]) => (typeof value === "string" ? [] : [value]));
  const block = spell(random, random.pick(blocks));
  return random.pick([
    (random.pick(lines(config)) as string).split(" ").slice(1).join(" "),
    `${random.below(10_000)}`,
    block,
    `{ ${block} }`,
    "",
  ]);
}

function someRequest(random: Random, config: GatewayConfig): ConfigRequest {
  const path = somePath(random, config);
  const verb = random.pick(["set", "set", "add", "add", "add", "remove", "get", "load"] as const);
  const other = randomGateway(random);
  if (verb === "load") return { verb, value: spell(random, other) };
  if (verb === "remove" || verb === "get") return { verb, path };
  const [keyword, block] = random.pick(other);
  if (verb === "add" && typeof block !== "string" && random.chance(0.7))
    return { verb, path: `/${keyword}`, value: `{ ${spell(random, block)} }` };
  return { verb, path, value: someValue(random, config, other) };
}

test("random verbs", () => {
  const seed = newSeed();
  console.log(`seed ${seed}`);
  const random = new Random(seed);
  const accepted = new Map<string, number>();
  let { config } = readConfig(spell(random, randomGateway(random)));
  for (let round = 0; round < 300; round++) {
    const request = someRequest(random, config);
    const before = lines(config);
    try {
      const { config: next } = perform(storeOf(config), request);
      expect(checkConfig(next).problems).toEqual([]);
      // Read anew, so that nothing that was judged before is taken for good.
      const printed = perform(storeOf(next), { verb: "get", path: "/" }).text;
      expect(sameValue(readConfig(printed, next).config, next)).toBe(true);
      expect(lines(config)).toEqual(before);
      config = next;
      accepted.set(request.verb, (accepted.get(request.verb) ?? 0) + 1);
    } catch (error) {
      if (!(error instanceof ConfigError)) throw new Error(JSON.stringify(request), { cause: error });
      expect(error.message).not.toBe("");
      expect(lines(config)).toEqual(before);
    }
  }
  console.log([...accepted].map(([verb, count]) => `${verb} ${count}`).join(", "));
  expect(accepted.size).toBeGreaterThan(2);
});
