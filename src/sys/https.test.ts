import { afterAll, expect, test } from "bun:test";
import { HttpsError, httpsPost, httpsSend, httpsStream } from "./https.ts";
import { run } from "./process.ts";

const server = Bun.serve({
  port: 0,
  hostname: "127.0.0.1",
  idleTimeout: 30,
  async fetch(request) {
    const path = new URL(request.url).pathname;
    if (path === "/slow") await Bun.sleep(20_000);
    if (path === "/long") return new Response("x".repeat(5000));
    if (path === "/away") return Response.redirect("http://127.0.0.1:1/");
    if (path === "/lines")
      return new Response(
        new ReadableStream({
          async start(controller) {
            for (const part of ["on", "e\ntwo\nthr", "ee\n", "rest"]) {
              controller.enqueue(new TextEncoder().encode(part));
              await Bun.sleep(5);
            }
            controller.close();
          },
        }),
      );
    return new Response(`${request.method} ${await request.text()}`, { status: 201 });
  },
});
afterAll(() => server.stop(true));

const ask = (path: string) => ({
  url: `http://127.0.0.1:${server.port}${path}`,
  body: "{}",
  timeoutMs: 2000,
  maxBytes: 1000,
});
const why = async (work: Promise<unknown>) => {
  const error = await work.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  return error instanceof HttpsError ? `${error.kind}: ${error.message}` : String(error);
};

test("an answer, and the reasons why there is none", async () => {
  expect(await httpsPost(ask("/"))).toEqual({ status: 201, text: "POST {}" });
  expect((await httpsSend({ ...ask("/"), method: "PATCH" })).text).toBe("PATCH {}");
  expect(await why(httpsPost({ ...ask("/slow"), timeoutMs: 50 }))).toBe("silent: no answer for 50 ms");
  expect(await why(httpsPost(ask("/long")))).toBe("unreachable: its answer is longer than 1000 bytes");
  expect(await why(httpsPost(ask("/away")))).toStartWith("unreachable: ");
  expect(await why(httpsPost({ ...ask("/"), url: "http://127.0.0.1:1/" }))).toBe(
    "unreachable: the connection is refused",
  );
});

test("a stream gives whole lines, and says when it ends", async () => {
  const lines: string[] = [];
  const { promise, resolve } = Promise.withResolvers<HttpsError>();
  using _ = httpsStream(ask("/lines"), { line: (text) => lines.push(text), ended: resolve });
  expect((await promise).message).toBe("the stream ended");
  expect(lines).toEqual(["one", "two", "three"]);
});

test("a proxy of the environment is passed over", async () => {
  const script = `const { httpsPost } = await import(${JSON.stringify(new URL("./https.ts", import.meta.url).pathname)});
    console.log((await httpsPost(${JSON.stringify(ask("/"))})).text);`;
  const done = await run(
    ["env", "http_proxy=http://127.0.0.1:1", "HTTP_PROXY=http://127.0.0.1:1", process.execPath, "-e", script],
    { timeoutMs: 20_000 },
  );
  expect(done.stdout).toBe("POST {}\n");
});
