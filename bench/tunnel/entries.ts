/** Who takes part. Foreign programs come from Debian's packages, unpacked and not installed. */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { fetchPackages } from "../../tools/debian-suite.ts";
import { Cable } from "./cable.ts";
import type { Contender, Entry } from "./contender.ts";
import { openNebula } from "./nebula-pair.ts";
import { maps } from "./usage.ts";
import { WireguardPair } from "./wireguard-pair.ts";

/** SUITE has the newest wireguard-go that knows segmentation offload, and ipsec-mb 2. */
const SUITE = "trixie";
const LIBRARIES = "usr/lib/x86_64-linux-gnu";
const executable =
  process.env.CAUSEWAY_EXECUTABLE ?? fileURLToPath(new URL("../../dist/causeway", import.meta.url));

/** fetchContenders brings what is not here yet; called where there is a network. */
export function fetchContenders(): void {
  for (const name of ["wireguard-go", "nebula", ...(process.arch === "x64" ? ["libipsec-mb2"] : [])])
    fetchPackages(SUITE, [name]);
}

/** debianVersion returns the version of an unpacked package. */
export function debianVersion(name: string): string {
  const file = `${fetchPackages(SUITE, [name])}/usr/share/doc/${name}/changelog.Debian.gz`;
  const [first = ""] = new TextDecoder().decode(Bun.gunzipSync(readFileSync(file))).split("\n");
  return /\((.*?)\)/.exec(first)?.[1] ?? "of unknown version";
}

async function openOurs(more: readonly string[], pinned = false): Promise<WireguardPair> {
  const folder = process.arch === "x64" ? `${fetchPackages(SUITE, ["libipsec-mb2"])}/${LIBRARIES}` : "";
  // Options may stand before the link's name, which the pair appends.
  const argv = [executable, "dataplane", ...more];
  const pair = await WireguardPair.open({ argv, env: { LD_LIBRARY_PATH: folder }, pinned });
  const [pid] = pair.pids as [number, number];
  const fast = maps(pid, "libIPSec_MB");
  if (fast === more.includes("libcrypto") && process.arch === "x64")
    throw new Error(`${argv.join(" ")} ${fast ? "uses" : "does not use"} ipsec-mb`);
  return pair;
}

function openTheirs(env: Readonly<Record<string, string>>, pinned = false): Promise<WireguardPair> {
  const argv = [`${fetchPackages(SUITE, ["wireguard-go"])}/usr/bin/wireguard-go`, "-f"];
  return WireguardPair.open({ argv, env: { LOG_LEVEL: "error", ...env }, pinned });
}

async function openCable(): Promise<Contender> {
  const cable = new Cable();
  const { near, far } = cable;
  return { near, far, to: far.outside, pids: [], [Symbol.dispose]: () => cable[Symbol.dispose]() };
}

/** entries are all contenders, in the order of the tables. */
export const entries: readonly Entry[] = [
  { name: "ours", title: "ours", side: "ours", open: () => openOurs([]) },
  {
    name: "libcrypto",
    title: "ours, libcrypto",
    side: "ours",
    open: () => openOurs(["--aead", "libcrypto"]),
  },
  {
    name: "workers-1",
    title: "ours, 1 worker",
    side: "ours",
    onRequest: true,
    open: () => openOurs(["--workers", "1"]),
  },
  {
    name: "workers-2",
    title: "ours, 2 workers",
    side: "ours",
    onRequest: true,
    open: () => openOurs(["--workers", "2"]),
  },
  { name: "pinned", title: "ours, pinned", side: "ours", onRequest: true, open: () => openOurs([], true) },
  { name: "go", title: "wireguard-go", side: "wireguard-go", open: () => openTheirs({}) },
  {
    name: "go-one",
    title: "its GOMAXPROCS=1",
    side: "wireguard-go",
    open: () => openTheirs({ GOMAXPROCS: "1" }),
  },
  { name: "go-pinned", title: "its pinned", side: "wireguard-go", open: () => openTheirs({}, true) },
  {
    name: "nebula",
    title: "nebula",
    side: "orientation",
    open: () => openNebula(`${fetchPackages(SUITE, ["nebula"])}/usr/bin`),
  },
  { name: "veth", title: "veth", side: "orientation", open: openCable },
];
