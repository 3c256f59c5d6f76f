/** JSON values that are wrong in ways that programs, people and attackers make them: for parsers of what comes from outside. */
import type { Random } from "./random.ts";

/** Json is a value as JSON.parse returns it. */
export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

const strange = [
  "",
  " ",
  "\0",
  "\n",
  "0.0.0.0",
  "::",
  "10.0.0.1/33",
  "10.0.0.1/24/24",
  "fe80::1%eth0",
  "::ffff:1.2.3.4",
  "256.1.1.1",
  "../../etc",
  "a/b",
  "x".repeat(5000),
  "ß€\u{1f600}\ud800",
  "ff:ff:ff:ff:ff:ff",
  "1.1.0",
  "1e999",
  "constructor",
];
const numbers = [0, -1, 0.5, 1e308, -1e308, 2 ** 31, 2 ** 32, 2 ** 53, 65535, 65536];

/** deep returns arrays or objects inside each other. */
export function deep(levels: number): Json {
  let value: Json = 1;
  for (let level = 0; level < levels; level++) value = level % 2 === 0 ? [value] : { mtu: value };
  return value;
}

function anything(random: Random): Json {
  switch (random.below(10)) {
    case 0:
      return null;
    case 1:
      return random.chance(0.5);
    case 2:
      return random.pick(numbers);
    case 3:
      return [];
    case 4:
      return {};
    case 5:
      return deep(random.pick([1, 3, 100]));
    case 6:
      return [anything(random), anything(random)];
    case 7:
      return { [random.text(6)]: anything(random), ["__proto__"]: anything(random) };
    case 8:
      return random.text(20);
    default:
      return random.pick(strange);
  }
}

function renamed(key: string, random: Random): string {
  switch (random.below(4)) {
    case 0:
      return key.toUpperCase();
    case 1:
      return key.slice(1);
    case 2:
      return random.pick(["__proto__", "constructor", "toString", ""]);
    default:
      return `${key[0]?.toUpperCase() ?? ""}${key.slice(1)}`;
  }
}

/** mutated returns a copy in which a few places hold something else, or nothing, or are called otherwise. */
export function mutated(value: Json, random: Random, chance = 0.08): Json {
  if (random.chance(chance)) return anything(random);
  if (Array.isArray(value)) {
    const items = value.flatMap((item) => (random.chance(chance) ? [] : [mutated(item, random, chance)]));
    return random.chance(chance) ? [...items, ...items, anything(random)] : items;
  }
  if (typeof value !== "object" || value === null) return value;
  const entries = Object.entries(value).flatMap(([key, item]) => {
    if (random.chance(chance)) return [];
    const changed = mutated(item, random, chance);
    return [[random.chance(chance) ? renamed(key, random) : key, changed] as const];
  });
  return Object.fromEntries(entries);
}
