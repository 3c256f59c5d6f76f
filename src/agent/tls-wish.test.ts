import { expect, test } from "bun:test";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { PrivateKey } from "../net/mod.ts";
import { joiningWish, pinOf, pinsOf, proxyOf, tlsWish } from "./tls-wish.ts";

test("what the agent is started with comes first, then what was said when the node joined; never where nobody says anything", () => {
  expect(tlsWish({}, {})).toEqual({ mode: "never" });
  const joined = { mode: "auto", proxyFile: "/etc/proxy" } as const;
  expect(tlsWish({}, joined)).toEqual(joined);
  expect(tlsWish({ mode: "never" }, joined)).toEqual({ ...joined, mode: "never" });
  expect(tlsWish({ proxy: "http://p:1" }, joined)).toEqual({ mode: "auto", proxy: "http://p:1" });
});

test("joining with something else than what the agent will do afterwards is refused", () => {
  expect(joiningWish({ mode: "auto" }, { proxy: "http://p:1" })).toEqual({
    mode: "auto",
    proxy: "http://p:1",
  });
  expect(() => joiningWish({ mode: "never" }, { mode: "auto" })).toThrow(
    "Cannot join with --tls auto: the agent of this machine was started with another",
  );
  expect(() => joiningWish({ proxy: "http://p:1" }, { proxyFile: "/f" })).toThrow("with --tls-proxy-file /f");
});

test("a password is taken from a file that nobody else reads, and from nowhere else; no error repeats it", () => {
  const folder = mkdtempSync(`${tmpdir()}/causeway-proxy-`);
  const file = `${folder}/proxy`;
  const url = "http://user:secret@proxy.example:3128";
  const refusal = (given: Parameters<typeof proxyOf>[0]) => {
    try {
      return proxyOf(given);
    } catch (error) {
      return (error as Error).message;
    }
  };
  try {
    expect(proxyOf({})).toBeUndefined();
    expect(proxyOf({ proxy: "http://proxy.example:3128" })).toBe("http://proxy.example:3128");
    writeFileSync(file, `${url}\n`, { mode: 0o600 });
    expect(proxyOf({ proxyFile: file })).toBe(url);
    chmodSync(file, 0o640);
    writeFileSync(`${folder}/wrong`, "http://user:secret@proxy", { mode: 0o600 });
    const refusals = [
      refusal({ proxy: url }),
      refusal({ proxy: "http://user:se%cret@p:1" }),
      refusal({ proxyFile: file }),
      refusal({ proxyFile: "proxy" }),
      refusal({ proxyFile: `${folder}/none` }),
      refusal({ proxyFile: `${folder}/wrong` }),
      refusal({ proxy: "http://p:1", proxyFile: file }),
    ];
    expect(refusals).toEqual([
      expect.stringContaining("every user of this machine sees a password on a command line"),
      expect.stringContaining("write %25"),
      `Cannot use the proxy: others can read ${file}, which may hold a password; chmod 600 ${file}`,
      "Cannot use the proxy: proxy is not a full path; begin it with /",
      `Cannot use the proxy: there is no file ${folder}/none`,
      expect.stringContaining("http://[USER:PASSWORD@]HOST:PORT"),
      expect.stringContaining("not both"),
    ]);
    expect(refusals.join()).not.toMatch(/secret|se%cret/);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test("a token's hash of a hub is found by the hub's key, and by its endpoint when the hub has changed the key since", () => {
  const [before, now] = [PrivateKey.random().publicKey, PrivateKey.random().publicKey];
  const endpoints = ["hub.example.com:51820"];
  const pins = new Map(
    Object.entries(
      pinsOf([
        { key: before, endpoints, tls: { port: 443, pin: "h1" } },
        { key: now, endpoints: ["x:1"] },
      ]),
    ),
  );
  expect(pinOf(pins, { publicKey: before, endpoints: [] })).toBe("h1");
  expect(pinOf(pins, { publicKey: now, endpoints })).toBe("h1");
  expect(pinOf(pins, { publicKey: now, endpoints: ["x:1"] })).toBeUndefined();
});
