import { afterAll, afterEach, expect, test } from "bun:test";
import { closeSync, fstatSync, mkdtempSync, openSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Fd, openDescriptions } from "./fd.ts";
import { sendWithDescriptor } from "./fdpass.ts";
import { LineServer } from "./lines.ts";
import { connectUnix, receiveLine, sendAll, unixAddress } from "./unix.ts";

const folder = mkdtempSync(join(tmpdir(), "causeway-lines-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
afterEach(() => expect(openDescriptions()).toEqual([]));

const bytes = (text: string) => new Uint8Array(new TextEncoder().encode(text));

/** A client in this process: the answer comes when the event loop has turned. */
async function answer(client: Fd, lines = 1): Promise<string[]> {
  const got: string[] = [];
  while (got.length < lines) {
    await Bun.sleep(1);
    const line = receiveLine(client, 0);
    if (line !== undefined) got.push(line);
  }
  return got;
}

test("a line asks, a line answers, and the peer is known", async () => {
  const path = join(folder, "a.sock");
  using server = LineServer.listen(path, {
    mode: 0o600,
    onRequest: (line, connection) => {
      connection.reply(`${line.toUpperCase()} ${JSON.stringify(connection.peer)}`);
      connection.end();
    },
  });
  expect(statSync(path).mode & 0o777).toBe(0o600);
  using client = connectUnix(path);
  sendAll(client, bytes("hel"));
  await Bun.sleep(5);
  sendAll(client, bytes("lo\n"));
  const peer = { pid: process.pid, uid: process.getuid?.(), gid: process.getgid?.() };
  expect(await answer(client)).toEqual([`HELLO ${JSON.stringify(peer)}`]);
  await Bun.sleep(5);
  expect(server.connections).toBe(0);
});

test("a descriptor comes with the first bytes, also when the client is slow to send", async () => {
  const file = join(folder, "passed");
  writeFileSync(file, "x");
  const inode = statSync(file).ino;
  using _server = LineServer.listen(join(folder, "b.sock"), {
    mode: 0o600,
    descriptors: true,
    onRequest: (_line, connection) => {
      using received = connection.takeDescriptor();
      connection.reply(String(received === undefined ? "none" : fstatSync(received.number).ino));
    },
  });
  for (const waitMs of [0, 20, 200]) {
    using client = connectUnix(join(folder, "b.sock"));
    await Bun.sleep(waitMs);
    const passed = openSync(file, "r");
    const text = bytes("take\n");
    expect(sendWithDescriptor(client.number, text, passed)).toBe(text.length);
    closeSync(passed);
    expect(await answer(client)).toEqual([String(inode)]);
    sendAll(client, bytes("again\n"));
    expect(await answer(client)).toEqual(["none"]);
  }
});

test("a descriptor that nobody takes is closed with the connection", async () => {
  let requests = 0;
  using _server = LineServer.listen(join(folder, "c.sock"), {
    mode: 0o600,
    descriptors: true,
    onRequest: () => void requests++,
  });
  {
    using client = connectUnix(join(folder, "c.sock"));
    sendWithDescriptor(client.number, bytes("x\n"), 0);
    while (requests === 0) await Bun.sleep(1);
  }
  while (openDescriptions().length > 0) await Bun.sleep(1);
});

test("50 clients at once each get their own descriptor's answer", async () => {
  using _server = LineServer.listen(join(folder, "d.sock"), {
    mode: 0o600,
    descriptors: true,
    onRequest: (line, connection) => {
      using received = connection.takeDescriptor();
      connection.reply(`${line} ${received && fstatSync(received.number).ino}`);
      connection.end();
    },
  });
  const program = `
    const { connectUnix, receiveLine } = await import("${join(import.meta.dir, "unix.ts")}");
    const { sendWithDescriptor } = await import("${join(import.meta.dir, "fdpass.ts")}");
    const fs = require("node:fs");
    const [path, file] = process.argv.slice(-2);
    const client = connectUnix(path);
    sendWithDescriptor(client.number, new Uint8Array(Buffer.from(file + "\\n")), fs.openSync(file));
    process.exit(receiveLine(client, 30000) === file + " " + fs.statSync(file).ino ? 0 : 1);`;
  const clients = Array.from({ length: 50 }, (_, index) => {
    const file = join(folder, `file${index}`);
    writeFileSync(file, "");
    return Bun.spawn([process.execPath, "-e", program, join(folder, "d.sock"), file], { stderr: "inherit" })
      .exited;
  });
  expect(await Promise.all(clients)).toEqual(Array(50).fill(0));
}, 60_000);

test("long answers wait for a slow reader; one that never reads is cut off", async () => {
  const long = "x".repeat(3_000_000);
  let closed = 0;
  using _server = LineServer.listen(join(folder, "e.sock"), {
    mode: 0o600,
    maxPendingBytes: 4_000_000,
    onRequest: (line, connection) => {
      connection.onClose(() => closed++);
      for (let i = 0; i < Number(line); i++) connection.reply(long);
      connection.end();
    },
  });
  using patient = connectUnix(join(folder, "e.sock"));
  sendAll(patient, bytes("1\n"));
  const parts: string[] = [];
  const stream = await Bun.connect({
    unix: join(folder, "e.sock"),
    socket: {
      open: (socket) => void socket.write("1\n"),
      data: (_socket, chunk) => void parts.push(chunk.toString()),
    },
  });
  while (!parts.at(-1)?.endsWith("\n")) await Bun.sleep(1);
  expect(parts.join("")).toBe(`${long}\n`);
  stream.end();
  using greedy = connectUnix(join(folder, "e.sock"));
  sendAll(greedy, bytes("3\n"));
  while (closed < 2) await Bun.sleep(1);
});

test("a line that is too long ends the connection", async () => {
  using server = LineServer.listen(join(folder, "f.sock"), {
    mode: 0o600,
    maxLineBytes: 10,
    onRequest: () => {},
  });
  using client = connectUnix(join(folder, "f.sock"));
  sendAll(client, bytes("x".repeat(20)));
  await Bun.sleep(5);
  expect(receiveLine(client, 1000)).toBeUndefined();
  expect(server.connections).toBe(0);
});

test("a stale socket is replaced, a live one and a plain file are not", () => {
  const path = join(folder, "g.sock");
  const options = { mode: 0o600, onRequest: () => {} };
  Bun.spawnSync([
    process.execPath,
    "-e",
    `Bun.listen({unix: "${path}", socket: {data() {}}}); process.exit(0)`,
  ]);
  using first = LineServer.listen(path, options);
  expect(() => LineServer.listen(path, options)).toThrow("another process answers");
  expect(first.path).toBe(path);
  writeFileSync(join(folder, "plain"), "");
  expect(() => LineServer.listen(join(folder, "plain"), options)).toThrow("not a socket");
});

test("closing removes the file", () => {
  const path = join(folder, "h.sock");
  LineServer.listen(path, { mode: 0o660, group: "no-such-group", onRequest: () => {} }).close();
  expect(statSync(path, { throwIfNoEntry: false })).toBeUndefined();
});

test("a path that does not fit an address is refused", () => {
  expect(() => unixAddress(`/${"x".repeat(107)}`)).toThrow("too long, 107 bytes");
  expect(() => connectUnix(join(folder, "nobody"))).toThrow("ENOENT");
});

test("a request whose client has hung up is known as such, before the event loop tells", async () => {
  const seen: boolean[] = [];
  using _server = LineServer.listen(join(folder, "h.sock"), {
    mode: 0o600,
    descriptors: true,
    onRequest: (_line, connection) => {
      seen.push(connection.hungUp);
      connection.reply("answer");
      connection.end();
    },
  });
  {
    using gone = connectUnix(join(folder, "h.sock"));
    sendAll(gone, bytes("do it\n"));
  }
  using waiting = connectUnix(join(folder, "h.sock"));
  sendAll(waiting, bytes("do it\n"));
  expect(await answer(waiting)).toEqual(["answer"]);
  expect(seen).toEqual([true, false]);
});
