/** The command line: finds the command, parses its arguments, runs it, and turns errors into a sentence and a status. */
import { programName } from "../sys/mod.ts";
import { type Command, parseGiven, UsageError } from "./command.ts";
import { helpText } from "./help.ts";
import { rootFor } from "./commands.ts";
import { printText, progress } from "./output.ts";

async function dispatch(argv: readonly string[]): Promise<number> {
  if (argv[0] === "--version") return dispatch(["version"]);
  let command: Command = await rootFor(argv[0]);
  let path = "causeway";
  let rest = [...argv];
  while (command.commands !== undefined) {
    const [word, ...after] = rest;
    if (word === undefined || word === "--help" || word === "-h" || word === "help") {
      if (word === "help" && after.length > 0)
        return dispatch([...path.split(" ").slice(1), ...after, "--help"]);
      printText(helpText(command, path));
      return word === undefined ? 2 : 0;
    }
    const child: Command | undefined = command.commands.find((candidate) => candidate.name === word);
    if (child === undefined)
      throw new UsageError(
        path,
        `"${word}" is not a command; there are ${command.commands.map((candidate) => candidate.name).join(", ")}`,
      );
    command = child;
    path += ` ${word}`;
    rest = after;
  }
  const end = rest.indexOf("--");
  const own = end < 0 ? rest : rest.slice(0, end);
  if (own.includes("--help") || own.includes("-h")) {
    printText(helpText(command, path));
    return 0;
  }
  return (await command.run?.(parseGiven(command, path, rest))) ?? 0;
}

const FILE_ERRORS: Readonly<Record<string, string>> = {
  EACCES: "permission denied; become root",
  EPERM: "not permitted; become root",
  EISDIR: "it is a folder",
  ENOTDIR: "a part of the path is not a folder",
  ENOENT: "there is no such file or folder",
  ENOSPC: "no space is left",
  EROFS: "the file system is read-only",
};

const CALLS: Readonly<Record<string, string>> = {
  mkdir: "make the folder",
  scandir: "list the folder",
  unlink: "remove",
  copyfile: "copy",
};

/** A mistake of the user, the network or the kernel is told in one sentence; only a bug has a stack. */
function sentence(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  if (error instanceof TypeError || error instanceof ReferenceError || error instanceof RangeError)
    return error.stack ?? error.message;
  // What the runtime says of a file: `EISDIR: illegal operation on a directory, read`.
  const { code, path, syscall } = error as {
    readonly code?: string;
    readonly path?: string;
    readonly syscall?: string;
  };
  const reason = FILE_ERRORS[code ?? ""];
  return reason !== undefined && syscall !== undefined && error.message.startsWith(`${code}:`)
    ? `Cannot ${CALLS[syscall] ?? syscall} ${path ?? "the file"}: ${reason}`
    : error.message;
}

/** main runs one command line and returns the exit status: 0 done, 1 failed, 2 called wrongly. */
export async function main(argv: readonly string[]): Promise<number> {
  if (programName() === "loopback") {
    progress("CNI plugin loopback of Causeway; container runtimes call it, with CNI_COMMAND set.");
    return 0;
  }
  try {
    return await dispatch(argv);
  } catch (error) {
    if (error instanceof UsageError) {
      progress(`${error.path}: ${error.message}.\nSee: ${error.path} --help`);
      return 2;
    }
    progress(sentence(error));
    return 1;
  }
}
