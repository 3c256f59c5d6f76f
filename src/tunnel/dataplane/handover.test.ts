/** The word that decides which of two processes goes on. */
import { afterEach, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { acceptUnix, bindUnix, connectUnix, type Fd, sendAll, serveUnix, waitAtMost } from "../../sys/mod.ts";
import { DONE, isDone } from "./handover.ts";

let folder = "";
const opened: Fd[] = [];

/** A connection as the UAPI socket has it. */
function connection(): { readonly successor: Fd; readonly predecessor: Fd } {
  folder = mkdtempSync(`${tmpdir()}/causeway-handover-`);
  const socket = bindUnix(`${folder}/s.sock`);
  serveUnix(socket.number);
  const successor = connectUnix(`${folder}/s.sock`, { timeoutMs: 1000 });
  const predecessor = acceptUnix(socket.number) as Fd;
  waitAtMost(predecessor.number, 1000);
  opened.push(socket, successor, predecessor);
  return { successor, predecessor };
}

const done = new Uint8Array(Buffer.from(DONE));

afterEach(() => {
  for (const fd of opened.splice(0)) fd.close();
  rmSync(folder, { recursive: true, force: true });
});

test("said in time, it is heard, and more can be awaited: the end of the connection", () => {
  const { successor, predecessor } = connection();
  sendAll(successor, done);
  expect(isDone(predecessor, 1000)).toBe(true);
  expect(() => sendAll(successor, done)).not.toThrow();
});

test("not said in time, it cannot be said any more: the successor hears that", () => {
  const { successor, predecessor } = connection();
  expect(isDone(predecessor, 1)).toBe(false);
  expect(() => sendAll(successor, done)).toThrow("EPIPE");
});

test("a successor that ended says nothing", () => {
  const { successor, predecessor } = connection();
  successor.close();
  expect(isDone(predecessor, 1000)).toBe(false);
});
