import { expect, test } from "bun:test";
import { type Command, parseGiven, UsageError } from "./command.ts";
import { words } from "./completion.ts";
import { parseDurationMs } from "../net/mod.ts";
import { helpText } from "./help.ts";
import { rootFor } from "./commands.ts";
import { ago, bytes, facts, table } from "./table.ts";

const root = await rootFor();

const command: Command = {
  name: "try",
  about: "Try",
  positionals: ["NAME", "[OTHER]"],
  options: {
    json: { about: "j" },
    expose: { about: "e", value: "PORT", many: true },
    tunnel: { about: "t", value: "W", choices: ["a", "b"] },
  },
};
const given = (...argv: string[]) => parseGiven(command, "causeway try", argv);

test("arguments: values, repeats, flags", () => {
  const parsed = given("x", "--expose", "1", "--json", "--expose=2", "--tunnel", "a");
  expect(parsed.positionals).toEqual(["x"]);
  expect(parsed.values("expose")).toEqual(["1", "2"]);
  expect(parsed.flag("json")).toBe(true);
  expect(parsed.value("tunnel")).toBe("a");
  expect(parsed.values("tunnel")).toEqual(["a"]);
});

test("a word that may be left out is one of its choices", () => {
  const choosing = { ...command, positionals: ["NAME", "[refresh|reset]"] };
  expect(parseGiven(choosing, "causeway try", ["x", "reset"]).positionals).toEqual(["x", "reset"]);
  expect(parseGiven(choosing, "causeway try", ["x"]).positionals).toEqual(["x"]);
  expect(() => parseGiven(choosing, "causeway try", ["x", "stop"])).toThrow(
    '"stop" is not one of refresh, reset',
  );
});

test("mistakes are named, with what is accepted", () => {
  expect(() => given()).toThrow("NAME is missing");
  expect(() => given("x", "y", "z")).toThrow('"z" is one argument too many');
  expect(() => given("x", "--jsn")).toThrow("this command takes --json, --expose, --tunnel");
  expect(() => given("x", "--tunnel", "c")).toThrow('--tunnel "c" is not one of a, b');
  expect(() => given("x", "--tunnel")).toThrow(UsageError);
  expect(() => given("x", "--tunnel")).toThrow("--tunnel needs a value: --tunnel W (or --tunnel=W for one");
  expect(() => given("x", "--expose", "-1")).toThrow("--expose needs a value");
  expect(() => given("x", "--json=1")).toThrow("--json takes no value");
  expect(() => given("x", "--jsn=1")).toThrow("there is no option --jsn; this");
  expect(() => given("x", "-j")).toThrow("there is no option -j; this");
  expect(() => given("x", "--expose", "1a").number("expose")).toThrow('--expose "1a" is not a whole number');
  expect(() => given("x", "--tunnel", "a").durationMs("tunnel")).toThrow('--tunnel "a" is not a duration');
});

/** Every command in the table, with how it is called. */
function all(start: Command, path: string): [Command, string][] {
  return [[start, path], ...(start.commands ?? []).flatMap((child) => all(child, `${path} ${child.name}`))];
}

test("every command has help that fits a terminal, and does something or holds others", () => {
  for (const [entry, path] of all(root, "causeway")) {
    const text = helpText(entry, path);
    expect(entry.about.length, path).toBeGreaterThan(5);
    expect((entry.run === undefined) !== (entry.commands === undefined), path).toBe(true);
    for (const line of text.split("\n")) expect(line.length, `${path}: ${line}`).toBeLessThanOrEqual(80);
    for (const example of entry.examples ?? []) expect(example).toContain("causeway");
  }
});

test("completion follows the table", () => {
  expect(words(root, ["pe"])).toEqual(["peer", "peers"]);
  expect(words(root, ["peer", ""])).toEqual(["add", "list", "remove", "--help"]);
  expect(words(root, ["mesh", "generate", "--topology", ""])).toEqual(["hub", "full", "sites"]);
  expect(words(root, ["token", ""])).toEqual(["create", "list", "revoke", "--help"]);
  expect(words(root, ["agent", "--tunnel", ""])).toEqual(["auto", "kernel", "user", "wireguard-go"]);
  expect(words(root, ["peers", "--j"])).toEqual(["--json"]);
  expect(words(root, ["completion", ""])).toEqual(["bash", "zsh", "fish", "--help"]);
});

test("durations", () => {
  expect(parseDurationMs("90s")).toBe(90_000);
  expect(parseDurationMs("7d")).toBe(604_800_000);
  for (const text of ["", "1", "0s", "-1h", "1w", "1.5h"])
    expect(() => parseDurationMs(text)).toThrow("write it like");
});

test("tables and units", () => {
  expect(
    table(
      ["A", "LONG"],
      [
        ["xyz", "1"],
        ["", ""],
      ],
    ),
  ).toBe("A    LONG\nxyz  1\n\n");
  expect(table(["A"], [])).toBe("none\n");
  expect(
    facts([
      ["a", "1"],
      ["bcd", undefined],
    ]),
  ).toBe("a  1\n");
  expect([bytes(512), bytes(1536), bytes(3 * 2 ** 30)]).toEqual(["512 B", "1.5 KiB", "3.0 GiB"]);
  expect([ago(3), ago(150), ago(7300), ago(200000)]).toEqual(["3 s", "3 min", "2 h", "2 d"]);
});
