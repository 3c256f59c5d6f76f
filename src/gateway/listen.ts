/**
 * `causeway config listen`: requests and answers as JSON objects, one after the other, on any stream. Members are text, as in Vita:
 *
 * ```
 * { "id": "1", "verb": "set", "path": "/mtu", "value": "1440" }   ─▶   {"id":"1","status":"ok"}
 * { "id": "2", "verb": "get", "path": "/mtu" }                    ─▶   {"id":"2","status":"ok","value":"1440\n"}
 * { "id": "3", "verb": "get", "path": "/mtv" }                    ─▶   {"id":"3","status":"error","error":"/ mtv: is not a name here; …"}
 * ```
 * Requests may follow each other without waiting; answers come in their order. The stream itself is the agent's.
 */
import { ConfigError, refuse } from "./problem.ts";
import { MAX_TEXT } from "./statement.ts";
import { type ConfigAnswer, type ConfigRequest, type ConfigStore, isRead, perform } from "./verbs.ts";

/** MAX_REQUEST is the longest object that is read, in UTF-16 code units: a text with an escape for each character of two. */
export const MAX_REQUEST = 2 * MAX_TEXT;

/** ObjectStream is what came and is no whole object yet. */
export interface ObjectStream {
  readonly text: string;
  /** How much of it was looked at, and where that ended. */
  readonly at: number;
  readonly depth: number;
  readonly inString: boolean;
}

/** emptyStream is where nothing came yet. */
export const emptyStream: ObjectStream = { text: "", at: 0, depth: 0, inString: false };

/** StreamItem is an object's text; undefined is a line in which none begins. Such a line is not kept: it may hold a key. */
export type StreamItem = string | undefined;

interface Scan {
  text: string;
  at: number;
  depth: number;
  inString: boolean;
}

/** Looks for the end of the object at the start of the text; its length, or undefined where it has not come yet. */
function scanObject(scan: Scan): number | undefined {
  for (; scan.at < scan.text.length; scan.at++) {
    const character = scan.text[scan.at];
    if (scan.inString) {
      if (character === "\\") {
        // The escaped character may come later.
        if (scan.at + 1 >= scan.text.length) return undefined;
        scan.at++;
      } else if (character === '"') scan.inString = false;
    } else if (character === '"') scan.inString = true;
    else if (character === "{") scan.depth++;
    else if (character === "}" && --scan.depth === 0) return ++scan.at;
  }
  return undefined;
}

/** splitObjects adds what came, and takes whole objects off. Where no object begins, or one is too long, the rest of the line is garbage. */
export function splitObjects(
  stream: ObjectStream,
  chunk: string,
): readonly [next: ObjectStream, items: readonly StreamItem[]] {
  const scan: Scan = { ...stream, text: stream.text + chunk };
  const items: StreamItem[] = [];
  for (;;) {
    if (scan.depth === 0) scan.text = scan.text.trimStart();
    if (scan.text === "") return [emptyStream, items];
    const wrong = scan.depth === 0 ? !scan.text.startsWith("{") : scan.at > MAX_REQUEST;
    const length = wrong ? scan.text.indexOf("\n") + 1 || scan.text.length : scanObject(scan);
    if (length === undefined) {
      if (scan.text.length <= MAX_REQUEST) return [scan, items];
      continue;
    }
    const piece = scan.text.slice(0, length);
    items.push(wrong ? undefined : piece);
    Object.assign(scan, { ...emptyStream, text: scan.text.slice(length) });
  }
}

/** ListenAnswer is one object that goes back. */
export interface ListenAnswer {
  readonly id: string;
  readonly status: "ok" | "error";
  /** What `get` and `get-state` found. */
  readonly value?: string;
  /** Why it was refused. */
  readonly error?: string;
}

function objectOf(item: StreamItem): { readonly [name: string]: unknown } | undefined {
  try {
    return item === undefined ? undefined : (JSON.parse(item) as { readonly [name: string]: unknown });
  } catch {
    // Its text may hold a key, and so may the parser's message.
    return undefined;
  }
}

/** Reads members that are text; throws ConfigError. */
function requestOf(item: StreamItem): { readonly id: string; readonly request: ConfigRequest } {
  const wanted = 'write {"id": "1", "verb": "get", "path": "/"}';
  const data = objectOf(item);
  if (data === undefined) refuse("/", `what came is no JSON object; ${wanted}`);
  const text = (name: string, fallback?: string): string => {
    const value = Object.hasOwn(data, name) ? data[name] : fallback;
    if (typeof value !== "string") refuse("/", `has no "${name}" that is text; ${wanted}`);
    return value;
  };
  const id = text("id", "");
  const verb = text("verb");
  const path = text("path");
  switch (verb) {
    case "get":
    case "get-state":
      return { id, request: { verb, path } };
    case "set":
    case "add":
      return { id, request: { verb, path, value: text("value") } };
    case "remove":
      return { id, request: { verb, path } };
    default:
      return refuse("/", "is no verb; they are get, get-state, set, add and remove", verb);
  }
}

function idOf(item: StreamItem): string {
  const id = objectOf(item)?.["id"];
  return typeof id === "string" ? id : "";
}

/** answerItem performs what an item asks for; never throws for what somebody sent. `answer` is absent where it was refused. */
export function answerItem(
  store: ConfigStore,
  item: StreamItem,
  from?: string,
): { readonly reply: ListenAnswer; readonly answer?: ConfigAnswer } {
  try {
    const { id, request } = requestOf(item);
    const answer = perform(store, request, from);
    const value = isRead(request) ? { value: answer.text } : {};
    return { reply: { id, status: "ok", ...value }, answer };
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    return { reply: { id: idOf(item), status: "error", error: error.message } };
  }
}
