/**
 * The guest's kernel: Debian's cloud kernel and the tools that load its modules, unpacked into a cache folder, never installed.
 */
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { which } from "../../src/sys/mod.ts";

/** GuestKernel is an unpacked kernel. */
export interface GuestKernel {
  readonly version: string;
  /** Path of the kernel image. */
  readonly image: string;
  /** Folder of its modules, with modules.dep. */
  readonly modules: string;
  /** Folder that the packages were unpacked into. */
  readonly root: string;
}

/** Unavailable says why there can be no guest on this machine. */
export class Unavailable extends Error {}

const META = "linux-image-cloud-amd64";
const READY = "ready";

function call(
  argv: readonly string[],
  options: { readonly cwd?: string; readonly argv0?: string } = {},
): string {
  const done = Bun.spawnSync([...argv], { ...options, stdout: "pipe", stderr: "pipe" });
  if (done.exitCode !== 0)
    throw new Unavailable(`${argv.slice(0, 3).join(" ")}: ${done.stderr.toString().trim().split("\n")[0]}`);
  return done.stdout.toString();
}

/** guestKernel returns the cached kernel, fetching it the first time. */
export function guestKernel(cache: string): GuestKernel {
  const root = `${cache}/root`;
  if (!existsSync(`${root}/${READY}`)) fetchKernel(cache, root);
  const version = readdirSync(`${root}/lib/modules`)[0];
  if (version === undefined) throw new Unavailable(`${root}/lib/modules is empty; remove ${root}`);
  return {
    version,
    image: `${root}/boot/vmlinuz-${version}`,
    modules: `${root}/lib/modules/${version}`,
    root,
  };
}

function fetchKernel(cache: string, root: string): void {
  for (const tool of ["apt-get", "apt-cache", "dpkg"])
    if (which(tool) === undefined)
      throw new Unavailable(`${tool} is not here; the guest's kernel is a Debian package`);
  const name = /Depends: (linux-image-\S+)/.exec(call(["apt-cache", "depends", META]))?.[1];
  if (name === undefined) throw new Unavailable(`apt-cache knows no ${META}; run apt-get update`);
  const fresh = `${root}.new`;
  rmSync(root, { recursive: true, force: true });
  rmSync(fresh, { recursive: true, force: true });
  mkdirSync(fresh, { recursive: true });
  call(["apt-get", "download", "-qq", "-o", "APT::Sandbox::User=root", name, "busybox-static", "kmod"], {
    cwd: fresh,
  });
  for (const file of readdirSync(fresh).filter((entry) => entry.endsWith(".deb"))) {
    call(["dpkg", "-x", `${fresh}/${file}`, fresh]);
    rmSync(`${fresh}/${file}`);
  }
  const version = readdirSync(`${fresh}/lib/modules`)[0] as string;
  // kmod is one program with several names, and the package's links are absolute.
  call([`${fresh}/bin/kmod`, "-b", fresh, version], { argv0: "depmod" });
  writeFileSync(`${fresh}/${READY}`, "");
  renameSync(fresh, root);
  mkdirSync(cache, { recursive: true });
}
