/**
 * Which network configuration a container runtime uses: the first of its folder by name, in the order of bytes, among those that
 * libcni looks at (libcni, ConfFiles). Ours begins with 10.
 */
import { basename, dirname, extname, join } from "node:path";
import { listDirectory } from "../sys/mod.ts";

const EXTENSIONS = [".conf", ".conflist", ".json"];

/** Choice is what a runtime makes of its folder, once a configuration is there. */
export interface Choice {
  /** The path that it takes. */
  readonly taken: string;
  /** What comes before ours, and so is taken instead. */
  readonly before: readonly string[];
  /** What comes after ours. */
  readonly after: readonly string[];
}

/** chosenConfiguration tells what a runtime takes when a configuration is at this path. */
export function chosenConfiguration(path: string): Choice {
  const [folder, own] = [dirname(path), basename(path)];
  const others = listDirectory(folder).filter((name) => name !== own && EXTENSIONS.includes(extname(name)));
  const inOrder = others
    .map((name) => ({ path: join(folder, name), order: Buffer.from(name).compare(Buffer.from(own)) }))
    .sort((a, b) => Buffer.from(a.path).compare(Buffer.from(b.path)));
  const before = inOrder.filter(({ order }) => order < 0).map((entry) => entry.path);
  const after = inOrder.filter(({ order }) => order > 0).map((entry) => entry.path);
  return { taken: before[0] ?? path, before, after };
}
