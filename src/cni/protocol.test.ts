import { expect, test } from "bun:test";
import { newSeed, Random } from "../../test/support/random.ts";
import {
  decodeAnswer,
  decodeRequest,
  encodeAnswer,
  encodeRequest,
  type Environment,
  type PluginRequest,
  variables,
} from "./protocol.ts";

const environment = { CNI_COMMAND: "ADD", CNI_NETNS: "/run/netns/x", CNI_ARGS: "A=1;B=" };

test("a question is the variables as the kernel keeps them, an empty one, and standard input", () => {
  const line = "CNI_COMMAND=ADD\0CNI_NETNS=/run/netns/x\0CNI_ARGS=A=1;B=\0\0{}";
  expect(encodeRequest({ environment, stdin: "{}" })).toBe(line);
  expect(decodeRequest(line)).toEqual({ environment, stdin: "{}" });
  expect(decodeRequest("\0")).toEqual({ environment: {}, stdin: "" });
});

test("line feeds become blanks, which JSON does not mind", () => {
  const stdin = '{\r\n  "name":\n"a\\nb"\n}\n';
  const request = { environment: { CNI_COMMAND: "ADD", CNI_ARGS: "a\nb\r" }, stdin };
  const line = encodeRequest(request);
  expect(line).not.toContain("\n");
  const back = decodeRequest(line);
  expect(back?.environment.CNI_ARGS).toBe("a b ");
  expect(JSON.parse(back?.stdin ?? "")).toEqual(JSON.parse(stdin));
});

test("why the namespace could not be opened is an entry of its own, which no variable can forge", () => {
  const netnsProblem = "open /run/netns/x: ENOENT\n\0CNI_COMMAND=DEL";
  const line = encodeRequest({ environment, stdin: "{}", netnsProblem });
  expect(decodeRequest(line)).toEqual({
    environment,
    stdin: "{}",
    netnsProblem: "open /run/netns/x: ENOENT  CNI_COMMAND=DEL",
  });
  // The launcher takes what begins with CNI_ only.
  expect(decodeRequest("CNI_X=netns-problem=y\0CNI_netns-problem=z\0\0")?.netnsProblem).toBeUndefined();
});

test("standard input may hold anything, also what separates entries", () => {
  const stdin = "\0CNI_COMMAND=DEL\0\0x";
  expect(decodeRequest(encodeRequest({ environment, stdin }))).toEqual({ environment, stdin });
});

test("unknown entries, empty ones and ones without a name are ignored; of two the first counts", () => {
  const entries = [
    "CNI_COMMAND=",
    "CNI_COMMAND=ADD",
    "CNI_COMMAND=DEL",
    "CNI_NEW=1",
    "CNI_ODD",
    "=x",
    "CNI_=",
    "__proto__=y",
  ];
  expect(decodeRequest(`${entries.join("\0")}\0\0{}`)).toEqual({
    environment: { CNI_COMMAND: "ADD" },
    stdin: "{}",
  });
});

test("what is no question is refused: the framing of older plugins, and variables without an end", () => {
  for (const line of ["", '{"environment":{},"stdin":""}', "CNI_COMMAND=ADD", "CNI_COMMAND=ADD\0", "a\0b\0c"])
    expect(decodeRequest(line)).toBeUndefined();
});

const seed = newSeed();
test(`any question comes back as it was, and any bytes are decoded without harm (SEED=${seed})`, () => {
  const random = new Random(seed);
  const alphabet = [
    "\0",
    "\n",
    "\r",
    "=",
    ";",
    "{",
    "}",
    '"',
    "C",
    "N",
    "I",
    "_",
    "é",
    "𝄞",
    "\ud800",
    " ",
    "CNI_",
    "\0\0",
  ];
  const text = (not: RegExp) =>
    Array.from({ length: random.below(40) }, () => alphabet[random.below(alphabet.length)])
      .join("")
      .replaceAll(not, "");
  for (let round = 0; round < 2000; round++) {
    const values = variables.flatMap((name) => {
      const value = random.chance(0.5) ? text(/[\0\r\n]/g) : "";
      return value === "" ? [] : [[name, value]];
    });
    const netnsProblem = text(/[\0\r\n]/g);
    const request: PluginRequest = {
      environment: Object.fromEntries(values) as Environment,
      stdin: text(/[\r\n]/g),
      ...(netnsProblem !== "" && { netnsProblem }),
    };
    expect(decodeRequest(encodeRequest(request))).toEqual(request);
    const decoded = decodeRequest(text(/\n/g));
    if (decoded === undefined) continue;
    const names: readonly string[] = variables;
    expect(Object.keys(decoded.environment).filter((name) => !names.includes(name))).toEqual([]);
  }
});

test("an answer is a digit and what belongs on standard output", () => {
  expect(encodeAnswer({ status: 0, output: "" })).toBe("0");
  expect(encodeAnswer({ status: 1, output: '{"code":11}' })).toBe('1{"code":11}');
  for (const answer of [
    { status: 0, output: "" },
    { status: 9, output: "0" },
    { status: 1, output: '{"a":"b"}' },
  ])
    expect(decodeAnswer(encodeAnswer(answer))).toEqual(answer);
  for (const line of ["", "x", "-1", " 0", "/", ":"]) expect(decodeAnswer(line)).toBeUndefined();
  for (const status of [-1, 10, 0.5, Number.NaN])
    expect(() => encodeAnswer({ status, output: "" })).toThrow("must be a digit");
  expect(encodeAnswer({ status: 0, output: "{\n}" })).toBe("0{ }");
});
