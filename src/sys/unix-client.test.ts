import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { openDescriptions } from "./fd.ts";
import { isAlive, spawnDetached, terminate } from "./process.ts";
import { unixPeer, unixRequest } from "./unix-client.ts";

// The client blocks this thread, so the server must be another process.
const server = `
Bun.listen({ unix: process.argv[1], socket: {
  data(socket, bytes) {
    const text = bytes.toString();
    if (text === "large\\n\\n") socket.write("x".repeat(200000) + "\\n\\n");
    else if (text === "hang up\\n\\n") socket.end();
    else if (text !== "silence\\n\\n") socket.write(text);
  } } });
await Bun.write(process.argv[1] + ".ready", "");
`;

const folder = mkdtempSync(`${tmpdir()}/cw-unix-`);
const path = `${folder}/socket`;
const complete = (answer: string) => answer.endsWith("\n\n");
let pid = 0;

beforeAll(async () => {
  pid = spawnDetached([process.execPath, "-e", server, path]);
  while (!(await Bun.file(`${path}.ready`).exists())) {
    if (!isAlive(pid)) throw new Error("the test's server did not start");
    await Bun.sleep(5);
  }
});

afterAll(async () => {
  await terminate(pid);
  rmSync(folder, { recursive: true });
});

test("a question is answered", () => {
  expect(unixRequest(path, { text: "hello\n\n", complete })).toBe("hello\n\n");
  expect(openDescriptions()).toEqual([]);
});

test("an answer may be larger than one read", () => {
  expect(unixRequest(path, { text: "large\n\n", complete })).toHaveLength(200002);
});

test("a hang-up ends the answer, a silence is an error", () => {
  expect(unixRequest(path, { text: "hang up\n\n", complete })).toBe("");
  expect(() => unixRequest(path, { text: "silence\n\n", complete, timeoutMs: 20 })).toThrow("timed out");
});

test("the listener is known by its process id", () => {
  expect(unixPeer(path)).toEqual({
    pid,
    uid: process.getuid?.() as number,
    gid: process.getgid?.() as number,
  });
});

test("nobody there: ENOENT with the path", () => {
  expect(() => unixPeer(`${path}.none`)).toThrow(`connect ${path}.none: no such file or directory (ENOENT)`);
  expect(() => unixPeer(`/${"x".repeat(120)}`)).toThrow("too long");
});
