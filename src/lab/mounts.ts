/**
 * A node's own folders: inside its mount namespace the paths where an agent keeps things are bound from the laboratory's
 * state, so that agents of several nodes run beside each other and never meet the machine's own.
 */
import { ensureDirectory, exists, readText, removeNetns, runSync, writeAtomic } from "../sys/mod.ts";
import type { Place } from "./place.ts";

/** Where an agent keeps things, and the folder that is bound there, relative to the node's state. */
const BOUND_FOLDERS = {
  "/run/causeway": "run",
  "/run/wireguard": "run-wireguard",
  "/run/netns": "run-netns",
  "/var/lib/causeway": "var-lib",
  "/etc/causeway": "etc",
  "/etc/cni/net.d": "etc-cni",
  // One for all nodes: the executable has 100 MB, and the lab's folder is memory.
  "/opt/cni/bin": "../../opt-cni",
} as const;

/** VOLATILE_FOLDERS are empty after a reboot of the node. */
export const VOLATILE_FOLDERS = ["run", "run-wireguard", "run-netns"] as const;

/** What the kernel would call this boot of the node, in its state; until its first reboot it has the machine's. */
const BOOT_ID = "boot-id";

/** bootAnew has the node see another boot of its kernel, once its mounts are made. */
export function bootAnew(place: Place, node: string): void {
  writeAtomic(`${place.state(node)}/${BOOT_ID}`, readText("/proc/sys/kernel/random/uuid") ?? "");
}

/** The nearest folder above a path that exists. */
function ancestor(path: string): string {
  const parent = path.slice(0, path.lastIndexOf("/"));
  return exists(parent) ? parent : ancestor(parent);
}

/** Overlays for folders that lack a mount point, which the machine must not get; `/run` last, because it hides the lab. */
function overlaid(): string[] {
  const lacking = Object.keys(BOUND_FOLDERS).filter((path) => !exists(path));
  return [...new Set(lacking.map(ancestor))].sort((a, b) => Number(a === "/run") - Number(b === "/run"));
}

function script(): string {
  const overlays = overlaid().flatMap((path) => {
    const layer = `overlay${path.replaceAll("/", "-")}`;
    return [
      `mkdir -p ${layer}/upper ${layer}/work`,
      `mount -n -t overlay -o "lowerdir=${path},upperdir=$PWD/${layer}/upper,workdir=$PWD/${layer}/work" causeway-lab ${path}`,
    ];
  });
  // Sources are relative: the working folder stays reachable when /run has been covered.
  const binds = Object.entries(BOUND_FOLDERS).flatMap(([path, name]) => [
    `mkdir -p ${path}`,
    `mount -n -c --bind ${name} ${path}`,
  ]);
  // Last, the node lets go of the lab's folder: it must not see other nodes, nor keep their namespaces.
  return [
    "set -e",
    'cd "$0"',
    "mount -n -t sysfs sysfs /sys",
    ...overlays,
    ...binds,
    `[ ! -e ${BOOT_ID} ] || mount -n --bind ${BOOT_ID} /proc/sys/kernel/random/boot_id`,
    "umount -n -c -l ../..",
  ].join("\n");
}

/** makeMounts makes a node's mount namespace, kept by a bind mount like its network namespace. */
export function makeMounts(place: Place, node: string): void {
  for (const name of Object.values(BOUND_FOLDERS)) ensureDirectory(`${place.state(node)}/${name}`);
  const file = place.mountNamespace(node);
  const done = runSync([
    "sh",
    "-c",
    // nsenter first: /sys shows the network namespace of whoever mounts it.
    'touch "$0" && exec nsenter --net="$1" unshare --mount="$0" --propagation private sh -c "$2" "$3"',
    file,
    place.netns(node),
    script(),
    place.state(node),
  ]);
  if (done.status !== 0)
    throw new Error(
      `Cannot give node ${node} its own folders: ${done.stderr.trim()}; the lab needs root, overlayfs, and util-linux' unshare and nsenter`,
    );
}

/** removeMounts lets go of a node's mount namespace; it ends with the last process in it. */
export function removeMounts(place: Place, node: string): void {
  removeNetns(place.mountNamespace(node));
}

/** inNode returns the command that runs another in a node's namespaces, or in those of one of its pods. */
export function inNode(
  place: Place,
  target: { node?: string; netns: string },
  argv: readonly string[],
): string[] {
  const mount = target.node === undefined ? [] : [`--mount=${place.mountNamespace(target.node)}`];
  return ["nsenter", `--net=${place.netns(target.netns)}`, ...mount, "--", ...argv];
}
