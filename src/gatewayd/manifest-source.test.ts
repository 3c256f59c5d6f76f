/** A gateway that is configured by manifests: what it makes of their changes, what it says, and what it refuses. */
import { afterEach, beforeEach, expect, test } from "bun:test";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { GatewayBed, INTERFACES } from "../../test/support/gateway-bed.ts";
import { defaultConfig, formats, perform, readConfig, sameValue } from "../gateway/mod.ts";
import { withSource } from "./config-source.ts";
import { ManifestSource } from "./manifest-source.ts";

let folder: string;
let bed: GatewayBed;
let source: ManifestSource;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "causeway-manifests-"));
  bed = new GatewayBed();
});
afterEach(() => {
  source?.[Symbol.dispose]();
  bed?.[Symbol.dispose]();
  rmSync(folder, { recursive: true, force: true });
});

const resource = (kind: string, name: string, spec: string) =>
  `apiVersion: causeway.network/v1alpha1\nkind: ${kind}\nmetadata: {name: ${name}}\nspec: {${spec}}\n---\n`;
const gateway = (more = "", name = "test") =>
  resource(
    "Gateway",
    name,
    `node: here, private: {interface: eth1, address4: {ip: 10.0.0.1, nextHop: 10.0.0.2}}, public: [{interface: eth2, address4: {ip: 203.0.113.1, nextHop: 203.0.113.2}}]${more}`,
  );
const key = (name: string) => `${folder}/${name}.psk`;
const route = (name: string, n: number, more = "") =>
  resource(
    "Route",
    name,
    `gateway: test, spi: ${1000 + n}, prefixes: [10.${n}.0.0/16], gateways: [{ip: 203.0.113.${n}}], presharedKeyFile: ${key(name)}${more}`,
  );
const write = (text: string) => writeFileSync(`${folder}/all.yaml`, text);
const writeKey = (name: string, digits: string, mode = 0o600) => {
  writeFileSync(key(name), digits.repeat(32), { mode });
  chmodSync(key(name), mode);
};

function begin(which: { readonly name?: string } = { name: "test" }): ManifestSource {
  source?.[Symbol.dispose]();
  source = new ManifestSource({ path: folder, node: "here", ...which });
  source.follow(bed.gateway, (event, { reason } = {}) => {
    bed.log.push({ event, ...(reason === undefined ? {} : { reason }) });
  });
  return source;
}
/** What is written is used when it stays so for two looks. */
async function followed(text: string): Promise<void> {
  write(text);
  await source.look();
  await source.look();
  await bed.gateway.settled();
}
const state = async () => withSource(bed.gateway.state(await bed.gateway.report()), source);
const routes = () => [...bed.gateway.config.route.keys()];

test("what is written is the configuration, and changes are followed", async () => {
  for (const name of ["a", "b"]) writeKey(name, name === "a" ? "aa" : "bb");
  write(gateway() + route("a", 11));
  begin();
  expect(routes()).toEqual(["a"]);
  const before = bed.gateway.model.routes.get("a");
  await followed(gateway() + route("a", 11) + route("b", 12));
  expect(routes()).toEqual(["a", "b"]);
  expect(sameValue(bed.gateway.model.routes.get("a"), before)).toBe(true);
  expect(bed.files.config().route.size).toBe(2);
  await followed(gateway(", mtuBytes: 1400") + route("b", 12));
  expect([routes(), bed.gateway.config.mtu]).toEqual([["b"], 1400]);
  expect((await state()).configuration).toEqual({ source: `Gateway "test" in ${folder}`, problem: [] });
});

test("what is wrong is told once, stands in the state, and changes nothing", async () => {
  writeKey("a", "aa");
  write(gateway() + route("a", 11) + route("b", 11));
  begin();
  const said = 'Route "b": spec.spi 1011 is not unique: Route "a" has it; write another';
  expect((await state()).configuration?.problem).toContain(said);
  expect((await state()).route.get("b")).toEqual({ id: "b", up: false, reason: said });
  await followed(gateway() + route("a", 11, ", exchange: rot13") + route("b", 11));
  expect(bed.log.filter(({ reason }) => reason === said)).toHaveLength(1);
  expect(routes()).toEqual(["a"]);
  expect((await state()).route.get("a")?.reason).toStartWith(
    'it goes on as it was, since Route "a": spec.exchange',
  );
  const { config } = bed.gateway;
  for (const text of [
    "",
    "a: [1",
    gateway(", mtuBytes: 9000"),
    gateway(", vpc: team-a"),
    gateway("", "other"),
  ]) {
    await followed(text);
    expect(bed.gateway.config).toBe(config);
    expect((await state()).configuration?.problem).not.toEqual([]);
  }
  await followed(gateway() + route("a", 11));
  expect((await state()).configuration?.problem).toEqual([]);
});

test("associations of an operator are given by verbs, and stay", async () => {
  writeKey("a", "aa");
  const text = (mtu: number) => gateway(`, dataPlane: true, mtuBytes: ${mtu}`) + route("a", 11);
  write(text(1400));
  begin();
  const store = {
    config: bed.gateway.config,
    state: { "gateway-state": await state() },
    refusal: (path: string) => source.refusal(path),
  };
  const value = `{ spi 1000; route a; aead aes-gcm-16-icv; key "${"1000".repeat(8)}"; salt "00001000"; }`;
  bed.gateway.keep(perform(store, { verb: "add", path: "/outbound-sa", value }).config);
  await followed(text(1300));
  expect(bed.gateway.config.mtu).toBe(1300);
  expect([...bed.gateway.model.associations.values()]).toMatchObject([{ spi: 1000, route: "a" }]);
});

test("its state can be printed in every format", async () => {
  write(gateway() + route("a", 11, ", exchange: rot13"));
  begin();
  const store = { config: defaultConfig, state: { "gateway-state": await state() } };
  for (const format of formats) {
    const { text } = perform(store, { verb: "get-state", path: "/", print: { format } });
    expect(text).toContain("configuration");
    expect(text).toContain("spec.exchange");
  }
});

test("what is wrong when a gateway starts leaves what it had when it ended", () => {
  const { config: before } = readConfig(`${INTERFACES} mtu 1400;`);
  source = new ManifestSource({ path: folder, node: "here", name: "test" });
  expect(source.first(before, () => {})).toBe(before);
  expect(source.problems).toEqual([`Gateway "test": is not in ${folder}; add it there, with spec.node here`]);
});

test("what the machine refuses is told, and all goes on as it was", async () => {
  writeKey("a", "aa");
  write(gateway() + route("a", 11));
  begin();
  const reason = async () => (await state()).route.get("a")?.reason ?? "";
  const { config } = bed.gateway;
  bed.files.saveConfig = () => {
    throw new Error("the disk is full");
  };
  await followed(gateway(", mtuBytes: 1400") + route("a", 11));
  expect(bed.gateway.config).toBe(config);
  expect((await state()).configuration?.problem).toEqual([
    'Gateway "test": cannot be taken now, and is tried again: the disk is full',
  ]);
  // Who looks at a Route only is told too.
  expect(await reason()).toStartWith(
    'Gateway "test": cannot be taken now, and is tried again: the disk is full',
  );
  // So is who adds one meanwhile.
  writeKey("b", "bb");
  await followed(`${gateway(", mtuBytes: 1400")}${route("a", 11)}${route("b", 12)}`);
  expect((await state()).route.get("b")).toMatchObject({
    up: false,
    reason: 'Gateway "test": cannot be taken now, and is tried again: the disk is full',
  });
  await followed(`${gateway(", mtuBytes: 1400")}${route("a", 11)}\n# again\n`);
  expect(bed.log.filter(({ reason }) => reason?.includes("the disk is full"))).toHaveLength(1);
});

test("a key file that others can read is refused, and followed when it changes", async () => {
  writeKey("a", "aa", 0o640);
  write(gateway() + route("a", 11));
  begin();
  const reason = async () => (await state()).route.get("a")?.reason;
  expect(await reason()).toContain(`chmod 600 ${key("a")}`);
  chmodSync(key("a"), 0o600);
  bed.gateway.look();
  const first = bed.gateway.model.routes.get("a");
  expect(first?.unusable).toBeUndefined();
  writeKey("a", "cc");
  bed.gateway.look();
  const second = bed.gateway.model.routes.get("a");
  expect(sameValue(first?.exchange, second?.exchange)).toBe(false);
  writeFileSync(key("a"), "no key 77");
  bed.gateway.look();
  expect(await reason()).toContain("there is no key in it");
  expect(await reason()).not.toContain("77");
  rmSync(key("a"));
  bed.gateway.look();
  expect(await reason()).toContain("it is not there");
});

test("verbs that change are refused with the way out, but for SAs, which no manifest has", () => {
  write(gateway());
  const { refusal, name } = { refusal: (path: string) => begin().refusal(path), name: "Gateway" };
  const store = { config: defaultConfig, state: { "gateway-state": bed.gateway.state(new Map()) }, refusal };
  for (const request of [
    { verb: "set", path: "/mtu", value: "1440" },
    { verb: "add", path: "/cpu", value: "1" },
    { verb: "remove", path: "/route[id=a]" },
    { verb: "load", value: "" },
  ] as const)
    expect(() => perform(store, request)).toThrow(
      `cannot be changed here: the configuration comes from ${name} "test" in ${folder}; change it there, or start the gateway without --manifests`,
    );
  expect(perform(store, { verb: "get", path: "/mtu" }).text).toBe("8923\n");
  expect(() => perform(store, { verb: "set", path: "/outbound-sa", value: "" })).toThrow("data-plane");
});

test("without a name it is the only Gateway of this node", () => {
  write(gateway("", "one"));
  expect(begin({}).gateway).toBe("one");
  for (const [text, expected] of [
    [gateway("", "one") + gateway("", "two"), "spec.node here: one, two; name one by --name"],
    ["", `No Gateway in ${folder} has spec.node here; name one by --name, or this node by --node`],
  ] as const) {
    write(text);
    expect(() => begin({})).toThrow(expected);
  }
});
