/** Container runtimes from Debian's packages, unpacked into the cache: nothing is installed, so no service of theirs starts on this machine. */
import { existsSync } from "node:fs";
import { fetchPackages, SuiteError } from "../../tools/debian-suite.ts";
import { controlGroupsLack } from "./control-groups.ts";
import { labLacks } from "./lab-needs.ts";
import { BUSYBOX } from "./runtime-image.ts";

/** RuntimeTrees are folders of unpacked packages, or the reason why a test cannot run. */
export type RuntimeTrees =
  | { readonly trees: readonly string[]; readonly lacks?: undefined }
  | { readonly lacks: string; readonly trees?: undefined };

/** Debian 12's runtimes with the libraries of theirs that a small installation lacks. */
const BOOKWORM = [
  ..."containerd runc podman conmon golang-github-containers-common golang-github-containers-image".split(
    " ",
  ),
  ..."libgpgme11 libassuan0 libsubid4 libdevmapper1.02.1 libglib2.0-0".split(" "),
];

/** The first suite with containerd 2.1. */
const NEWER = "forky";

/** Containers themselves may be refused to mount layers. */
function overlayLacks(): string | undefined {
  const script = `mount -t tmpfs tmpfs /mnt && mkdir /mnt/upper /mnt/work &&
    mount -t overlay -o lowerdir=/etc,upperdir=/mnt/upper,workdir=/mnt/work overlay /etc`;
  const argv = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script];
  return Bun.spawnSync(argv, { stderr: "ignore" }).success ? undefined : "needs overlayfs";
}

/** debianRuntimes fetches what a client needs. `newer` lays containerd 2.1 over Debian 12's packages. */
export function debianRuntimes(options: { readonly newer?: boolean } = {}): RuntimeTrees {
  const lacks =
    labLacks ??
    controlGroupsLack() ??
    overlayLacks() ??
    (existsSync(BUSYBOX) ? undefined : "needs busybox-static");
  if (lacks !== undefined) return { lacks };
  try {
    const old = fetchPackages("bookworm", BOOKWORM);
    if (options.newer !== true) return { trees: [old] };
    const newer = fetchPackages(NEWER, ["containerd"]);
    // Asks for the libraries of a release that this machine may not have.
    const { success, stderr } = Bun.spawnSync([`${newer}/usr/bin/containerd`, "--version"], {
      stderr: "pipe",
    });
    return success ? { trees: [newer, old] } : { lacks: stderr.toString().trim() };
  } catch (error) {
    if (error instanceof SuiteError) return { lacks: error.message };
    throw error;
  }
}
