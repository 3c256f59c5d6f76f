import { expect, test } from "bun:test";
import { parseIp } from "../net/mod.ts";
import { controlPlaneExaminations } from "./control-plane-checks.ts";
import type { ControlPlaneFacts, Facts } from "./facts.ts";

/** What is found of a node with two overlay addresses, and whether that is well. */
function look(controlPlane: Partial<ControlPlaneFacts>): string {
  const facts = {
    view: { place: { own: [parseIp("10.90.0.2"), parseIp("fd01:2:3::2")] } },
    kube: { controlPlane: { flags: [], ...controlPlane } },
  } as unknown as Facts;
  const finding = controlPlaneExaminations[0]?.look(facts) as {
    readonly found: string;
    readonly fix?: string;
  };
  return `${finding.fix === undefined ? "ok" : "wrong"}: ${finding.found}`;
}

const certificate = (...names: readonly string[]) => ({ certificate: { path: "crt", names } });
const flag = (...hosts: readonly string[]) => ({
  flags: [{ path: "yaml", flag: "listen-peer-urls", hosts }],
});
const endpoint = (host: string) => ({ endpoint: { path: "conf", host } });

test("a certificate is for one of the node's addresses, in any spelling, and for the endpoint", () => {
  expect(look(certificate("kubernetes", "10.90.0.2"))).toStartWith("ok");
  expect(look(certificate("FD01:2:3:0:0:0:0:2"))).toStartWith("ok");
  expect(look(certificate("kubernetes", "192.168.1.5"))).toBe("wrong: crt is not for 10.90.0.2");
  expect(look({ certificate: { path: "crt" } })).toBe("wrong: crt is no certificate");
  const named = (name: string) => look({ ...certificate("10.90.0.2", name), ...endpoint("api.example.com") });
  expect(["API.example.com", "*.example.com"].map(named)).toEqual([
    expect.stringMatching(/^ok/),
    expect.stringMatching(/^ok/),
  ]);
  for (const name of ["example.com", "*.com", "api.example.com.evil", "10.90.0.3"])
    expect(named(name)).toBe("wrong: crt is not for api.example.com (conf)");
});

test("an endpoint that is the address is said once", () => {
  expect(look({ ...certificate("192.168.1.5"), ...endpoint("10.90.0.3") })).toBe(
    "wrong: crt is not for 10.90.0.2 nor 10.90.0.3 (conf)",
  );
});

test("flags name the overlay's addresses; the loopback, any address and names beside them are well", () => {
  for (const hosts of [
    ["10.90.0.2"],
    ["127.0.0.1", "10.90.0.2"],
    ["::1", "fd01:2:3::2"],
    ["0.0.0.0"],
    ["etcd.example.com"],
  ])
    expect([hosts, look(flag(...hosts))]).toEqual([hosts, expect.stringMatching(/^ok/)]);
  expect(look(flag("10.90.0.2", "192.168.1.5"))).toStartWith("ok");
  expect(look(flag("127.0.0.1", "192.168.1.5"))).toBe("wrong: --listen-peer-urls is 192.168.1.5 (yaml)");
  expect(look(flag())).toStartWith("wrong: no --listen-peer-urls (yaml)");
});
