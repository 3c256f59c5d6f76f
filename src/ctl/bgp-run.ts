/** `causeway bgp run`: routers of a file, for a laboratory or a host that only reflects. */
import type { MonitorEvent } from "../bgp/mod.ts";
import type { BgpRouter, formatProblem, parseManifest } from "../resources/mod.ts";
import { ensureDirectory, exists, onSignal, wallMs } from "../sys/mod.ts";
import { type Command, UsageError } from "./command.ts";
import { printText, progress, readFile } from "./output.ts";

interface Manifests {
  readonly formatProblem: typeof formatProblem;
  readonly parseManifest: typeof parseManifest;
}

function routersOf(path: string, { formatProblem, parseManifest }: Manifests): BgpRouter[] {
  const { resources, problems } = parseManifest(readFile(path, "a BgpRouter is described in docs/bgp.md"));
  const wrong = problems.map(formatProblem);
  const routers: BgpRouter[] = [];
  for (const resource of resources)
    if (resource.kind === "BgpRouter") routers.push(resource.value);
    else wrong.push(`${resource.kind} "${resource.value.name}": is no BgpRouter; remove it from this file`);
  if (wrong.length === 0 && routers.length === 0)
    wrong.push(`${path}: has no BgpRouter; write one (docs/bgp.md)`);
  if (wrong.length > 0) throw new Error(wrong.join("\n"));
  return routers;
}

/** log writes one JSON line. */
function log(event: string, fields: Readonly<Record<string, string | number>>): void {
  progress(JSON.stringify({ time: new Date(wallMs()).toISOString(), event, ...fields }));
}

/** bgpRun is the command. */
export const bgpRun: Command = {
  name: "run",
  about: "Run the BgpRouters of a file, until it is ended",
  more: `SIGHUP reads the file again; sessions that it does not change go on. SIGTERM
ends the process so that neighbors keep its routes until it is back (RFC 4724);
SIGINT (Ctrl-C) ends it for good. A router with "install: true" has the kernel
route by its best unicast paths: SIGTERM leaves these routes there, SIGINT
removes them. Without it nothing is put into the kernel, and the router only
reflects. It is looked at with the other commands.`,
  positionals: ["FILE"],
  options: {
    folder: { about: "where its sockets and what outlives it are", value: "DIR" },
    record: { about: "write what sessions are told into files there, for replay", value: "DIR" },
    check: { about: "say what is wrong with the file, and run nothing" },
  },
  examples: ["causeway bgp run reflector.yaml", "causeway bgp run reflector.yaml --check"],
  async run(given) {
    const path = given.positionals[0] as string;
    const manifests = await import("../resources/mod.ts");
    const first = routersOf(path, manifests);
    if (given.flag("check")) {
      printText(
        `${path}: ${first.length === 1 ? "1 BgpRouter" : `${first.length} BgpRouters`}, nothing wrong\n`,
      );
      return 0;
    }
    const folder = given.value("folder") ?? "/run/causeway";
    if (!folder.startsWith("/")) throw new UsageError("causeway bgp run", "--folder is an absolute path");
    const { Routers, serveBgp } = await import("../bgp/mod.ts");
    // One that is there, such as the agent's, keeps its mode; the sockets have their own.
    if (!exists(folder)) ensureDirectory(folder, 0o700);
    const recordings = given.value("record");
    if (recordings !== undefined) ensureDirectory(recordings, 0o700);
    const routers = new Routers({ folder, log, recordings });
    const apply = (wanted: readonly BgpRouter[]) => {
      for (const [name, error] of routers.set(wanted))
        log("bgp router does not run", { router: name, why: error.message });
    };
    using serving = serveBgp(`${folder}/bgp.sock`, {
      speakers: () => routers.speakers,
      monitor: routers.monitor,
    });
    const failed = routers.set(first);
    for (const [name, error] of failed) {
      routers.stop();
      throw new Error(`BgpRouter "${name}" cannot run: ${error.message}`);
    }
    log("bgp runs", { routers: first.length });
    using _ = onSignal(["SIGHUP"], () => {
      try {
        apply(routersOf(path, manifests));
      } catch (error) {
        log("file is not used", { why: (error as Error).message });
      }
    });
    const name = await new Promise<string>((resolve) => onSignal(["SIGTERM", "SIGINT"], resolve));
    if (name === "SIGINT") await routers.shutdown("ended by the operator");
    else routers.stop();
    void serving;
    return 0;
  },
};

/** formatEvent returns a line of the monitor. */
export function formatEvent(event: MonitorEvent): string {
  if (event.kind === "route")
    return `${event.change === "gone" ? "-" : "+"} ${event.family} ${event.route}${event.nextHop === undefined ? "" : ` via ${event.nextHop}`}\n`;
  const { kind: _, router: __, event: text, ...fields } = event;
  return `! ${text}${Object.entries(fields)
    .map(([name, value]) => ` ${name} ${value}`.replaceAll(/\p{C}/gu, "\u{fffd}"))
    .join("")}\n`;
}
