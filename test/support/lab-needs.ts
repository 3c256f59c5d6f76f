/** What a laboratory with agents needs of this machine. */
import { existsSync } from "node:fs";

/** executable is the build that the nodes run: the runner names it. */
export const executable = process.env.CAUSEWAY_EXECUTABLE ?? `${import.meta.dir}/../../dist/causeway`;

/** labLacks says what is missing for a laboratory with agents, or undefined. */
export const labLacks =
  process.getuid?.() !== 0
    ? "needs root"
    : !existsSync(executable)
      ? "needs dist/causeway: npm run build"
      : !existsSync("/dev/net/tun")
        ? "needs /dev/net/tun"
        : undefined;
