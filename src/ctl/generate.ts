/** `causeway mesh generate`: a mesh of plain WireGuard as a folder of files, for machines on which nothing of Causeway is. */
import { formatIp, formatPrefix, parseIp, parsePrefix } from "../net/mod.ts";
import {
  addressesOf,
  changesBetween,
  filePath,
  filesOf,
  formatMesh,
  formatWgQuick,
  parseMesh,
  type PlainMesh,
  topologies,
  updated,
  type WgQuickFile,
  type Wishes,
  without,
} from "../plain/mod.ts";
import { listDirectory, readText, replaceFiles } from "../sys/mod.ts";
import { type Command, type Given, withJson } from "./command.ts";
import { printJson, printText, progress } from "./output.ts";

const MANIFEST = "mesh.json";
const FOLDER = "wg";
/** Additions that are listed one by one. */
const LISTED = 12;

/** readPlainMesh returns the mesh that a folder holds, or undefined where there is none. */
export function readPlainMesh(folder: string): PlainMesh | undefined {
  const path = `${folder}/${MANIFEST}`;
  const text = readText(path);
  return text === undefined ? undefined : parseMesh(text, path);
}

function given<T>(values: readonly string[], parse: (text: string) => T): T[] | undefined {
  return values.length === 0 ? undefined : values.map(parse);
}

function present<T extends object>(fields: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as never;
}

function wishesOf(args: Given): Wishes {
  return {
    ...present({
      prefixes: given(args.positionals, parsePrefix),
      topology: args.value("topology") as Wishes["topology"],
      interfaceName: args.value("interface"),
      listenPort: args.number("port"),
      mtuBytes: args.number("mtu"),
      keepaliveSeconds: args.number("keepalive"),
      dns: given(args.values("dns"), parseIp),
      peers: args.number("peers"),
    }),
    forward: args.flag("forward"),
    psk: args.flag("psk"),
    without: args.values("without") as readonly (typeof without)[number][],
    endpoints: args.values("endpoint"),
    machines: args.values("peer"),
    remove: args.values("remove"),
    rotate: args.values("rotate"),
  };
}

/** Change is one file of the folder that is written or removed. */
interface Change {
  readonly machine: string;
  readonly path: string;
  readonly action: "add" | "change" | "remove";
  readonly details: readonly string[];
}

interface Planned {
  readonly mesh: PlainMesh;
  readonly files: ReadonlyMap<string, WgQuickFile>;
  readonly changes: readonly Change[];
}

/** What is on disk as neither the last run nor this one wrote it is somebody's work, and not overwritten unasked. */
function planned(folder: string, args: Given): Planned {
  const old = readPlainMesh(folder);
  if (old === undefined && listDirectory(folder).length > 0)
    throw new Error(
      `Cannot generate the mesh: ${folder} holds other files and no ${MANIFEST}; name a new folder with --output`,
    );
  const mesh = updated(old, wishesOf(args));
  const before = old === undefined ? new Map<string, WgQuickFile>() : filesOf(old);
  const files = filesOf(mesh);
  const differing = new Map(changesBetween(before, files).map((change) => [change.machine, change]));
  const changes: Change[] = [];
  const edited: string[] = [];
  const moved = old !== undefined && old.interfaceName !== mesh.interfaceName;
  for (const [machine, file] of files) {
    const path = filePath(mesh, machine);
    const text = readText(`${folder}/${path}`);
    if (text === formatWgQuick(file)) continue;
    const then = before.get(machine);
    const own = text === undefined || (then !== undefined && text === formatWgQuick(then));
    if (!own) edited.push(path);
    const change = differing.get(machine);
    const lost = text === undefined && then !== undefined && !moved;
    changes.push({
      machine,
      path,
      action: text === undefined ? "add" : "change",
      details: [
        ...(change?.details ?? []),
        ...(own ? [] : ["what was written by hand is lost"]),
        ...(lost ? ["was missing"] : []),
      ],
    });
  }
  for (const machine of before.keys())
    if (!files.has(machine) || moved)
      changes.push({ machine, path: filePath(old as PlainMesh, machine), action: "remove", details: [] });
  if (edited.length > 0 && !args.flag("overwrite"))
    throw new Error(
      `Cannot generate the mesh: ${edited.map((path) => `${folder}/${path}`).join(", ")} ${edited.length === 1 ? "was" : "were"} not written by causeway, or edited since; move away what you need, or write anew with --overwrite`,
    );
  return { mesh, files, changes };
}

function write(folder: string, { mesh, files, changes }: Planned): void {
  if (changes.length === 0 && readText(`${folder}/${MANIFEST}`) === formatMesh(mesh)) return;
  const kept = changes.filter((change) => change.action !== "remove");
  replaceFiles(folder, {
    // First the keys: whatever happens after, the next run makes the same files.
    write: [
      { path: MANIFEST, content: formatMesh(mesh) },
      ...kept.map(({ machine, path }) => ({
        path,
        content: formatWgQuick(files.get(machine) as WgQuickFile),
      })),
    ],
    remove: changes.filter((change) => change.action === "remove").map(({ path }) => path),
  });
}

function shownChanges(changes: readonly Change[]): string {
  const signs = { add: "+", change: "~", remove: "-" } as const;
  const lines: string[] = [];
  let added = 0;
  for (const { path, action, details } of changes) {
    if (action === "add" && ++added > LISTED && details.length === 0) continue;
    lines.push(`${signs[action]} ${path}`, ...details.map((detail) => `    ${detail}`));
  }
  if (added > LISTED) lines.push(`+ … and more: ${added} new files`);
  return lines.map((line) => `${line}\n`).join("");
}

function shown(folder: string, { mesh, changes }: Planned, dryRun: boolean) {
  return {
    folder,
    written: !dryRun,
    topology: mesh.topology,
    prefixes: mesh.prefixes.map(formatPrefix),
    machines: mesh.machines.map((machine) => ({
      name: machine.name,
      hub: machine.hub === undefined,
      ...(machine.hub === undefined ? {} : { site: machine.hub }),
      addresses: addressesOf(mesh, machine).map(({ ip }) => formatIp(ip)),
      endpoints: machine.endpoints,
      publicKey: machine.privateKey.publicKey,
      file: filePath(mesh, machine.name),
    })),
    changes,
  };
}

function advice(folder: string, mesh: PlainMesh): void {
  const name = mesh.interfaceName;
  progress(`on each machine: install -m 600 ${folder}/NAME/${name}.conf /etc/wireguard/`);
  progress(`                 systemctl enable --now wg-quick@${name}`);
  if (!mesh.forward)
    progress(
      "a hub must forward between its peers; the head of its file says how, or generate with --forward",
    );
}

/** generate is `causeway mesh generate`. */
export const generate: Command = {
  name: "generate",
  about: "Make WireGuard files for machines that have no Causeway",
  more: `Makes a folder with NAME/wg0.conf for each machine, for wg-quick(8). Run it
again to change the mesh: keys stay, and only files that differ are written.
No agent is needed. mesh.json in the folder keeps the keys, which nothing
prints: guard the folder.

PREFIX is a network of IPv4, of IPv6, or both; machines are numbered in it from
1, hubs first. All traffic goes through the hub, unless TOPOLOGY is full: then
machines of which one has an endpoint talk directly. With sites there are
several hubs: name them, --endpoint HUB=HOST:PORT, and say who belongs to
which, --peer NAME@HUB.`,
  positionals: ["[PREFIX…]"],
  options: withJson({
    endpoint: { about: "where machines reach the hub (repeat)", value: "[HUB=]HOST:PORT", many: true },
    topology: { about: "hub (default), full or sites", value: "TOPOLOGY", choices: topologies },
    peers: { about: "how many machines (default: all, 253 at most)", value: "N" },
    peer: { about: "a machine, by name (repeat)", value: "NAME[@HUB][=HOST:PORT]", many: true },
    remove: { about: "revoke a machine (repeat)", value: "NAME", many: true },
    rotate: { about: "give a machine a new key (repeat)", value: "NAME", many: true },
    output: { about: `folder (default ${FOLDER})`, value: "DIR" },
    interface: { about: "name of the interface (default wg0)", value: "NAME" },
    port: { about: "UDP port that hubs listen on (default 51820)", value: "PORT" },
    mtu: { about: "MTU (default: wg-quick finds it)", value: "BYTES" },
    keepalive: { about: "of machines without endpoint (25; 0: none)", value: "SECONDS" },
    dns: { about: "name server of the machines (repeat)", value: "ADDRESS", many: true },
    psk: { about: "a pre-shared key for each pair" },
    forward: { about: "hubs switch forwarding on (sysctl, iptables)" },
    without: { about: "take a setting back (repeat)", value: "SETTING", many: true, choices: without },
    overwrite: { about: "also files that were edited by hand" },
    "dry-run": { about: "only say what would change" },
  }),
  examples: [
    "causeway mesh generate 10.6.0.0/24 --endpoint example.com:15220",
    "causeway mesh generate --peer laptop",
    "causeway mesh generate --remove peer-7 --dry-run",
    "causeway mesh generate 10.6.0.0/22 fd06::/64 --psk --endpoint 192.0.2.1:51820",
  ],
  async run(args) {
    const folder = (args.value("output") ?? FOLDER).replace(/(?<=.)\/+$/, "");
    const dryRun = args.flag("dry-run");
    const plan = planned(folder, args);
    if (!dryRun) write(folder, plan);
    if (args.flag("json")) return printJson(shown(folder, plan, dryRun));
    const hubs = plan.mesh.machines.filter((machine) => machine.hub === undefined).length;
    printText(shownChanges(plan.changes));
    progress(
      `${folder}: ${plan.mesh.prefixes.map(formatPrefix).join(", ")}, ${hubs} hub${hubs === 1 ? "" : "s"}, ${plan.mesh.machines.length - hubs} machines; ${plan.changes.length === 0 ? "nothing changes" : dryRun ? "nothing was written" : "written"}`,
    );
    if (!dryRun && plan.changes.length > 0) advice(folder, plan.mesh);
    return 0;
  },
};
