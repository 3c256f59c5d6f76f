/** The command line: finds the command, parses its arguments, runs it, and turns errors into a sentence and a status. */
import { root } from "./root.ts";
import { type Command, parseGiven, UsageError } from "./command.ts";
import { helpText } from "./help.ts";
import { printText, progress } from "./output.ts";

async function dispatch(argv: readonly string[]): Promise<number> {
  let command: Command = root;
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
    if (word === "--version") return dispatch(["version"]);
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

/** main runs one command line and returns the exit status: 0 done, 1 failed, 2 called wrongly. */
export async function main(argv: readonly string[]): Promise<number> {
  try {
    return await dispatch(argv);
  } catch (error) {
    if (error instanceof UsageError) {
      progress(`${error.path}: ${error.message}.\nSee: ${error.path} --help`);
      return 2;
    }
    // A mistake of the user, the network or the kernel is told in one sentence; only a bug has a stack.
    const bug = error instanceof TypeError || error instanceof ReferenceError || error instanceof RangeError;
    progress(error instanceof Error ? (bug ? (error.stack ?? error.message) : error.message) : String(error));
    return 1;
  }
}
