/**
 * Text to statements: the lexical rules of YANG (RFC 7950, section 6.1), in which Vita's configurations are written.
 *
 * ```
 * route4 {                      // a block
 *   id tokyo;
 *   net "172.32.0.0/16";        "double" and 'single' quotes, joined by +
 * }
 * ```
 * Where Vita's parser is narrower (`/` in text without quotes), RFC 7950 counts. What a statement means is read-text.ts's affair.
 */
import { ConfigError } from "./problem.ts";

/** Place is where something begins in a text; both from 1, columns in UTF-16 code units. */
export interface Place {
  readonly line: number;
  readonly column: number;
}

/** Statement is a keyword with an argument, a block, or both. In the entries of a bare list the keyword is "". */
export interface Statement extends Place {
  readonly keyword: string;
  readonly argument?: string;
  readonly block?: readonly Statement[];
}

/** MAX_TEXT is the longest text that is read, in UTF-16 code units. */
export const MAX_TEXT = 4 * 1024 * 1024;

/** The deepest nesting; configurations and state have three. */
const MAX_DEPTH = 8;

/** Ends text without quotes: blanks, `;`, braces, quotes; and a comment. */
const BARE = /(?:[^\s;{}"'/]|\/(?![/*]))+/y;
const BLANKS = /(?:\s|\/\/[^\n]*|\/\*[^]*?\*\/)+/y;
const KEYWORD = /[A-Za-z_][A-Za-z0-9_.-]*/y;

class Reader {
  at = 0;
  readonly text: string;
  /** Where lines start, found when the first place is asked for. */
  #starts: number[] | undefined;

  constructor(text: string) {
    if (text.length > MAX_TEXT)
      throw new ConfigError([
        { path: "/", rule: `is longer than ${MAX_TEXT} characters; add parts of it one by one` },
      ]);
    this.text = text;
  }

  get peek(): string {
    return this.text[this.at] ?? "";
  }

  place(at: number): Place {
    this.#starts ??= [0, ...[...this.text.matchAll(/\n/g)].map(({ index }) => index + 1)];
    let low = 0;
    let high = this.#starts.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if ((this.#starts[middle] as number) <= at) low = middle;
      else high = middle - 1;
    }
    return { line: low + 1, column: at - (this.#starts[low] as number) + 1 };
  }

  fail(rule: string, at = this.at): never {
    throw new ConfigError([{ path: "/", rule: `what stands here ${rule}`, ...this.place(at) }]);
  }

  match(pattern: RegExp): string | undefined {
    pattern.lastIndex = this.at;
    const found = pattern.exec(this.text)?.[0];
    if (found !== undefined) this.at += found.length;
    return found;
  }

  take(character: string): boolean {
    if (this.peek !== character) return false;
    this.at++;
    return true;
  }

  /** Passes over blanks and comments; true if there were any. */
  blanks(): boolean {
    const found = this.match(BLANKS) !== undefined;
    if (this.text.startsWith("/*", this.at)) this.fail("begins a comment that does not end; write */");
    return found;
  }
}

const escapes: Readonly<Record<string, string>> = { n: "\n", t: "\t", '"': '"', "\\": "\\" };

/** Double quotes: escapes, and lines that are cut as RFC 7950, section 6.1.3 says. */
function doubleQuoted(reader: Reader, start: number): string {
  const margin = reader.place(start).column;
  let result = "";
  for (;;) {
    const plain = reader.match(/[^"\\\n]+/y) ?? "";
    const ends = reader.peek === "\n";
    result += ends ? plain.trimEnd() : plain;
    if (reader.take('"')) return result;
    if (reader.take("\n")) {
      result += "\n";
      // What stands left of the quote's column is layout.
      for (let column = 1; column <= margin && (reader.peek === " " || reader.peek === "\t"); column++) {
        if (reader.peek === "\t") column += 7;
        reader.at++;
      }
    } else if (reader.take("\\")) {
      const escape = escapes[reader.peek];
      if (escape === undefined)
        reader.fail('is no escape; the escapes are \\n, \\t, \\" and \\\\', reader.at - 1);
      result += escape;
      reader.at++;
    } else reader.fail("begins a text that does not end; write the quote at its end", start);
  }
}

function quoted(reader: Reader): string {
  const start = reader.at;
  if (reader.take('"')) return doubleQuoted(reader, start);
  reader.at++;
  const text = reader.match(/[^']*/y) ?? "";
  if (!reader.take("'")) reader.fail("begins a text that does not end; write the quote at its end", start);
  return text;
}

/** An argument: text without quotes, or pieces with quotes that `+` joins. */
function argument(reader: Reader): string | undefined {
  if (reader.peek !== '"' && reader.peek !== "'") return reader.match(BARE);
  let result = quoted(reader);
  for (;;) {
    const end = reader.at;
    reader.blanks();
    if (!reader.take("+")) {
      reader.at = end;
      return result;
    }
    reader.blanks();
    if (reader.peek !== '"' && reader.peek !== "'") reader.fail("is not the text in quotes that + wants");
    result += quoted(reader);
  }
}

function block(reader: Reader, depth: number): readonly Statement[] | undefined {
  const start = reader.at;
  if (!reader.take("{")) return undefined;
  if (depth >= MAX_DEPTH) reader.fail(`is nested deeper than ${MAX_DEPTH} blocks`, start);
  const statements: Statement[] = [];
  for (;;) {
    reader.blanks();
    if (reader.take("}")) return statements;
    if (reader.peek === "") reader.fail("begins a block that does not end; write }", start);
    statements.push(statement(reader, depth + 1));
  }
}

function statement(reader: Reader, depth: number): Statement {
  const start = reader.at;
  const keyword = reader.match(KEYWORD);
  if (keyword === undefined) reader.fail("is not a name; write one of letters, digits, '-', '_' and '.'");
  const place = reader.place(start);
  const apart = reader.blanks();
  if (!apart && !/^[;{]?$/.test(reader.peek)) reader.fail(`must stand apart from ${keyword}; write a blank`);
  const value = argument(reader);
  reader.blanks();
  const inner = block(reader, depth);
  if (inner === undefined && !reader.take(";"))
    reader.fail(`is not the ; or { that must stand after ${keyword}`);
  return {
    keyword,
    ...(value === undefined ? {} : { argument: value }),
    ...(inner === undefined ? {} : { block: inner }),
    ...place,
  };
}

/** parseStatements reads the inside of a container, an entry, or a whole configuration. Throws ConfigError with line and column. */
export function parseStatements(text: string): readonly Statement[] {
  const reader: Reader = new Reader(text);
  const statements: Statement[] = [];
  for (;;) {
    reader.blanks();
    if (reader.peek === "") return statements;
    if (reader.peek === "}") reader.fail("ends a block that does not begin; remove it");
    statements.push(statement(reader, 0));
  }
}

/** parseBlocks reads the entries of a list without its name: `{ id a; … } { id b; … }`. */
export function parseBlocks(text: string): readonly Statement[] {
  const reader: Reader = new Reader(text);
  const entries: Statement[] = [];
  for (;;) {
    reader.blanks();
    if (reader.peek === "") return entries;
    const place = reader.place(reader.at);
    const inner = block(reader, 0);
    if (inner === undefined) reader.fail("is not the { of an entry; the list's name is in the path already");
    entries.push({ keyword: "", block: inner, ...place });
  }
}

/** parseArguments reads values without names, each of them with `;` or not: `10.0.0.0/8; "fd00::/8"`. */
export function parseArguments(text: string): readonly Statement[] {
  const reader: Reader = new Reader(text);
  const values: Statement[] = [];
  for (;;) {
    reader.blanks();
    if (reader.peek === "") return values;
    const place = reader.place(reader.at);
    const value = argument(reader);
    if (value === undefined) reader.fail("is not a value; write text without braces");
    values.push({ keyword: "", argument: value, ...place });
    reader.blanks();
    reader.take(";");
  }
}

/** quote returns text as an argument that parseStatements and Vita read: bare where it can be, else in double quotes. */
export function quote(text: string): string {
  if (/^[^\s;{}"'/\\]+$/.test(text)) return text;
  if (text === "") return "''";
  const escaped = text.replaceAll(/["\\\n\t]/g, (character) =>
    character === "\n" ? "\\n" : character === "\t" ? "\\t" : `\\${character}`,
  );
  return `"${escaped}"`;
}
