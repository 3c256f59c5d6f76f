/** Manual pages (man(7)) made from the table of commands, so that they never lag behind it. */
import type { Command, Option } from "./command.ts";
import { usageOf } from "./help.ts";

/** ManualPage is the text of one page; `name` as in `man NAME`. */
export interface ManualPage {
  readonly name: string;
  /** In the language of man(7). */
  readonly text: string;
}

/** ManualEdition is what stands in the footer and head of each page. */
export interface ManualEdition {
  readonly version: string;
  /** As in 2026-01-31. */
  readonly date: string;
}

/** Section of the manual: commands for whoever runs the machine. */
export const MANUAL_SECTION = 8;

/** A line as man(7) prints it verbatim: an escape is begun by \, a request by . or ' at the begin of a line. */
function line(text: string): string {
  return text
    .replaceAll("\\", "\\e")
    .replaceAll("-", "\\-")
    .replace(
      /[^\u0000-\u007f]/gu,
      (one) => `\\[u${(one.codePointAt(0) as number).toString(16).toUpperCase().padStart(4, "0")}]`,
    )
    .replace(/^(?=[.'])/, "\\&");
}

const bold = (text: string) => `.B ${line(text).replaceAll('"', "\\(dq")}`;

/** Paragraphs; one with indented lines is a table or an example and stays as it is. */
function prose(text: string): string[] {
  return text.split(/\n\n+/).flatMap((paragraph) => {
    const lines = paragraph.split("\n");
    return lines.some((one) => one.startsWith("  "))
      ? [".PP", ".nf", ...lines.map(line), ".fi"]
      : [".PP", ...lines.map((one) => line(one.trim()))];
  });
}

function sentence(text: string): string {
  return text.endsWith(".") ? text : `${text}.`;
}

function options(table: Readonly<Record<string, Option>>): string[] {
  return Object.entries(table).flatMap(([name, { short, value, about, choices }]) => [
    ".TP",
    bold(`${short === undefined ? "" : `-${short}, `}--${name}${value === undefined ? "" : ` ${value}`}`),
    line(sentence(about)),
    ...(choices === undefined ? [] : [line(`One of ${choices.join(", ")}.`)]),
  ]);
}

function examples(lines: readonly string[]): string[] {
  return [".PP", ".nf", ...lines.map((one) => line(`    ${one}`)), ".fi"];
}

/** A command inside a group's page, and those inside it. */
function subcommand(command: Command, path: string): string[] {
  const full = `${path} ${command.name}`;
  return [
    `.SS ${line(usageOf(command, full))}`,
    line(sentence(command.about)),
    ...(command.more === undefined ? [] : prose(command.more)),
    ...options(command.options ?? {}),
    ...(command.examples === undefined ? [] : examples(command.examples)),
    ...(command.commands ?? []).flatMap((child) => subcommand(child, full)),
  ];
}

const pageName = (root: Command, child: Command) => `${root.name}-${child.name}`;

function page(
  command: Command,
  named: { readonly name: string; readonly path: string; readonly also: readonly string[] },
  { version, date }: ManualEdition,
): ManualPage {
  const { name, path, also } = named;
  const part = (title: string, lines: readonly string[]) =>
    lines.length === 0 ? [] : [`.SH ${title}`, ...lines];
  const lines = [
    `.TH ${line(name.toUpperCase())} ${MANUAL_SECTION} ${line(date)} "Causeway ${line(version)}" Causeway`,
    ".SH NAME",
    `${line(name)} \\- ${line(command.about)}`,
    ".SH SYNOPSIS",
    bold(usageOf(command, path)),
    ...part("DESCRIPTION", [
      line(sentence(command.about)),
      ...(command.more === undefined ? [] : prose(command.more)),
    ]),
    ...part("OPTIONS", options(command.options ?? {})),
    ...part(
      "COMMANDS",
      path === name
        ? (command.commands ?? []).flatMap((child) => [
            ".TP",
            bold(`${name}-${child.name}(${MANUAL_SECTION})`),
            line(sentence(child.about)),
          ])
        : (command.commands ?? []).flatMap((child) => subcommand(child, path)),
    ),
    ...part("EXAMPLES", command.examples === undefined ? [] : examples(command.examples)),
    ...part("SEE ALSO", [also.map((other) => `.BR ${line(other)} (${MANUAL_SECTION})`).join(" ,\n")]),
  ];
  return { name, text: `${lines.join("\n")}\n` };
}

/** manualPages returns a page for the whole, and one for each command right below it. */
export function manualPages(root: Command, edition: ManualEdition): readonly ManualPage[] {
  const children = root.commands ?? [];
  return [
    page(
      root,
      { name: root.name, path: root.name, also: children.map((child) => pageName(root, child)) },
      edition,
    ),
    ...children.map((child) =>
      page(
        child,
        { name: pageName(root, child), path: `${root.name} ${child.name}`, also: [root.name] },
        edition,
      ),
    ),
  ];
}
