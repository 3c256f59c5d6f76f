import { describe, expect, test } from "bun:test";
import { parseArguments, parseBlocks, parseStatements, quote } from "./statement.ts";

const argumentOf = (text: string) => parseStatements(`x ${text};`)[0]?.argument;

describe("text of an argument (RFC 7950, section 6.1.3)", () => {
  const cases: [text: string, expected: string][] = [
    ["foo", "foo"],
    ['"foo"', "foo"],
    ["'foo'", "foo"],
    ['"foo"+"bar"', "foobar"],
    [`'foo' /* and */ + "bar"`, "foobar"],
    ["'foo\\nbar'", "foo\\nbar"],
    ['"foo\\nbar\\t\\"\\\\"', 'foo\nbar\t"\\'],
    ['"// no comment;"', "// no comment;"],
    ["''", ""],
    ["10.0.0.0/8", "10.0.0.0/8"],
    ["a//b\n", "a"],
    ["a/* b */", "a"],
    // Lines are cut at the column of the quote, and blanks before their ends go.
    ['"foo  \n     bar"', "foo\n  bar"],
    ['"foo\n\tbar"', "foo\nbar"],
  ];
  for (const [text, expected] of cases)
    test(JSON.stringify(text), () => expect(argumentOf(text)).toBe(expected));
});

test("statements have their places", () => {
  expect(parseStatements("a 1;\n  b {\n c 2; }\n")).toEqual([
    { keyword: "a", argument: "1", line: 1, column: 1 },
    {
      keyword: "b",
      block: [{ keyword: "c", argument: "2", line: 3, column: 2 }],
      line: 2,
      column: 3,
    },
  ]);
});

test("parts of a list, and bare values", () => {
  expect(parseBlocks("{ a 1; } // and\n{}").map(({ block }) => block?.length)).toEqual([1, 0]);
  expect(parseArguments('1.2.3.4; "b c"\n d').map(({ argument }) => argument)).toEqual([
    "1.2.3.4",
    "b c",
    "d",
  ]);
});

describe("what is no statement is refused with its place", () => {
  const cases: [text: string, expected: string][] = [
    ["a 1", "not the ; or { that must stand after a (line 1, column 4)"],
    ["a {", "begins a block that does not end; write } (line 1, column 3)"],
    ["}", "ends a block that does not begin; remove it (line 1, column 1)"],
    ["a 'b", "begins a text that does not end; write the quote at its end (line 1, column 3)"],
    ['a "b', "begins a text that does not end; write the quote at its end (line 1, column 3)"],
    ['a "\\x";', 'is no escape; the escapes are \\n, \\t, \\" and \\\\ (line 1, column 4)'],
    ["a /* b", "begins a comment that does not end; write */ (line 1, column 3)"],
    ["1 2;", "is not a name; write one of letters, digits"],
    ['a"b";', "must stand apart from a; write a blank (line 1, column 2)"],
    ['a "b" + c;', "is not the text in quotes that + wants (line 1, column 9)"],
    ["a { ".repeat(9), "is nested deeper than 8 blocks"],
    ["a 1;".repeat(1024 * 1024 + 1), "is longer than 4194304 characters"],
  ];
  for (const [text, expected] of cases)
    test(text.slice(0, 40), () => expect(() => parseStatements(text)).toThrow(expected));
  test("a list's entries", () => expect(() => parseBlocks("a { }")).toThrow("is not the { of an entry"));
  test("a bare value", () => expect(() => parseArguments("{ }")).toThrow("is not a value"));
});

test("quote writes what is read", () => {
  for (const text of ["a", "", "a b", 'a"b', "a'b", "a\\b", "a\nb\tc", "a/b", "a//b", "{;}", "ä€"])
    expect(argumentOf(quote(text))).toBe(text);
});
