/** The server on a real socket, in a folder of its own, with clients in the same thread: nothing here waits but the poller. */
import { dlopen, FFIType } from "bun:ffi";
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { Arena, bindUnix, connectUnix, type Fd, tryReceive, trySend } from "../../sys/mod.ts";
import { Poller } from "./poller.ts";
import { type Answer, MOST_CLIENTS, UapiServer } from "./uapi-server.ts";

const poller = new Poller(new Arena({ bytes: 1 << 16 }), 200);
let folder: string;
let server: UapiServer;
let requests: string[];
let answer: (request: string) => Answer;

beforeEach(() => {
  folder = mkdtempSync(`${tmpdir()}/causeway-uapi-`);
  requests = [];
  answer = (request) => `${request.trim()} answered\n\n`;
  server = new UapiServer(bindUnix(`${folder}/socket`), (request) => {
    requests.push(request);
    return answer(request);
  });
  server.serve();
});
afterEach(() => {
  server[Symbol.dispose]();
  rmSync(folder, { recursive: true });
});

/** turns lets the server work until it would wait; how often it was woken. */
function turns(): number {
  for (let count = 0; ; count++) {
    let woken = false;
    const watched = server.watched().map((one) => ({
      ...one,
      ready: (writable: boolean) => {
        woken = true;
        one.ready(writable);
      },
    }));
    poller.turn(watched, 0);
    if (!woken) return count;
    if (count > 100_000) throw new Error("the server does not come to rest");
  }
}

const connect = () => connectUnix(`${folder}/socket`);
const buffer = new Uint8Array(new ArrayBuffer(1 << 20));

/** Sends all of a text, letting the server work. */
function say(client: Fd, text: string): void {
  const bytes = new Uint8Array(Buffer.from(text));
  for (let sent = 0; sent < bytes.length; turns())
    sent += trySend(client.number, bytes.subarray(sent)) ?? bytes.length;
}

/** What has been answered so far. */
function heard(client: Fd): string {
  let text = "";
  for (;;) {
    turns();
    const count = tryReceive(client.number, buffer);
    if (count === undefined || count === 0) return text;
    text += Buffer.from(buffer.subarray(0, count)).toString();
  }
}

/** Whether the server has closed the connection. */
function isClosed(client: Fd): boolean {
  turns();
  return tryReceive(client.number, buffer) === 0;
}

describe("the socket", () => {
  test("is its owner's alone, and a second server is refused", () => {
    expect(statSync(`${folder}/socket`).mode & 0o777).toBe(0o600);
    expect(() => bindUnix(`${folder}/socket`)).toThrow("EADDRINUSE");
    using client = connect();
    say(client, "get=1\n\n");
    expect(heard(client)).toBe("get=1 answered\n\n");
  });

  test("one that nobody listens on any more is replaced", () => {
    server[Symbol.dispose]();
    const second = new UapiServer(bindUnix(`${folder}/socket`), () => "second\n\n");
    second.serve();
    server = second;
    using client = connect();
    say(client, "get=1\n\n");
    expect(heard(client)).toBe("second\n\n");
  });

  test("clients that come before it serves wait for it", () => {
    server[Symbol.dispose]();
    server = new UapiServer(bindUnix(`${folder}/socket`), () => "late\n\n");
    expect(connect).toThrow("ECONNREFUSED");
    server.serve();
    using client = connect();
    say(client, "get=1\n\n");
    expect(heard(client)).toBe("late\n\n");
  });
});

describe("requests", () => {
  test("in pieces of any length, also cut in the middle of the empty line", () => {
    using client = connect();
    for (const piece of ["se", "t=1\n", "a=b\nc=", "d\n", "\n"]) {
      expect(heard(client)).toBe("");
      say(client, piece);
    }
    expect(heard(client)).toBe("set=1\na=b\nc=d answered\n\n");
    expect(requests).toEqual(["set=1\na=b\nc=d\n\n"]);
  });

  test("several in one write are answered one after the other, and the rest is kept", () => {
    using client = connect();
    say(client, "a=1\n\nb=1\n\nc=1\n\nd=");
    expect(heard(client)).toBe("a=1 answered\n\nb=1 answered\n\nc=1 answered\n\n");
    say(client, "1\n\n");
    expect(heard(client)).toBe("d=1 answered\n\n");
  });

  test("more than a turn does", () => {
    using client = connect();
    say(client, "a=1\n\n".repeat(500));
    expect(heard(client)).toBe("a=1 answered\n\n".repeat(500));
  });

  test("a client that has said all and still listens gets its answer", () => {
    using client = connect();
    say(client, "a=1\n\n");
    shutdownWriting(client);
    expect(heard(client)).toBe("a=1 answered\n\n");
    expect(isClosed(client)).toBe(true);
  });

  test("a long one, of many megabytes, is not gone over again for each piece", () => {
    using client = connect();
    const line = `public_key=${"a".repeat(64)}\n`;
    const text = `set=1\n${line.repeat(200_000)}\n`;
    say(client, text);
    expect(heard(client)).toEndWith(" answered\n\n");
    expect(requests[0]?.length).toBe(text.length);
  });

  test("one that is too long ends the connection, and the server's memory of it", () => {
    using client = connect();
    const piece = new Uint8Array(1 << 20).fill(0x61);
    for (let sent = 0; sent < 70 << 20; turns()) {
      const count = trySend(client.number, piece);
      if (count === undefined) break;
      sent += count;
    }
    expect(isClosed(client)).toBe(true);
    expect(requests).toEqual([]);
  });
});

describe("clients", () => {
  test("one that does not read its answer stops nobody, is not read from, and does not keep the server awake", () => {
    answer = () => "x".repeat(4 << 20);
    using slow = connect();
    say(slow, "a=1\n\nb=1\n\n");
    say(slow, "c=1\n\n");
    expect(requests).toEqual(["a=1\n\n"]);
    expect(turns()).toBe(0);
    answer = (request) => `${request.trim()}!\n\n`;
    using quick = connect();
    say(quick, "d=1\n\n");
    expect(heard(quick)).toBe("d=1!\n\n");
    const text = heard(slow);
    expect(text.length).toBe((4 << 20) + "b=1!\n\nc=1!\n\n".length);
    expect(text).toEndWith("xb=1!\n\nc=1!\n\n");
  });

  test("one that has shut its side while the answer waits does not keep the server awake", () => {
    answer = () => "x".repeat(4 << 20);
    using slow = connect();
    say(slow, "a=1\n\n");
    shutdownWriting(slow);
    expect(turns()).toBe(0);
    expect(heard(slow)).toHaveLength(4 << 20);
  });

  test("one that vanishes in the middle of a request, or of its answer, is forgotten", () => {
    const begun = connect();
    say(begun, "set=1\n");
    begun.close();
    answer = () => "x".repeat(4 << 20);
    const deaf = connect();
    say(deaf, "a=1\n\n");
    deaf.close();
    turns();
    expect(server.watched()).toHaveLength(1);
  });

  test("more than are served at a time wait until there is room", () => {
    const clients = Array.from({ length: MOST_CLIENTS + 8 }, () => connect());
    for (const [i, client] of clients.entries()) say(client, `n${i}=1\n\n`);
    expect(server.watched()).toHaveLength(MOST_CLIENTS);
    expect(requests).toHaveLength(MOST_CLIENTS);
    for (const client of clients.slice(0, 8)) client.close();
    turns();
    expect(requests).toHaveLength(MOST_CLIENTS + 8);
    for (const client of clients.slice(8)) client.close();
    turns();
    expect(server.watched()).toHaveLength(1);
  });

  test("a connection can be taken over; nothing more is read from it here", () => {
    let taken: Fd | undefined;
    answer = (request) =>
      request.startsWith("take")
        ? (connection) => {
            taken = connection;
          }
        : "no\n\n";
    using client = connect();
    say(client, "take=1\n\n");
    expect(server.watched()).toHaveLength(1);
    say(client, "word");
    expect(Buffer.from(buffer.subarray(0, tryReceive((taken as Fd).number, buffer))).toString()).toBe("word");
    (taken as Fd).close();
    expect(requests).toEqual(["take=1\n\n"]);
  });

  test("at its end the server closes all of them", () => {
    const clients = [connect(), connect()];
    for (const client of clients) say(client, "a");
    server[Symbol.dispose]();
    for (const client of clients) {
      expect(tryReceive(client.number, buffer)).toBe(0);
      client.close();
    }
  });
});

describe("secrets", () => {
  test("of a request and its answer do not stay in the buffers that held them", () => {
    const secret = "5ec2e7".repeat(10);
    const kept: Uint8Array[] = [];
    const concat = Buffer.concat;
    // Parts that are joined, and what they are joined to.
    Buffer.concat = ((parts: Uint8Array[]) => {
      const joined = concat(parts);
      kept.push(...parts, joined);
      return joined;
    }) as typeof concat;
    try {
      answer = () => `private_key=${secret}\n\n`;
      using client = connect();
      say(client, `private_key=${secret.slice(0, 20)}`);
      say(client, `${secret.slice(20)}\n\n`);
      expect(heard(client)).toContain(secret);
    } finally {
      Buffer.concat = concat;
    }
    expect(requests[0]).toContain(secret);
    expect(kept).toHaveLength(3);
    for (const bytes of kept) expect(bytes.every((byte) => byte === 0)).toBe(true);
  });
});

const SHUT_WR = 1;
/** shutdown(2) of one direction, by a descriptor of this process. */
function shutdownWriting(client: Fd): void {
  const { symbols, close } = dlopen("libc.so.6", {
    shutdown: { args: [FFIType.i32, FFIType.i32], returns: FFIType.i32 },
  });
  symbols.shutdown(client.number, SHUT_WR);
  close();
}
