/**
 * What comes from outside is anything: standard input, variables, prevResult, lines on cni.sock, files of tombstones. Only a valid value
 * or a CniError with a code of ours comes out, never an exception of another kind. `SEED=… bun test src/cni/fuzz.test.ts` repeats.
 */
import { afterAll, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { deep, type Json, mutated } from "../../test/support/json-mutation.ts";
import { newSeed, Random } from "../../test/support/random.ts";
import { parseArguments } from "./arguments.ts";
import { CniError, CODES, formatError } from "./error.ts";
import type { JsonObject } from "./json.ts";
import { decodeAnswer, decodeRequest, encodeAnswer, encodeRequest, VERSIONS } from "./protocol.ts";
import { answerVersion, parseRequest } from "./request.ts";
import { formatResult, parseResult } from "./result.ts";
import { replayTombstones, type Tombstone } from "./tombstone.ts";

const seed = newSeed();
const random = new Random(seed);
const title = (text: string) => `${text} (SEED=${seed})`;

const result = (cniVersion: string): Json =>
  cniVersion < "0.3"
    ? {
        cniVersion,
        ip4: { ip: "10.1.0.2/24", gateway: "10.1.0.1", routes: [{ dst: "0.0.0.0/0", gw: "10.1.0.1" }] },
        dns: {},
      }
    : {
        cniVersion,
        interfaces: [
          { name: "cw-pods", mac: "02:00:00:00:00:01", mtu: 1420 },
          { name: "eth0", mac: "02:00:00:00:00:02", sandbox: "/run/netns/x", socketPath: "/s", pciID: "0:1" },
        ],
        ips: [
          { version: "4", address: "10.1.0.2/24", gateway: "10.1.0.1", interface: 1 },
          { address: "fd00::2/64", gateway: "fd00::1", interface: 1 },
        ],
        routes: [
          { dst: "0.0.0.0/0", gw: "10.1.0.1", mtu: 1400, advmss: 1360, priority: 1, table: 2, scope: 0 },
        ],
        dns: { nameservers: ["10.0.0.1"], domain: "a.test", search: ["b"], options: ["c"] },
      };

const configuration = (cniVersion: string): Json => ({
  cniVersion,
  name: "net",
  type: "causeway",
  mtu: 1400,
  ipam: { type: "causeway", routes: [{ dst: "198.51.100.0/24", gw: "10.1.0.1" }] },
  dns: { nameservers: ["10.0.0.1"], domain: "a.test", search: ["b"], options: ["c"] },
  args: { cni: { ips: ["10.1.0.9"], mac: "02:00:00:00:00:09" } },
  runtimeConfig: {
    ips: ["10.1.0.8/24", "fd00::8"],
    mac: "02:00:00:00:00:08",
    dns: { Servers: ["10.0.0.2"], Searches: ["d"], Options: ["e"] },
    portMappings: [{ HostPort: 8080, ContainerPort: 80, Protocol: "tcp", HostIP: "" }],
    bandwidth: { IngressRate: 1_000_000, IngressBurst: 1_000_000, EgressRate: 0, EgressBurst: 4294967295 },
  },
  prevResult: result(cniVersion),
  "cni.dev/valid-attachments": [{ containerID: "c1", ifname: "eth0" }],
});

const privateByName = (cniVersion: string): Json => ({
  ...{
    cniVersion,
    name: "net",
    type: "causeway",
    vpc: "blue",
    subnet: "a",
    mtu: 1400,
    groups: ["web"],
    owner: "vm a/b",
  },
  routes: [{ dst: "198.51.100.0/24", gw: "10.1.0.1" }],
  args: { cni: { ips: ["10.1.0.9"], mac: "02:00:00:00:00:09", groups: ["db"], owner: "c" } },
  runtimeConfig: { ips: ["10.1.0.8/24"], mac: "02:00:00:00:00:08", dns: { Servers: ["10.0.0.2"] } },
  prevResult: result(cniVersion),
  "cni.dev/valid-attachments": [{ containerID: "c1", ifname: "eth0" }],
});

const privateByNumber = (cniVersion: string): Json => ({
  ...{ cniVersion, name: "net", type: "vxlan", vni: 300, addr: "172.16.32.1/24", port: 4789, mtu: 1400 },
  ...(random.chance(0.5) && { ipam: { type: "whereabouts", range: "172.16.32.0/24" } }),
});

const args = "IgnoreUnknown=1;K8S_POD_NAMESPACE=a;K8S_POD_NAME=b;IP=10.1.0.7,fd00::7;MAC=02:00:00:00:00:07";

function environment(): Record<string, string> {
  const found = {
    CNI_COMMAND: random.pick(["ADD", "DEL", "CHECK", "GC", "STATUS"]),
    CNI_CONTAINERID: "c1",
    CNI_NETNS: "/run/netns/x",
    CNI_IFNAME: "eth0",
    CNI_ARGS: args,
    CNI_PATH: "/opt/cni/bin",
  };
  const entries = Object.entries(found).filter(() => !random.chance(0.03));
  return Object.fromEntries(entries.map(([key, value]) => [key, random.chance(0.05) ? bent(value) : value]));
}

/** A text of which some bytes are others. */
function bent(text: string): string {
  return new TextDecoder().decode(random.mutate(new TextEncoder().encode(text)));
}

function stdin(): string {
  const version = random.pick(VERSIONS);
  const valid = random.pick([configuration, privateByName, privateByNumber])(version);
  if (random.chance(0.3)) return bent(JSON.stringify(valid));
  return JSON.stringify(mutated(valid, random, random.pick([0.01, 0.05, 0.2])));
}

const codes: readonly number[] = Object.values(CODES);

/** outcome runs a parser: what it returns, or the code of its CniError; anything else that it throws is a failure, with its input. */
function outcome<T>(input: unknown, parse: () => T): { value: T } | { code: number } {
  try {
    return { value: parse() };
  } catch (error) {
    if (!(error instanceof CniError))
      throw new Error(`SEED=${seed}: ${JSON.stringify(input).slice(0, 2000)}`, { cause: error });
    const text = formatError(error, undefined);
    expect(codes).toContain(error.code);
    expect(text).not.toMatch(/\n|\bat \S+ \(|undefined is not|is not a function|\[object Object\]/);
    expect(Object.keys(JSON.parse(text))).toEqual(expect.arrayContaining(["cniVersion", "code", "msg"]));
    return { code: error.code };
  }
}

test(title("calls: a request, or an error with a code"), () => {
  const seen = new Map<number, number>();
  for (let round = 0; round < 6000; round++) {
    const request = { environment: environment(), stdin: stdin() };
    const found = outcome(request, () => parseRequest(request));
    const key = "value" in found ? 0 : found.code;
    seen.set(key, (seen.get(key) ?? 0) + 1);
    outcome(request, () => answerVersion(request.stdin));
  }
  // The inputs are neither all good nor all bad in the same way.
  for (const code of [0, 1, 4, 6, 7]) expect([code, (seen.get(code) ?? 0) > 0]).toEqual([code, true]);
});

test("calls: what is nested or large beyond all measure", () => {
  const call = (more: string) => ({
    environment: { CNI_COMMAND: "ADD", CNI_CONTAINERID: "c", CNI_NETNS: "/n", CNI_IFNAME: "e" },
    stdin: `{"cniVersion":"1.0.0","name":"net",${more}}`,
  });
  const brackets = (levels: number) => `${"[".repeat(levels)}${"]".repeat(levels)}`;
  for (const key of ["mtu", "dns", "prevResult", "args", "runtimeConfig", "ipam", "unknown"]) {
    outcome([key], () => parseRequest(call(`"${key}":${brackets(10_000)}`)));
    outcome([key], () => parseRequest(call(`"${key}":${JSON.stringify("x".repeat(1_000_000))}`)));
    outcome([key], () => parseRequest(call(`"${key}":${JSON.stringify(deep(500))}`)));
  }
  // More than a value can have to be written again, as it would be for the details of the error.
  outcome("mtu", () => parseRequest(call(`"mtu":${brackets(100_000)}`)));
});

test(title("CNI_ARGS: pairs, or code 4"), () => {
  for (let round = 0; round < 4000; round++) {
    const text = random.chance(0.7) ? bent(args) : random.text(60).replaceAll("-", "=").replaceAll("_", ";");
    const found = outcome(text, () => parseArguments(text));
    if ("code" in found) expect(found.code).toBe(4);
    else for (const [key, value] of found.value) expect([typeof key, value !== ""]).toEqual(["string", true]);
  }
});

test(title("prevResult: read, written in every version, and read again the same"), () => {
  let read = 0;
  for (let round = 0; round < 3000; round++) {
    const value = mutated(
      result(random.pick(VERSIONS)),
      random,
      random.pick([0.01, 0.05, 0.2]),
    ) as JsonObject;
    if (typeof value !== "object" || value === null || Array.isArray(value)) continue;
    const first = outcome(value, () => parseResult(value));
    if ("code" in first) continue;
    read++;
    for (const version of VERSIONS) {
      const text = outcome(value, () => formatResult(first.value, version));
      if ("code" in text || version < "1.0.0") continue;
      expect(parseResult(JSON.parse(text.value))).toEqual(first.value);
    }
  }
  expect(read).toBeGreaterThan(500);
});

test(title("lines on cni.sock: a question, or none"), () => {
  for (let round = 0; round < 4000; round++) {
    const honest = { environment: environment(), stdin: random.chance(0.5) ? stdin() : random.text(30) };
    const line = encodeRequest(honest as never);
    expect(line).not.toContain("\n");
    const bad = outcome(line, () => decodeRequest(random.chance(0.5) ? bent(line) : random.text(40)));
    if ("value" in bad && bad.value !== undefined) {
      const request = bad.value;
      outcome(line, () => parseRequest(request));
    }
  }
});

test(title("lines on cni.sock: what was asked and answered arrives, but for line feeds"), () => {
  const flat = (text: string) => text.replaceAll(/[\r\n]/g, " ");
  for (let round = 0; round < 2000; round++) {
    const request = {
      environment: { CNI_COMMAND: "ADD", CNI_ARGS: `=${random.text(20)};=` },
      stdin: random.text(50),
    };
    expect(decodeRequest(encodeRequest(request))).toEqual({ ...request, stdin: flat(request.stdin) });
    const answer = { status: random.below(10), output: random.text(50) };
    expect(decodeAnswer(encodeAnswer(answer))).toEqual(answer);
    decodeAnswer(random.text(10));
  }
});

const folder = mkdtempSync(join(tmpdir(), "causeway-fuzz-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test(title("tombstones: worked off or swept, whatever the files hold"), () => {
  const valid = { network: "net", containerId: "c1", ifname: "eth0" };
  for (let at = 0; at < 1500; at++) {
    const text = random.chance(0.5)
      ? bent(JSON.stringify(valid))
      : JSON.stringify(mutated(valid, random, 0.2));
    writeFileSync(join(folder, `${at}.json`), text);
  }
  writeFileSync(join(folder, "empty.json"), "");
  writeFileSync(join(folder, "half.json.tmp"), "{");
  symlinkSync("/nowhere", join(folder, "dangling.json"));
  const seen: Tombstone[] = [];
  const errors = replayTombstones(folder, (tombstone) => void seen.push(tombstone));
  expect(errors.map(({ cause }) => String(cause))).toEqual([]);
  expect(seen.length).toBeGreaterThan(100);
  for (const tombstone of seen)
    expect(Object.values(tombstone).every((text) => typeof text === "string" && text !== "")).toBe(true);
  expect(readdirSync(folder)).toEqual(["half.json.tmp"]);
});

test("tombstones: a folder of that name is swept as well, and one that cannot be read is an error, not an exception", () => {
  mkdirSync(join(folder, "folder.json"));
  const errors = replayTombstones(folder, () => expect.unreachable());
  expect([errors.length, readdirSync(folder).includes("folder.json")]).toEqual([1, true]);
  rmSync(join(folder, "folder.json"), { recursive: true });
});
