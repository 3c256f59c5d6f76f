import { afterAll, beforeAll, expect, test } from "bun:test";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { until } from "../../test/support/bgp-ends.ts";
import { KubeApi } from "../../test/support/kube-api.ts";
import { passwordKey } from "../edge/mod.ts";
import { EdgePasswords } from "./edge-passwords.ts";

const WORD = "s3cret-of-the-rack";
const secret = { secret: { namespace: "net", name: "tor", key: "password" } };

let api: KubeApi;
let folder: string;
let passwords: EdgePasswords;
beforeAll(async () => {
  api = new KubeApi();
  const ca = await api.ca;
  api.readable.add("net/tor");
  api.putSecret("net/tor", { password: WORD });
  folder = mkdtempSync(join(tmpdir(), "causeway-passwords-"));
  passwords = new EdgePasswords({
    folder: `${folder}/kept`,
    access: () => ({ server: api.url, tls: { ca }, token: () => api.token }),
  });
});
afterAll(() => {
  passwords?.[Symbol.dispose]();
  api?.[Symbol.dispose]();
  rmSync(folder, { recursive: true, force: true });
});

const state = () => passwords.follow([secret]).get(passwordKey(secret));

test("one that cannot be kept is told of, and kept as soon as it can be", async () => {
  // As a full disk is: no folder can be made there.
  writeFileSync(`${folder}/kept`, "");
  let told = 0;
  passwords.onChange = () => void told++;
  await until("the problem", () => JSON.stringify(state()).includes("Cannot keep the password: "));
  expect(JSON.stringify(state())).not.toContain(WORD);
  rmSync(`${folder}/kept`);
  told = 0;
  const file = `${folder}/kept/net,tor,password`;
  await until("another look", () => told > 0);
  expect(state()).toEqual({ file });
  expect(readFileSync(file, "utf8")).toBe(`${WORD}\n`);
});

test("nothing is left of Secrets that nobody wants", () => {
  rmSync(`${folder}/kept`, { recursive: true, force: true });
  mkdirSync(`${folder}/kept`);
  writeFileSync(`${folder}/kept/net,former,password`, WORD);
  passwords.follow([]);
  passwords.sweep();
  expect(existsSync(`${folder}/kept`)).toBe(false);
});
