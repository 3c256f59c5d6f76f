/**
 * The guest's file system: this machine's programs with the libraries they need, the kernel's modules, and the repository,
 * as one archive that the kernel unpacks into memory. Nothing is read from a disk later, so no disk driver is needed.
 */
import { existsSync, lstatSync, readdirSync, readlinkSync, realpathSync, statSync } from "node:fs";
import { basename, relative } from "node:path";
import { which } from "../../src/sys/mod.ts";
import { BIRD_PACKAGES, fetchPackages, FRR_PACKAGES, GOBGP_PACKAGES, SuiteError } from "../debian-suite.ts";
import { CpioWriter } from "./cpio.ts";
import type { GuestKernel } from "./kernel.ts";

/** Programs that tests call; those that this machine lacks are left out, and the tests that need them say so. */
const PROGRAMS = [
  ..."ip tc bridge ss nft wg wg-quick wireguard-go ping tcpdump iperf3 conntrack jq nsenter unshare mount umount".split(
    " ",
  ),
  ..."findmnt setpriv ethtool bash sysctl tracepath traceroute socat".split(" "),
];

/** CNI plugins where Debian has them, which tests of kinds of links call that not every kernel has. */
const CNI_PLUGINS = "ipvlan static".split(" ").map((name) => `usr/lib/cni/${name}`);

/** Of BGP daemons, each in some package. */
const FOREIGN_PROGRAMS =
  "lib/frr/zebra lib/frr/bgpd lib/frr/bfdd bin/vtysh sbin/bird sbin/birdc bin/gobgpd bin/gobgp".split(" ");

/** Libraries opened by FFI, which ldd cannot see. */
const LIBRARIES = ["libnftables.so.1", "libcrypto.so.3", "libc.so.6"];

/** Folders of modules that network tests can cause the kernel to ask for. */
const MODULES = ["net", "crypto", "lib", "arch/x86/crypto", "drivers/net"];
const NOT_MODULES =
  /\/(ethernet|hyperv|wwan|wireless|can|ieee802154|fjes|bluetooth|sunrpc|ceph|dccp|rxrpc|tipc)\//;

const REPOSITORY = [
  ..."src test bench tools/debian-suite.ts package.json tsconfig.json bunfig.toml examples".split(" "),
];

/** EXECUTABLE is what tests start as processes, in the repository; sources take an emulated processor half a minute to compile. */
export const EXECUTABLE = "dist/causeway";

/** ImageOptions say what goes into the archive beside the programs. */
export interface ImageOptions {
  readonly kernel: GuestKernel;
  readonly repository: string;
  /** Text of the program that the kernel starts. */
  readonly init: string;
}

/** writeImage writes the archive and returns its size. */
export function writeImage(path: string, options: ImageOptions): { readonly bytes: number } {
  using cpio = new CpioWriter(path);
  const { kernel, repository } = options;
  for (const folder of [
    "bin",
    "sbin",
    "usr/bin",
    "usr/sbin",
    "proc",
    "sys",
    "dev",
    "run",
    "tmp",
    "var/lib",
    "root",
  ])
    cpio.folder(folder);
  cpio.symlink("var/run", "/run");
  cpio.device("dev/console", 5, 1);
  cpio.file("init", options.init, 0o755);
  const foreign = [FRR_PACKAGES, BIRD_PACKAGES, GOBGP_PACKAGES].flatMap(foreignTree);
  for (const tree of foreign)
    copyTree(cpio, tree, `causeway/${relative(repository, tree)}`, /\/usr\/share\//);
  programs(cpio, options, foreign);
  settings(cpio);
  modules(cpio, kernel);
  for (const entry of REPOSITORY) copyTree(cpio, `${repository}/${entry}`, `causeway/${entry}`);
  for (const name of dependencies(repository))
    copyTree(cpio, `${repository}/node_modules/${name}`, `causeway/node_modules/${name}`);
  cpio.folder("causeway/dist");
  cpio.file(`causeway/${EXECUTABLE}`, { from: `${repository}/${EXECUTABLE}` }, 0o755);
  return { bytes: cpio.bytes };
}

/** A BGP daemon as tests find it, unpacked; none where it cannot be had: they say so. */
function foreignTree(packages: readonly string[]): string[] {
  try {
    return [fetchPackages("bookworm", packages)];
  } catch (error) {
    if (error instanceof SuiteError) return [];
    throw error;
  }
}

function programs(cpio: CpioWriter, { kernel, repository }: ImageOptions, foreign: readonly string[]): void {
  const bun = realpathSync(`${repository}/node_modules/.bin/bun`);
  const places = new Map<string, string>([
    ["usr/bin/bun", bun],
    ["bin/busybox", `${kernel.root}/bin/busybox`],
    ["bin/kmod", `${kernel.root}/bin/kmod`],
  ]);
  for (const name of PROGRAMS) {
    const found = which(name);
    if (found !== undefined) places.set(`usr/bin/${name}`, realpathSync(found));
  }
  for (const plugin of CNI_PLUGINS) if (existsSync(`/${plugin}`)) places.set(plugin, `/${plugin}`);
  for (const [place, from] of places) cpio.file(place, { from }, 0o755);
  for (const name of ["modprobe", "insmod", "lsmod", "rmmod"]) cpio.symlink(`sbin/${name}`, "/bin/kmod");
  // Tests find Bun where npm put it on this machine.
  cpio.symlink("causeway/node_modules/.bin/bun", "/usr/bin/bun");
  const theirs = foreign.flatMap(foreignLibraries);
  for (const library of new Set([...libraries([...places.values()]), ...theirs])) {
    // The loader looks for the name in the program, wherever this machine keeps the file.
    cpio.file(`lib/x86_64-linux-gnu/${basename(library)}`, { from: library }, 0o755);
  }
  cpio.symlink("lib64/ld-linux-x86-64.so.2", "/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2");
}

function libraries(files: readonly string[]): Set<string> {
  const opened = LIBRARIES.map((name) =>
    ["/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib64", "/usr/lib64"]
      .map((folder) => `${folder}/${name}`)
      .find(existsSync),
  ).filter((path) => path !== undefined);
  return new Set([...opened, ...ldd([...files, ...opened], process.env)]);
}

/** What those programs have of this machine: all that does not lie beside them. */
function foreignLibraries(root: string): string[] {
  const beside = ["usr/lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu/frr", "lib/x86_64-linux-gnu"];
  const files = FOREIGN_PROGRAMS.map((name) => `${root}/usr/${name}`).filter(existsSync);
  const env = { ...process.env, LD_LIBRARY_PATH: beside.map((folder) => `${root}/${folder}`).join(":") };
  return ldd(files, env).filter((path) => !path.startsWith(root));
}

function ldd(files: readonly string[], env: NodeJS.ProcessEnv): string[] {
  const lines = Bun.spawnSync(["ldd", ...files], { stderr: "ignore", env })
    .stdout.toString()
    .split("\n");
  return lines
    .map((line) => /^\t(?:\S+ => )?(\/\S+) \(0x/.exec(line)?.[1])
    .filter((path) => path !== undefined);
}

function settings(cpio: CpioWriter): void {
  cpio.file("etc/passwd", "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n");
  // FRR looks for its own.
  cpio.file("etc/group", "root:x:0:\nfrrvty:x:64999:root\nnogroup:x:65534:\n");
  cpio.file("etc/hosts", "127.0.0.1 localhost\n::1 localhost\n");
  for (const file of ["protocols", "services", "nsswitch.conf"])
    if (existsSync(`/etc/${file}`)) cpio.file(`etc/${file}`, { from: `/etc/${file}` });
  copyTree(cpio, "/etc/iproute2", "etc/iproute2");
}

function modules(cpio: CpioWriter, kernel: GuestKernel): void {
  const target = `lib/modules/${kernel.version}`;
  for (const file of readdirSync(kernel.modules).filter((name) => name.startsWith("modules.")))
    cpio.file(`${target}/${file}`, { from: `${kernel.modules}/${file}` });
  for (const folder of MODULES)
    copyTree(cpio, `${kernel.modules}/kernel/${folder}`, `${target}/kernel/${folder}`, NOT_MODULES);
}

/** What the product needs at run time: the names in `dependencies`, which have none of their own. */
function dependencies(repository: string): string[] {
  const manifest = require(`${repository}/package.json`) as { dependencies?: Record<string, string> };
  return Object.keys(manifest.dependencies ?? {});
}

function copyTree(cpio: CpioWriter, from: string, to: string, without?: RegExp): void {
  if (!existsSync(from) || without?.test(`${from}/`)) return;
  const found = lstatSync(from);
  if (found.isSymbolicLink()) cpio.symlink(to, readlinkSync(from));
  else if (found.isDirectory()) {
    cpio.folder(to);
    for (const name of readdirSync(from).sort()) copyTree(cpio, `${from}/${name}`, `${to}/${name}`, without);
  } else if (found.isFile()) cpio.file(to, { from }, statSync(from).mode & 0o777);
}
