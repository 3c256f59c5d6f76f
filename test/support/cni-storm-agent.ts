/**
 * The supervisor of a storm: the real `causeway agent`, killed at random instants and started again, as a service manager would.
 *
 * What the dead agent left is looked at between its death and the next start, in a copy of its database, so that the next one meets
 * the file as it was.
 */
import { Database } from "bun:sqlite";
import { copyFileSync, readdirSync, rmSync } from "node:fs";
import type { Subprocess } from "bun";
import { hostLinkOf, podId } from "../../src/pods/mod.ts";

const STATE = "/var/lib/causeway";

/** Kills counts what the kills of a storm hit. */
export interface Kills {
  readonly all: number;
  /** Before the agent answered anybody: while it took up what the last one left. */
  readonly whileStarting: number;
  /** ADDs that had addresses on disk and no answer yet. */
  readonly addsCut: number;
  /** DELs that had removed the link and not the row. */
  readonly delsCut: number;
}

interface Row {
  readonly network: string;
  readonly container: string;
  readonly ifname: string;
  readonly state: string;
}

/** StormAgent owns the agent's process. */
export class StormAgent {
  readonly #executable: string;
  readonly #counts = { all: 0, whileStarting: 0, addsCut: 0, delsCut: 0 };
  #process: Subprocess | undefined;

  constructor(executable: string) {
    this.#executable = executable;
  }

  get kills(): Kills {
    return this.#counts;
  }

  start(): void {
    this.#process = Bun.spawn([this.#executable, "agent"], {
      stdout: "ignore",
      stderr: Bun.file(`${STATE}/agent.log`),
    });
  }

  /** rows names what is in the database now. */
  rows(): string[] {
    return stored().map(({ container, state }) => `${container} ${state}`);
  }

  /** stop freezes the agent: calls pile up at its socket. */
  stop(): void {
    this.#process?.kill("SIGSTOP");
  }

  /** kill ends the agent at once, and counts what it was doing. */
  async kill(options: { readonly whileStarting: boolean }): Promise<void> {
    this.#process?.kill("SIGKILL");
    await this.#process?.exited;
    const rows = stored();
    const links = linkNames();
    const halfway = rows.filter(({ state }) => state === "adding");
    const gone = rows.filter(
      (row) =>
        row.state !== "adding" && !links.has(hostLinkOf(podId({ ...row, containerId: row.container }))),
    );
    this.#counts.all++;
    this.#counts.whileStarting += Number(options.whileStarting);
    this.#counts.addsCut += halfway.length;
    this.#counts.delsCut += gone.length;
  }
}

function stored(): Row[] {
  const copy = `${STATE}/copy`;
  const files = readdirSync(STATE).filter((name) => /^pods\..*\.db(?:-wal)?$/.test(name));
  if (files.length === 0) return [];
  for (const name of files) copyFileSync(`${STATE}/${name}`, name.endsWith("-wal") ? `${copy}-wal` : copy);
  try {
    using database = new Database(copy);
    return database.query<Row, []>("SELECT * FROM attachment").all();
  } finally {
    for (const suffix of ["", "-wal", "-shm"]) rmSync(copy + suffix, { force: true });
  }
}

function linkNames(): ReadonlySet<string> {
  const { stdout } = Bun.spawnSync(["ip", "-j", "link"]);
  const links = JSON.parse(stdout.toString()) as { ifname: string }[];
  return new Set(links.map(({ ifname }) => ifname));
}
