import { expect, test } from "bun:test";
import type { Command } from "./command.ts";
import { manualPages } from "./manual.ts";
import { rootFor } from "./commands.ts";

const root = await rootFor();

const edition = { version: "1.2.3", date: "2026-01-31" };

const small: Command = {
  name: "tool",
  about: "Does things",
  commands: [
    {
      name: "do",
      about: "Do one thing",
      more: ".hidden is a file,\nand \\ a character.\n\n  left   right",
      positionals: ["WHAT"],
      options: { "how-much": { about: "how much", value: "N", short: "n" }, json: { about: "as JSON" } },
      examples: ["tool do 'it' --json"],
    },
  ],
};

test("a page says what --help says, with all that man(7) would take for its own escaped", () => {
  const [whole, one] = manualPages(small, edition);
  expect(whole?.name).toBe("tool");
  expect(whole?.text).toContain(".B tool\\-do(8)\nDo one thing.");
  expect(one?.name).toBe("tool-do");
  expect(one?.text).toBe(
    String.raw`.TH TOOL\-DO 8 2026\-01\-31 "Causeway 1.2.3" Causeway
.SH NAME
tool\-do \- Do one thing
.SH SYNOPSIS
.B tool do [OPTIONS] WHAT
.SH DESCRIPTION
Do one thing.
.PP
\&.hidden is a file,
and \e a character.
.PP
.nf
  left   right
.fi
.SH OPTIONS
.TP
.B \-n, \-\-how\-much N
how much.
.TP
.B \-\-json
as JSON.
.SH EXAMPLES
.PP
.nf
    tool do 'it' \-\-json
.fi
.SH SEE ALSO
.BR tool (8)
`,
  );
});

test("every command has its place in a page, and no line of a page is a request by accident", () => {
  const requests = /^\.(TH|SH|SS|TP|PP|B|BR|nf|fi)\b/;
  const pages = manualPages(root, edition);
  expect(pages.length).toBe(1 + (root.commands ?? []).length);
  for (const { name, text } of pages)
    for (const line of text.split("\n"))
      if (/^[.']/.test(line)) expect([name, line, requests.test(line)]).toEqual([name, line, true]);
  const inside = (command: Command, path: string): string[] => [
    path,
    ...(command.commands ?? []).flatMap((child) => inside(child, `${path} ${child.name}`)),
  ];
  const all = pages.map(({ text }) => text.replaceAll("\\-", "-")).join("\n");
  for (const path of inside(root, "causeway")) expect(all).toContain(path);
});
