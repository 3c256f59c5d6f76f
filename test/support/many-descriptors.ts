/** A process of its own, since a descriptor that is too high for select(2) ends it: contexts of libnftables, made again among two thousand descriptors. */
import { openSync } from "node:fs";
import { NftContext } from "../../src/sys/mod.ts";

const MANY = 2_000;

function change(context: NftContext): void {
  const { failed, error } = context.run("add table inet many");
  if (failed) throw new Error(error);
}

using first = new NftContext();
for (let i = 0; i < MANY; i++) openSync("/dev/null", "r");
for (let i = 0; i < 50; i++) {
  using context = new NftContext();
  change(context);
}
const several = Array.from({ length: 8 }, () => new NftContext());
for (const context of [first, ...several]) change(context);
for (const context of several) context.close();
console.log("alive");
