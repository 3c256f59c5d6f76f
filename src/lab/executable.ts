/** Which causeway the nodes of a laboratory run: always a compiled one, because the CNI plugin is the same file. */
import { environmentVariable, exists, runtimePath } from "../sys/mod.ts";

/** findExecutable returns the given path, `CAUSEWAY_EXECUTABLE`, this program itself, or the build of the source tree. */
export function findExecutable(given?: string): string {
  const built = new URL("../../dist/causeway", import.meta.url).pathname;
  const self = runtimePath();
  const path =
    given ?? environmentVariable("CAUSEWAY_EXECUTABLE") ?? (/\/bun(?:\.exe)?$/.test(self) ? built : self);
  if (!exists(path))
    throw new Error(`Cannot run the nodes: ${path} does not exist; make it with: npm run build`);
  return path;
}
