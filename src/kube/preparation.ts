/** Files of a preparation on disk, each remembered as it was before, so that all of it can be taken back. */
import { join } from "node:path";
import { z } from "zod";
import { exists, fileMode, readText, removeTree, writeAtomic } from "../sys/mod.ts";
import { isKubeletEnvironment, nodeIpOf, withoutNodeIp } from "./kubelet-arguments.ts";
import type { PreparedFile } from "./prepare.ts";

/** Where it is noted what was there before. */
const RECORD = "/var/lib/causeway/kube-prepare.json";
const MODE = 0o644;

const recordSchema = z.record(
  z.string(),
  z.strictObject({
    /** The text before; null: there was no file. */
    before: z.string().nullable(),
    /** The text that was written. */
    wrote: z.string(),
    mode: z.number().int(),
  }),
);

type PreparedRecord = z.infer<typeof recordSchema>;

/** Step is what becomes of a file. */
export interface PreparationStep {
  readonly path: string;
  readonly about: string;
  readonly does: "write" | "restore" | "remove" | "keep";
  /** The text after; for `keep` absent. */
  readonly text?: string;
  /** Why a file is kept. */
  readonly reason?: string;
}

/** Preparation writes below `root`, which is `/` on a running node. */
export class Preparation {
  readonly #root: string;
  readonly #record: PreparedRecord;

  constructor(root = "/") {
    this.#root = root;
    const text = readText(join(root, RECORD));
    this.#record = text === undefined ? {} : parseRecord(join(root, RECORD), text);
  }

  /** plan returns what `wanted` changes, in order; files of an earlier preparation that are not wanted any more are taken back. Nothing is done yet. */
  plan(wanted: readonly PreparedFile[]): readonly PreparationStep[] {
    const paths = new Set(wanted.map(({ path }) => path));
    const stale = Object.keys(this.#record).filter((path) => !paths.has(path));
    const steps = wanted.flatMap((file): PreparationStep[] => {
      const now = this.#read(file.path);
      const text = typeof file.text === "string" ? file.text : this.#edited(file, now ?? "");
      return text === now ? [] : [{ path: file.path, about: file.about, does: "write", text }];
    });
    return [...stale.map((path) => this.#back(path)), ...steps];
  }

  /** planUndo returns how all that was written is taken back. */
  planUndo(): readonly PreparationStep[] {
    return Object.keys(this.#record).map((path) => this.#back(path));
  }

  /** apply does the steps of a plan. What was there is noted durably before a file is touched. */
  apply(steps: readonly PreparationStep[]): void {
    for (const step of steps) {
      const file = join(this.#root, step.path);
      if (step.does === "keep") {
        this.#forget(step.path);
      } else if (step.does === "write") {
        const text = step.text as string;
        const noted = this.#record[step.path];
        const before = noted === undefined ? (this.#read(step.path) ?? null) : noted.before;
        const mode = exists(file) ? fileMode(file) & 0o777 : MODE;
        this.#note(step.path, { before, wrote: text, mode });
        writeAtomic(file, text, mode);
      } else {
        const mode = this.#record[step.path]?.mode ?? MODE;
        if (step.does === "remove") removeTree(file);
        else writeAtomic(file, step.text as string, mode);
        this.#forget(step.path);
      }
    }
  }

  #edited(file: PreparedFile, now: string): string {
    try {
      return (file.text as (before: string) => string)(now);
    } catch (error) {
      throw new Error(`${file.path}: ${(error as Error).message}`, { cause: error });
    }
  }

  #back(path: string): PreparationStep {
    const { before, wrote } = this.#record[path] as PreparedRecord[string];
    const now = this.#read(path);
    const about = "as it was before";
    if (now === undefined) return { path, about, does: "keep", reason: "it is gone already" };
    if (now === wrote)
      return before === null
        ? { path, about, does: "remove" }
        : { path, about, does: "restore", text: before };
    // Others have written since: only our part goes.
    const without = withoutOurs(path, { now, wrote });
    return without === undefined
      ? { path, about, does: "keep", reason: "it was changed since; take it away by hand" }
      : { path, about: "without what was added", does: "restore", text: without };
  }

  #read(path: string): string | undefined {
    return readText(join(this.#root, path));
  }

  #note(path: string, entry: PreparedRecord[string]): void {
    this.#record[path] = entry;
    this.#save();
  }

  #forget(path: string): void {
    delete this.#record[path];
    this.#save();
  }

  #save(): void {
    const file = join(this.#root, RECORD);
    if (Object.keys(this.#record).length === 0) removeTree(file);
    // What was in others' files is nobody's affair.
    else writeAtomic(file, `${JSON.stringify(this.#record, null, 2)}\n`, 0o600);
  }
}

/** What others have written without our part, where that can be told. */
function withoutOurs(path: string, { now, wrote }: { readonly now: string; readonly wrote: string }) {
  if (!isKubeletEnvironment(path)) return undefined;
  const addresses = nodeIpOf(wrote);
  return addresses === undefined ? undefined : withoutNodeIp(now, addresses);
}

function parseRecord(path: string, text: string): PreparedRecord {
  try {
    return recordSchema.parse(JSON.parse(text));
  } catch {
    throw new Error(
      `${path} is damaged: it tells what files were before \`causeway kube prepare\`. Move it away to go on without`,
    );
  }
}
