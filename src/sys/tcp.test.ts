import { describe, expect, test } from "bun:test";
import { SendBudget } from "./send-budget.ts";
import { connectTcp, listenTcp, type TcpConnection, type TcpEvents } from "./tcp.ts";

const address = "127.0.0.1";

/** A side that remembers what it heard and lets a test wait for it. */
class Side implements TcpEvents {
  readonly lines: string[] = [];
  readonly end = Promise.withResolvers<string | undefined>();
  #wake: (() => void) | undefined;

  line(text: string): void {
    this.lines.push(text);
    this.#wake?.();
  }

  closed(reason?: string): void {
    this.end.resolve(reason);
  }

  async count(n: number): Promise<void> {
    while (this.lines.length < n) await new Promise<void>((resolve) => (this.#wake = resolve));
  }
}

function serve(
  accept: (connection: TcpConnection) => TcpEvents | string,
  limits: { line?: number; connections?: number } = {},
) {
  return listenTcp({
    address,
    port: 0,
    maxLineBytes: limits.line ?? 100,
    maxConnections: limits.connections ?? 10,
    accept,
  });
}

const dial = (port: number, events: TcpEvents, maxLineBytes = 100) =>
  connectTcp({ address, port, maxLineBytes, timeoutMs: 5000, events });

describe("lines over TCP", () => {
  test("lines arrive whole, however they were cut", async () => {
    const server = new Side();
    using listener = serve(() => server);
    const raw = await Bun.connect({ hostname: address, port: listener.port, socket: { data() {} } });
    for (const piece of ["on", "e\ntwo\nth", "ré".slice(0, 1), "e", "\n", "\n"]) {
      raw.write(piece);
      await Bun.sleep(5);
    }
    await server.count(4);
    expect(server.lines).toEqual(["one", "two", "three".slice(0, 2) + "re", ""]);
    raw.end();
    expect(await server.end.promise).toBeUndefined();
  });

  test("what is queued before close arrives, also when it is much", async () => {
    const long = "x".repeat(8 * 1024 * 1024);
    using listener = serve((connection) => {
      connection.send(long);
      connection.send("end");
      connection.close();
      return new Side();
    });
    const client = new Side();
    await dial(listener.port, client, long.length);
    await client.end.promise;
    expect([client.lines.length, client.lines[0]?.length, client.lines[1]]).toEqual([2, long.length, "end"]);
  });

  test("who does not read holds no more than an address may, however many connections it opens, also when they were closed", async () => {
    const line = "x".repeat(1 << 20);
    const mebibytes = 1 << 20;
    const budget = new SendBudget({ ofOne: 24 * mebibytes, inAll: 100 * mebibytes });
    const ends: (string | undefined)[] = [];
    let opened = 0;
    using listener = listenTcp({
      address,
      port: 0,
      maxLineBytes: 100,
      maxConnections: 10,
      budget,
      accept(connection) {
        // More than the kernel takes.
        for (let i = 0; i < 16; i++) connection.send(line);
        opened++;
        return { line: () => connection.close("asked for"), closed: (reason) => void ends.push(reason) };
      },
    });
    const visit = async () => {
      const socket = await Bun.connect({ hostname: address, port: listener.port, socket: { data() {} } });
      socket.pause();
      return socket;
    };
    const first = await visit();
    while (budget.bytes === 0) await Bun.sleep(5);
    const ofOne = budget.bytes;
    first.write("goodbye\n");
    while (ends.length === 0) await Bun.sleep(5);
    // It ended, and what it was to read still waits.
    expect([ends, budget.bytes]).toEqual([["asked for"], ofOne]);
    const others: Bun.Socket[] = [];
    for (let i = 2; i <= 8; i++) {
      others.push(await visit());
      while (opened < i) await Bun.sleep(5);
      expect(budget.bytes).toBeLessThanOrEqual(24 * mebibytes);
    }
    expect(ends.length).toBeGreaterThan(2);
    expect(ends.slice(1).every((reason) => reason === "the other side reads too slowly")).toBe(true);
    for (const socket of [first, ...others]) socket.terminate();
    while (budget.bytes > 0) await Bun.sleep(5);
  });

  test("a line that is too long ends the connection, before it is complete", async () => {
    const server = new Side();
    using listener = serve(() => server, { line: 10 });
    const client = new Side();
    const connection = await dial(listener.port, client);
    connection.send("0123456789");
    connection.send("0123456789a");
    expect(await server.end.promise).toBe("line longer than 10 bytes");
    expect(server.lines).toEqual(["0123456789"]);
    await client.end.promise;
  });

  test("connections above the limit, and those turned away, are closed", async () => {
    const sides: Side[] = [];
    using listener = serve(
      (connection) => {
        if (sides.length === 1) {
          connection.send("no");
          return "not you";
        }
        sides.push(new Side());
        return sides.at(-1) as Side;
      },
      { connections: 2 },
    );
    const first = new Side();
    await dial(listener.port, first);
    const second = new Side();
    await dial(listener.port, second);
    await second.end.promise;
    expect(second.lines).toEqual(["no"]);
    expect(sides).toHaveLength(1);
  });

  test("a connection that ends while it is accepted is told of, ends, and leaves its place", async () => {
    const server = new Side();
    let accepted = 0;
    using listener = serve(
      (connection) => {
        if (accepted++ === 0) connection.close("no longer wanted");
        return accepted === 1 ? server : new Side();
      },
      { connections: 1 },
    );
    const client = new Side();
    await dial(listener.port, client);
    expect(await server.end.promise).toBe("no longer wanted");
    await client.end.promise;
    await dial(listener.port, new Side());
    while (accepted < 2) await Bun.sleep(1);
  });

  test("disposing the listener ends its connections; a dead port refuses", async () => {
    const listener = serve(() => new Side());
    const client = new Side();
    const connection = await dial(listener.port, client);
    listener[Symbol.dispose]();
    await client.end.promise;
    expect(connection.closed).toBe(true);
    expect(dial(listener.port, new Side())).rejects.toThrow();
  });
});
