/** The check of the executables that network configurations name. */
import { dirname } from "node:path";
import { type Examination, type Finding, shellText } from "./check.ts";
import type { Facts } from "./facts.ts";
import { isOurs } from "./kube-checks.ts";

function pluginsFinding({ cni, plugins }: Facts): Finding {
  const first = cni?.files[0];
  if (cni === undefined || plugins === undefined || first === undefined)
    return { skipped: "no network configuration on this node" };
  if (first.calls.length === 0) return { skipped: `${first.path} names no plugin that could be read` };
  const where = plugins.folders.join(", ");
  const missing = first.calls.filter((name) => !plugins.there.includes(name));
  const unlike = cni.files.some(isOurs) ? plugins.unlike : [];
  if (missing.length + unlike.length === 0) return { found: `${first.calls.join(", ")} in ${where}` };
  const others = missing.filter((name) => name !== "causeway");
  const found = [
    ...(missing.length > 0
      ? [`${first.path} calls ${missing.join(", ")}: no such executable in ${where}`]
      : []),
    ...(unlike.length > 0 ? [`missing, or not of this version: ${unlike.join(", ")}`] : []),
  ];
  const fix = [
    ...(others.length > 0
      ? [
          `install ${others.join(", ")} into one of these folders (the package of that pod network; containernetworking-plugins)`,
        ]
      : []),
    ...(unlike.length > 0 ? [installation(dirname(unlike[0] as string), cni.folder)] : []),
  ];
  return { found: found.join("; "), fix: fix.join("; ") };
}

function installation(binDir: string, confDir: string): string {
  const bin = binDir === "/opt/cni/bin" ? [] : ["--bin-dir", binDir];
  const conf = confDir === "/etc/cni/net.d" ? [] : ["--conf-dir", confDir];
  return shellText([["causeway", "cni", "install", ...bin, ...conf]]);
}

/** pluginExaminations are this check. */
export const pluginExaminations: readonly Examination<Facts>[] = [
  {
    id: "cni-files",
    why: "a runtime executes what its configuration names: with a plugin that is not there no pod starts, and one of another version may not know what this one's agent asks",
    look: pluginsFinding,
  },
];
