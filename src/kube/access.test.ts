import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inCluster, kubeconfigAccess } from "./access.ts";

const folder = mkdtempSync(join(tmpdir(), "causeway-access-"));
afterAll(() => rmSync(folder, { recursive: true }));

function config(cluster: object, user: object, more: object = {}): string {
  const path = join(folder, "config");
  const value = {
    "current-context": "c",
    contexts: [{ name: "c", context: { cluster: "k", user: "u" } }],
    clusters: [{ name: "other" }, { name: "k", cluster: { server: "https://192.0.2.1:6443/", ...cluster } }],
    users: [{ name: "u", user }],
    ...more,
  };
  writeFileSync(path, JSON.stringify(value));
  return path;
}

const base64 = (text: string) => Buffer.from(text).toString("base64");
const ca = { "certificate-authority-data": base64("CA") };

test("a token in the file, or in one of its own, which is read each time", () => {
  const { server, tls, token } = kubeconfigAccess(config(ca, { token: "t" }));
  expect([server, tls, token?.()]).toEqual(["https://192.0.2.1:6443", { ca: "CA" }, "t"]);
  writeFileSync(join(folder, "token"), "one\n");
  const renewed = kubeconfigAccess(config(ca, { tokenFile: "token", token: "t" }));
  expect(renewed.token?.()).toBe("one");
  writeFileSync(join(folder, "token"), "two\n");
  expect(renewed.token?.()).toBe("two");
});

test("a client certificate, in the file or beside it", () => {
  for (const name of ["ca", "crt", "key"]) writeFileSync(join(folder, name), name);
  const data = { "client-certificate-data": base64("crt"), "client-key-data": base64("key") };
  expect(kubeconfigAccess(config(ca, data))).toEqual({
    ...{ server: "https://192.0.2.1:6443", tls: { ca: "CA", certificate: "crt", key: "key" } },
  });
  const files = { "client-certificate": "crt", "client-key": join(folder, "key") };
  expect(kubeconfigAccess(config({ "certificate-authority": "ca" }, files)).tls).toEqual({
    ...{ ca: "ca", certificate: "crt", key: "key" },
  });
});

test.each([
  ["insecure-skip-tls-verify", { ...ca, "insecure-skip-tls-verify": true }, { token: "t" }],
  ["certificate-authority is missing", {}, { token: "t" }],
  ["server is no https", { ...ca, server: "http://192.0.2.1" }, { token: "t" }],
  ["exec is not supported", ca, { exec: { command: "aws" } }],
  ["neither a token nor", ca, { "client-certificate-data": base64("crt") }],
])("%s", (problem, cluster, user) => {
  expect(() => kubeconfigAccess(config(cluster, user))).toThrow(problem);
});

test("a context, cluster or user that is not there", () => {
  expect(() => kubeconfigAccess(config(ca, {}, { "current-context": "x" }))).toThrow("contexts has no x");
  expect(() => kubeconfigAccess(config(ca, {}, { users: [] }))).toThrow("users has no u");
  expect(() => kubeconfigAccess(join(folder, "nothing"))).toThrow("there is no file");
});

test("the service account of a pod", () => {
  writeFileSync(join(folder, "ca.crt"), "CA");
  writeFileSync(join(folder, "token"), "t\n");
  expect(() => inCluster(folder)).toThrow("KUBERNETES_SERVICE_HOST is not set");
  process.env["KUBERNETES_SERVICE_HOST"] = "fd00::1";
  process.env["KUBERNETES_SERVICE_PORT"] = "443";
  try {
    const { server, tls, token } = inCluster(folder);
    expect([server, tls, token?.()]).toEqual(["https://[fd00::1]:443", { ca: "CA" }, "t"]);
  } finally {
    delete process.env["KUBERNETES_SERVICE_HOST"];
    delete process.env["KUBERNETES_SERVICE_PORT"];
  }
});
