import { afterAll, beforeAll, expect, test } from "bun:test";
import { GatewayBed } from "../../test/support/gateway-bed.ts";
import { newSeed, Random } from "../../test/support/random.ts";
import { LineClient } from "../sys/mod.ts";
import { ControlSocket } from "./control.ts";
import { History } from "./history.ts";

let bed: GatewayBed;
let control: ControlSocket;
const path = () => `${bed.folder}/test.sock`;

beforeAll(() => {
  bed = new GatewayBed();
  control = new ControlSocket(path());
  control.serve({
    name: "test",
    gateway: bed.gateway,
    history: new History(),
    log: (event, { reason } = {}) => bed.log.push({ event, ...(reason === undefined ? {} : { reason }) }),
  });
});

afterAll(() => {
  control?.[Symbol.dispose]();
  bed?.[Symbol.dispose]();
});

/** Says lines, and returns what is answered until the connection ends. */
function say(...lines: readonly string[]): Promise<string[]> {
  return sayTo(path(), ...lines);
}

function sayTo(socket: string, ...lines: readonly string[]): Promise<string[]> {
  const { promise, resolve } = Promise.withResolvers<string[]>();
  const answers: string[] = [];
  const client = LineClient.connect(socket, {
    onLine: (line) => answers.push(line),
    onClosed: () => resolve(answers),
  });
  for (const line of lines) client.send(line);
  return promise;
}

const request = (value: unknown) => JSON.stringify(value);
const GET = { op: "config", request: { verb: "get", path: "/mtu" } };

test("a request is answered", async () => {
  expect(await say(request(GET))).toEqual(['{"text":"8923\\n","warnings":[]}']);
});

test.each([
  ["print", { ...GET, request: { ...GET.request, print: null } }, "request.print"],
  [
    "print.format",
    { ...GET, request: { ...GET.request, print: { format: "html" } } },
    "request.print.format",
  ],
  [
    "print.printDefault",
    { ...GET, request: { ...GET.request, print: { printDefault: 1 } } },
    "request.print.printDefault",
  ],
  ["path", { ...GET, request: { verb: "get", path: 5 } }, "request.path"],
  ["value", { ...GET, request: { verb: "set", path: "/mtu", value: { a: "77secret77" } } }, "request.value"],
  ["verb", { ...GET, request: { verb: "__proto__", path: "/" } }, "request.verb"],
  ["request", { op: "config" }, "request"],
  ["span", { op: "top", span: "1y" }, "span"],
  ["most", { op: "top", most: null }, "most"],
  ["most, a fraction", { op: "top", most: 0.5 }, "most"],
  ["op", { op: "constructor" }, "op"],
])("what is wrong is answered with the field: %s", async (_name, value, field) => {
  expect(await say(request(value))).toEqual([
    request({ error: `The request's ${field} does not fit this gateway; use a command line of its version` }),
  ]);
});

test("what is no request at all is answered, too, and nothing of it is said again", async () => {
  for (const line of ["", "null", "7", "[]", '"secret"', "{", "secret", '{"op":"conf secret']) {
    const answers = await say(line);
    expect(answers).toHaveLength(1);
    expect(answers[0]).toContain("error");
    expect(answers[0]).not.toContain("secret");
  }
});

test("what follows a listen is looked at, too; others are answered when its connection has ended", async () => {
  for (const line of ["null", "7", '{"more":5}', '{"end":"secret"}', '"end"', "secret"]) {
    const answers = await say(request({ op: "listen" }), line);
    expect(answers).toHaveLength(1);
    expect(answers[0]).toContain("error");
    expect(answers[0]).not.toContain("secret");
  }
  const more = request({ more: '{"id": "1", "verb": "get", "path": "/mtu"}\n' });
  const [answer] = await say(request({ op: "listen" }), more, request({ end: true }));
  expect(answer).toContain("8923");
});

test("what comes from elsewhere is not changed here, by listen neither, and its mistakes are told", async () => {
  using other = new ControlSocket(`${bed.folder}/other.sock`);
  const source = {
    name: 'Gateway "test" in /m',
    problems: ['Route "a": spec.spi 1 is wrong'],
    routes: ["a"],
    wrongRoutes: new Map([["a", 'Route "a": spec.spi 1 is wrong']]),
    refusal: () => "is changed in /m",
  };
  other.serve({ name: "test", gateway: bed.gateway, history: new History(), log: () => {}, source });
  const ask = (value: unknown, ...more: readonly unknown[]) =>
    sayTo(`${bed.folder}/other.sock`, request(value), ...more.map(request));
  const set = { verb: "set", path: "/mtu", value: "1440" };
  expect(await ask({ op: "config", request: set })).toEqual(['{"error":"/mtu: is changed in /m"}']);
  const [heard] = await ask({ op: "listen" }, { more: `${request({ id: "1", ...set })}\n` }, { end: true });
  expect(heard).toContain("is changed in /m");
  expect(await ask(GET)).toEqual(['{"text":"8923\\n","warnings":[]}']);
  const state = (at: string) =>
    ask({ op: "config", request: { verb: "get-state", path: `/gateway-state/${at}` } });
  expect((await state("configuration/problem"))[0]).toContain("spec.spi 1 is wrong");
  expect((await state("route[id=a]"))[0]).toContain("up false");
  expect((await ask({ op: "top" }))[0]).toContain("in /m");
  expect((await ask({ op: "metrics" }))[0]).toMatch(/configuration_problems\{[^}]*\} 1/);
});

const seed = newSeed();
test(`whatever is sent, the next request is answered (seed ${seed})`, async () => {
  const random = new Random(seed);
  const values = [null, true, -1, 0.5, "", "/", "x", [], {}, { verb: "get" }, "\u0000", 1e308];
  const paths = [
    "/",
    "/route4",
    "/route4[id=a]",
    "/constructor",
    "/cpu[position()=1]",
    "/mtu",
    "",
    "[",
    "/gateway-state",
  ];
  const verbs = ["get", "get-state", "set", "add", "remove", "load", "listen"];
  const one = <T>(list: readonly T[]) => list[random.below(list.length)] as T;
  for (let n = 0; n < 300; n++) {
    const inner: Record<string, unknown> = {
      verb: one(verbs),
      path: one(paths),
      value: one(["", "{", "5", "a b;"]),
    };
    if (random.chance(0.3)) inner["print"] = one([null, {}, { format: "xpath" }, { format: null }]);
    const outer: Record<string, unknown> = {
      op: one(["config", "config", "top", "metrics"]),
      request: inner,
    };
    const spoilt = random.chance(0.5) ? inner : outer;
    if (random.chance(0.5)) spoilt[one(Object.keys(spoilt))] = one(values);
    expect(await say(request(outer))).toHaveLength(1);
  }
  expect((await say(request(GET)))[0]).toContain("text");
  expect(bed.log.filter(({ event }) => event.includes("bug"))).toEqual([]);
}, 60_000);
