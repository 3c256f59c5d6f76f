/**
 * The little XML that UPnP devices write (UPnP Device Architecture 1.1, sections 2.3 and 3.2.2): elements and text. Attributes and prefixes mean
 * nothing to us and are left out; a document type, which is where entities and their dangers come from, is refused.
 */

/** XmlElement is an element by its local name. */
export interface XmlElement {
  readonly name: string;
  readonly children: readonly XmlElement[];
  /** Text that stands directly in it, without white space at its ends. */
  readonly text: string;
}

const MOST_CHARACTERS = 65_536;
const MOST_DEPTH = 24;
const MOST_ELEMENTS = 2048;
const ENTITIES: Readonly<Record<string, string>> = { amp: "&", lt: "<", gt: ">", quot: '"', apos: "'" };
const NAME = "[A-Za-z_][\\w.\\-]*";
/** A tag, with its attributes, whose values are quoted and hold no `<`. */
const TAG = new RegExp(
  `^<(/?)(?:${NAME}:)?(${NAME})((?:\\s+(?:${NAME}:)?${NAME}\\s*=\\s*(?:"[^"<]*"|'[^'<]*'))*)\\s*(/?)>`,
);

interface Open {
  readonly name: string;
  readonly children: XmlElement[];
  text: string;
}

/** parseXml returns the root element; undefined for anything that is not well-formed, or too large, or has a document type. */
export function parseXml(document: string): XmlElement | undefined {
  if (document.length > MOST_CHARACTERS) return undefined;
  const open: Open[] = [{ name: "", children: [], text: "" }];
  let elements = 0;
  for (let at = document.startsWith("\ufeff") ? 1 : 0; at < document.length;) {
    const current = open.at(-1) as Open;
    if (document[at] !== "<") {
      const next = document.indexOf("<", at);
      const end = next < 0 ? document.length : next;
      const text = unescape(document.slice(at, end));
      if (text === undefined) return undefined;
      current.text += text;
      at = end;
      continue;
    }
    const skipped = skip(document, at);
    if (skipped !== undefined) {
      if (skipped.text !== undefined) current.text += skipped.text;
      at = skipped.end;
      continue;
    }
    // A tag is short: the expression never looks at the rest of the document.
    const tag = TAG.exec(document.slice(at, at + 1024));
    if (tag === null) return undefined;
    const [all, closing, name = "", , empty] = tag;
    at += all.length;
    if (closing === "/") {
      open.pop();
      if (current.name !== name || open.length === 0 || empty === "/") return undefined;
      (open.at(-1) as Open).children.push({ ...current, text: current.text.trim() });
      continue;
    }
    if (++elements > MOST_ELEMENTS || open.length > MOST_DEPTH) return undefined;
    if (empty === "/") current.children.push({ name, children: [], text: "" });
    else open.push({ name, children: [], text: "" });
  }
  const [root] = open;
  return open.length === 1 && root?.text.trim() === "" && root.children.length === 1
    ? root.children[0]
    : undefined;
}

/** A declaration or a comment, which is nothing, or a CDATA section, which is text. */
function skip(document: string, at: number): { readonly end: number; readonly text?: string } | undefined {
  for (const [begin, finish, isText] of [
    ["<?", "?>", false],
    ["<!--", "-->", false],
    ["<![CDATA[", "]]>", true],
  ] as const) {
    if (!document.startsWith(begin, at)) continue;
    const end = document.indexOf(finish, at + begin.length);
    if (end < 0) return undefined;
    const text = document.slice(at + begin.length, end);
    return { end: end + finish.length, ...(isText ? { text } : {}) };
  }
  return undefined;
}

function unescape(text: string): string | undefined {
  let wrong = false;
  const plain = text.replaceAll(/&([^;&]{0,10};?)/g, (_, entity: string) => {
    const name = entity.endsWith(";") ? entity.slice(0, -1) : "";
    const number = /^#(?:x([0-9a-fA-F]{1,6})|(\d{1,7}))$/.exec(name);
    const code = number === null ? 0 : Number.parseInt(number[1] ?? number[2] ?? "", number[1] ? 16 : 10);
    if (number !== null && code > 0 && code <= 0x10ffff) return String.fromCodePoint(code);
    const known = Object.hasOwn(ENTITIES, name) ? ENTITIES[name] : undefined;
    wrong ||= known === undefined;
    return known ?? "";
  });
  return wrong ? undefined : plain;
}

/** escapeXml returns text as it stands in an element. */
export function escapeXml(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}

/** descendants lists all elements of a name below one, in the order of the document. */
export function descendants(element: XmlElement, name: string): XmlElement[] {
  return element.children.flatMap((child) => [
    ...(child.name === name ? [child] : []),
    ...descendants(child, name),
  ]);
}

/** childText returns the text of the first child of a name. */
export function childText(element: XmlElement, name: string): string | undefined {
  return element.children.find((child) => child.name === name)?.text;
}
