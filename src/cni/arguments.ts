/** CNI_ARGS: `KEY=VALUE;KEY=VALUE`, deprecated by the conventions and still sent by every runtime. */
import { CniError } from "./error.ts";

/** Keys that Kubernetes runtimes send, and those of the conventions. */
const known = new Set([
  "IgnoreUnknown",
  "IP",
  "MAC",
  "K8S_POD_NAME",
  "K8S_POD_NAMESPACE",
  "K8S_POD_INFRA_CONTAINER_ID",
  "K8S_POD_UID",
]);

/**
 * parseArguments reads the pairs; a later pair of one key wins (Multus sends keys twice). A key that is not known is an error unless
 * `IgnoreUnknown` is 1 or true, wherever that stands: containerd sends its keys in random order.
 */
export function parseArguments(text: string): ReadonlyMap<string, string> {
  const found = new Map<string, string>();
  for (const pair of text.split(";").filter(Boolean)) {
    const [key, value, ...more] = pair.split("=");
    if (key === undefined || key === "" || value === undefined || more.length > 0)
      throw new CniError(
        "badEnvironment",
        "Cannot use CNI_ARGS: a pair is not KEY=VALUE; separate pairs by semicolons",
        {
          details: `CNI_ARGS has ${JSON.stringify(pair)}`,
        },
      );
    if (value !== "") found.set(key, value);
  }
  const ignoreUnknown = ["1", "true"].includes(found.get("IgnoreUnknown")?.toLowerCase() ?? "");
  const unknown = [...found.keys()].filter((key) => !known.has(key));
  if (unknown.length > 0 && !ignoreUnknown)
    throw new CniError(
      "badEnvironment",
      `Cannot use CNI_ARGS: unknown keys ${unknown.join(", ")}; add IgnoreUnknown=1`,
      {
        details: `CNI_ARGS is ${JSON.stringify(text)}`,
      },
    );
  return found;
}
