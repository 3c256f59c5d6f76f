import { expect, test } from "bun:test";
import type { BackendName, TunnelBackend } from "./backend.ts";
import { chooseBackend, type TunnelFacts } from "./choice.ts";
import { restartPauseMs, takeOverPauseMs } from "./user-tunnel.ts";

function backend(name: BackendName): TunnelBackend {
  const open = () => Promise.reject(new Error("not opened here"));
  return { name, provider: `${name} 1`, linkType: name === "kernel" ? "wireguard" : "external", open };
}

const NO_KERNEL = "this kernel has no WireGuard; boot one that has";
const NO_LIBRARY =
  "Causeway's own engine cannot run: Cannot load libcrypto.so.3; install it, on Debian: apt-get install libssl3";

/** A machine that has the named ones. */
function machine(...names: readonly BackendName[]): TunnelFacts & { readonly asked: BackendName[] } {
  const asked: BackendName[] = [];
  const look = (name: BackendName, missing: string) => () => {
    asked.push(name);
    return names.includes(name) ? backend(name) : missing;
  };
  return {
    asked,
    kernel: look("kernel", NO_KERNEL),
    user: look("user", NO_LIBRARY),
    "wireguard-go": look("wireguard-go", "there is no wireguard-go; install it"),
  };
}

test("the kernel is preferred, then our own engine; a wish is followed", () => {
  const chosen = (wish: Parameters<typeof chooseBackend>[0], facts: TunnelFacts) => {
    const { backend, reason } = chooseBackend(wish, { facts });
    return [backend.name, reason];
  };
  expect(chosen("auto", machine("kernel", "user", "wireguard-go"))).toEqual([
    "kernel",
    "the kernel has WireGuard",
  ]);
  expect(chosen("auto", machine("user", "wireguard-go"))).toEqual(["user", "the kernel has no WireGuard"]);
  for (const wish of ["kernel", "user", "wireguard-go"] as const)
    expect(chosen(wish, machine("kernel", "user", "wireguard-go"))).toEqual([wish, "asked for"]);
});

test("a hub takes what relays, unless somebody asks for another", () => {
  const facts = machine("kernel", "user", "wireguard-go");
  expect(chooseBackend("auto", { relays: true, facts })).toMatchObject({
    backend: { name: "user" },
    reason: "a hub relays, which the kernel's WireGuard does not by itself",
  });
  expect(chooseBackend("kernel", { relays: true, facts }).backend.name).toBe("kernel");
});

test("nothing is looked for that is not needed", () => {
  const all = machine("kernel", "user", "wireguard-go");
  chooseBackend("auto", { facts: all });
  expect(all.asked).toEqual(["kernel"]);
  const none = machine("user");
  chooseBackend("auto", { facts: none });
  expect(none.asked).toEqual(["kernel", "user"]);
});

test("what is not there is named with the packages that bring it", () => {
  // wireguard-go is what somebody asks for, never what we fall back to.
  expect(() => chooseBackend("auto", { facts: machine("wireguard-go") })).toThrow(
    `Cannot run a tunnel: ${NO_KERNEL}; ${NO_LIBRARY}`,
  );
  expect(() => chooseBackend("kernel", { facts: machine("user") })).toThrow(
    `Cannot run a tunnel: ${NO_KERNEL}; or let the choice be automatic (--tunnel auto)`,
  );
  expect(() => chooseBackend("user", { facts: machine("kernel") })).toThrow("apt-get install libssl3");
  expect(() => chooseBackend("wireguard-go", { facts: machine("user") })).toThrow("there is no wireguard-go");
});

test("pauses between restarts double up to 30 s, between attempts to take over up to an hour", () => {
  expect([1, 2, 3, 4, 8, 9, 60].map(restartPauseMs)).toEqual([20, 250, 500, 1000, 16000, 30000, 30000]);
  expect([1, 2, 6, 7, 60].map(takeOverPauseMs)).toEqual([60_000, 120_000, 1_920_000, 3_600_000, 3_600_000]);
});
