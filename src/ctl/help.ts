/** Help texts, made from the table of commands. */
import type { Command, Option } from "./command.ts";

/** usageOf returns the one line that says how a command is called. */
export function usageOf(command: Command, path: string): string {
  const parts = [path];
  if (command.commands !== undefined) parts.push("COMMAND");
  if (Object.keys(command.options ?? {}).length > 0) parts.push("[OPTIONS]");
  parts.push(...(command.positionals ?? []));
  return parts.join(" ");
}

function optionText(name: string, { short, value }: Option): string {
  return `${short === undefined ? "" : `-${short}, `}--${name}${value === undefined ? "" : ` ${value}`}`;
}

function columns(rows: readonly (readonly [string, string])[]): string {
  const width = Math.max(...rows.map(([left]) => left.length));
  return rows.map(([left, right]) => `  ${left.padEnd(width)}  ${right}`).join("\n");
}

/** helpText returns what `--help` prints for a command; `path` is how it was called. */
export function helpText(command: Command, path: string): string {
  const blocks = [`${command.about}\n\nUsage: ${usageOf(command, path)}`];
  if (command.more !== undefined) blocks.push(command.more);
  if (command.commands !== undefined)
    blocks.push(`Commands:\n${columns(command.commands.map((child) => [child.name, child.about]))}`);
  const options = Object.entries(command.options ?? {});
  if (options.length > 0)
    blocks.push(
      `Options:\n${columns(options.map(([name, option]) => [optionText(name, option), option.about]))}`,
    );
  if (command.examples !== undefined)
    blocks.push(`Examples:\n${command.examples.map((line) => `  ${line}`).join("\n")}`);
  if (command.commands !== undefined) blocks.push(`Help for a command: ${path} COMMAND --help`);
  return `${blocks.join("\n\n")}\n`;
}
