import { describe, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { keyHashOfCertificate } from "./p256.ts";
import { runSync, which } from "./process.ts";
import { SendQueues } from "./send-queues.ts";
import { connectTls, type HttpProxy, listenTls, type TlsStream, type TlsTrust } from "./tls.ts";

const openssl = which("openssl");
const lacks = openssl === undefined ? " (needs openssl)" : "";

/** An authority, and a certificate that it signed for hub.example and 127.0.0.1. */
function certificates() {
  const folder = mkdtempSync(`${tmpdir()}/causeway-tls-`);
  try {
    const run = (...args: string[]) => {
      const done = runSync(["openssl", ...args], { cwd: folder });
      if (done.status !== 0) throw new Error(done.stderr);
    };
    const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
    run(
      "req",
      "-x509",
      ...key,
      "-keyout",
      "ca.key",
      "-out",
      "ca.pem",
      "-days",
      "30",
      "-subj",
      "/CN=authority",
    );
    const names = ["-addext", "subjectAltName=DNS:hub.example,IP:127.0.0.1"];
    run(
      "req",
      "-x509",
      ...key,
      ...names,
      "-CA",
      "ca.pem",
      "-CAkey",
      "ca.key",
      "-keyout",
      "key.pem",
      "-out",
      "cert.pem",
      "-days",
      "30",
      "-subj",
      "/CN=hub.example",
    );
    const read = (name: string) => readFileSync(`${folder}/${name}`, "utf8");
    return { authority: read("ca.pem"), certificate: read("cert.pem"), key: read("key.pem") };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

describe.skipIf(openssl === undefined)(`TLS${lacks}`, () => {
  const { authority, certificate, key } =
    openssl === undefined ? { authority: "", certificate: "", key: "" } : certificates();
  const pinned = (): TlsTrust => ({ kind: "key", sha256: keyHashOfCertificate(certificate) });

  /** A server that says everything again. */
  function echo(options: { admit?: () => Disposable | undefined; handshakeMs?: number } = {}) {
    const failures: string[] = [];
    const listener = listenTls({
      address: "127.0.0.1",
      port: 0,
      certificate,
      key,
      handshakeMs: options.handshakeMs ?? 5000,
      admit: options.admit ?? (() => ({ [Symbol.dispose]() {} })),
      failed: (reason) => void failures.push(reason),
      open: (stream: TlsStream) => ({
        data: (bytes) => void stream.write(bytes, new Uint8Array(0)),
        closed: () => {},
      }),
    });
    return Object.assign(listener, { failures });
  }

  async function asks(
    port: number,
    trust: TlsTrust,
    more: { host?: string; proxy?: HttpProxy; timeoutMs?: number } = {},
  ) {
    const heard = Promise.withResolvers<string>();
    const stream = await connectTls({
      host: more.host ?? "127.0.0.1",
      port,
      trust,
      timeoutMs: more.timeoutMs ?? 5000,
      ...(more.proxy === undefined ? {} : { proxy: more.proxy }),
      events: {
        data: (bytes) => heard.resolve(new TextDecoder().decode(bytes)),
        closed: (reason) => heard.reject(new Error(reason ?? "closed")),
      },
    });
    stream.write(new TextEncoder().encode("what is "), new TextEncoder().encode("said"));
    const text = await heard.promise;
    stream.close();
    return text;
  }

  test("known by its key, or by its name from an authority: spoken with; anybody else is not", async () => {
    using server = echo();
    expect(await asks(server.port, pinned())).toBe("what is said");
    for (const name of ["hub.example", "127.0.0.1"])
      expect(await asks(server.port, { kind: "name", name, authorities: authority })).toBe("what is said");
    const fails = async (trust: TlsTrust, reason: string) =>
      expect(await asks(server.port, trust).catch((error: Error) => error.message)).toContain(reason);
    await fails(
      { kind: "key", sha256: "A".repeat(43) + "=" },
      "who answers is not the hub: its key has the hash ",
    );
    await fails({ kind: "key", sha256: "A".repeat(43) + "=" }, "(certificate issued by authority)");
    await fails(
      { kind: "name", name: "other.example", authorities: authority },
      "the certificate is not trusted: Hostname/IP does not match",
    );
    await fails(
      { kind: "name", name: "192.0.2.1", authorities: authority },
      "the certificate is not for 192.0.2.1",
    );
    await fails({ kind: "name", name: "hub.example" }, "the certificate is not trusted: ");
  });

  test("TLS 1.3 and nothing older", async () => {
    using server = echo();
    for (const [version, works] of [
      ["-tls1_2", false],
      ["-tls1_3", true],
    ] as const) {
      const child = Bun.spawn(["openssl", "s_client", "-connect", `127.0.0.1:${server.port}`, version], {
        stdin: "pipe",
        stdout: "pipe",
        stderr: "pipe",
      });
      child.stdin.end();
      const said = (await child.stdout.text()) + (await child.stderr.text());
      expect(said.includes("New, TLSv1.3")).toBe(works);
      if (!works) expect(said).toContain("alert protocol version");
    }
  });

  const gcc = which("gcc");
  test.skipIf(gcc === undefined)(
    `who shows the hub's certificate and does not have its key is refused${gcc === undefined ? " (needs gcc)" : ""}`,
    async () => {
      const folder = mkdtempSync(`${tmpdir()}/causeway-liar-`);
      // OpenSSL looks whether key and certificate fit; the liar's does not.
      const blind = ["X509_check_private_key", "SSL_CTX_check_private_key"]
        .map((name) => `int ${name}(void) { return 1; }`)
        .join("\n");
      writeFileSync(`${folder}/blind.c`, blind);
      writeFileSync(`${folder}/cert.pem`, certificate);
      expect(runSync(["gcc", "-shared", "-fPIC", "-o", "blind.so", "blind.c"], { cwd: folder }).status).toBe(
        0,
      );
      const curve = ["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "other.pem"];
      expect(runSync(["openssl", ...curve], { cwd: folder }).status).toBe(0);
      const port = freePort();
      const serve = [
        "openssl",
        "s_server",
        "-accept",
        `127.0.0.1:${port}`,
        "-cert",
        "cert.pem",
        "-key",
        "other.pem",
      ];
      const child = Bun.spawn(serve, {
        cwd: folder,
        env: { ...process.env, LD_PRELOAD: `${folder}/blind.so` },
        // At the end of its input it hangs up.
        stdin: "pipe",
        stdout: "ignore",
        stderr: "ignore",
      });
      try {
        let said = "";
        for (let tries = 0; tries < 200 && !said.includes("handshake"); tries++) {
          await Bun.sleep(20);
          said = await asks(port, pinned()).catch((error: Error) => error.message);
        }
        expect(said).toMatch(/^the TLS handshake failed: .*BAD_SIGNATURE/);
        const named: TlsTrust = { kind: "name", name: "hub.example", authorities: authority };
        expect(await asks(port, named).catch((error: Error) => error.message)).toContain("BAD_SIGNATURE");
      } finally {
        child.kill();
        await child.exited;
        rmSync(folder, { recursive: true });
      }
    },
  );

  function freePort(): number {
    const listener = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } });
    listener.stop(true);
    return listener.port;
  }

  test("nobody there, nobody who speaks TLS, and nobody who says anything", async () => {
    const reason = (port: number) =>
      asks(port, pinned(), { timeoutMs: 300 }).catch((error: Error) => error.message);
    const deaf = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } });
    expect(await reason(deaf.port)).toBe("no answer from the hub for 300 ms");
    const web = Bun.listen({
      hostname: "127.0.0.1",
      port: 0,
      socket: { data: (socket) => void socket.end("HTTP/1.1 400 Bad Request\r\n\r\n") },
    });
    expect(await reason(web.port)).toContain("the TLS handshake failed: ");
    const { port } = web;
    web.stop(true);
    deaf.stop(true);
    expect(await reason(port)).toMatch(/refused|connect/i);
  });

  test("a listener turns away before it reads, and waits for a handshake only so long", async () => {
    let admitted = 0;
    let given = 0;
    const admit = () => {
      if (admitted++ > 0) return undefined;
      return { [Symbol.dispose]: () => void given++ };
    };
    using server = echo({ admit, handshakeMs: 200 });
    const closed = () =>
      new Promise<void>((resolve) => {
        void Bun.connect({
          hostname: "127.0.0.1",
          port: server.port,
          socket: { data() {}, close: () => resolve(), error() {} },
        });
      });
    await closed();
    expect([given, server.failures]).toEqual([1, ["no handshake within 200 ms"]]);
    await closed();
    expect([admitted, given]).toEqual([2, 1]);
  });

  test("who does not read holds no queue that others need", async () => {
    const streams: TlsStream[] = [];
    const ended: (string | undefined)[] = [];
    const server = listenTls({
      address: "127.0.0.1",
      port: 0,
      certificate,
      key,
      handshakeMs: 5000,
      // All have one address, which may have two.
      queues: new SendQueues({ most: 3, slowMs: 200 }),
      admit: () => ({ [Symbol.dispose]() {} }),
      open: (stream) => {
        streams.push(stream);
        return { data() {}, closed: (reason) => void ended.push(reason) };
      },
    });
    const dial = async (reads: boolean) => {
      const before = streams.length;
      const socket = await Bun.connect({
        hostname: "127.0.0.1",
        port: server.port,
        tls: { rejectUnauthorized: false },
        socket: { data() {}, handshake: (opened) => void (reads || opened.pause()), error() {} },
      });
      while (streams.length === before) await Bun.sleep(5);
      return { socket, stream: streams[before] as TlsStream };
    };
    const none = new Uint8Array(0);
    const piece = new Uint8Array(60_000);
    const stalled = [await dial(false), await dial(false)];
    for (const { stream } of stalled)
      for (let refused = 0; refused < 10;) {
        if (stream.write(piece, none)) refused = 0;
        else refused++;
        await Bun.sleep(1);
      }
    const reader = await dial(true);
    for (const end = performance.now() + 20_000; !reader.stream.write(piece, none); await Bun.sleep(10))
      if (performance.now() > end) throw new Error("the reader never got a queue");
    expect(stalled.map(({ stream }) => stream.closed)).toEqual([true, true]);
    expect(reader.stream.closed).toBe(false);
    expect(ended).toEqual(Array(2).fill("it does not read what it is sent"));
    for (const { socket } of [...stalled, reader]) socket.terminate();
    server[Symbol.dispose]();
  });

  /** A proxy for CONNECT; `answer` instead of a connection. */
  function proxy(answer?: string) {
    const asked: string[] = [];
    interface Way {
      up?: Bun.Socket<unknown>;
    }
    const listener = Bun.listen<Way>({
      hostname: "127.0.0.1",
      port: 0,
      socket: {
        open: (socket) => void (socket.data = {}),
        async data(socket, bytes) {
          if (socket.data.up !== undefined) return void socket.data.up.write(bytes);
          asked.push(bytes.toString());
          if (answer !== undefined) return void socket.write(answer);
          const port = Number(/^CONNECT [^ ]*:(\d+) /.exec(bytes.toString())?.[1]);
          socket.data.up = await Bun.connect({
            hostname: "127.0.0.1",
            port,
            socket: { data: (_, back) => void socket.write(back), close: () => void socket.end() },
          });
          socket.write("HTTP/1.1 200 Connection established\r\nVia: test\r\n\r\n");
        },
        close: (socket) => void socket.data.up?.end(),
      },
    });
    return { asked, port: listener.port, [Symbol.dispose]: () => listener.stop(true) };
  }

  test("through a proxy, with a password; and what a proxy may say instead", async () => {
    using server = echo();
    using way = proxy();
    const host = "127.0.0.1";
    const through = { host, port: way.port, credentials: "user:secret" };
    expect(await asks(server.port, pinned(), { host: "hub.example", proxy: through })).toBe("what is said");
    expect(way.asked).toEqual([
      `CONNECT hub.example:${server.port} HTTP/1.1\r\nHost: hub.example:${server.port}\r\nProxy-Authorization: Basic dXNlcjpzZWNyZXQ=\r\n\r\n`,
    ]);
    for (const [answer, reason] of [
      ["HTTP/1.1 403 Forbidden\r\n\r\n", "the proxy refuses the connection: 403 Forbidden"],
      ["HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "the proxy wants a user and a password (407)"],
      ["HTTP/1.1 200 OK\r\n\r\nand more", "the proxy sends more than an answer"],
      ["SSH-2.0-OpenSSH\r\n\r\n", "something that is not HTTP"],
      ["x".repeat(10_000), "something that is not HTTP"],
      ["HTTP/1.1 200 OK\r\n", "no answer from the proxy for 500 ms"],
    ] as const) {
      using other = proxy(answer);
      const failed = asks(server.port, pinned(), { proxy: { host, port: other.port }, timeoutMs: 500 });
      expect(await failed.catch((error: Error) => error.message)).toContain(reason);
    }
  });
});
