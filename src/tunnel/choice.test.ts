import { expect, test } from "bun:test";
import type { TunnelBackend } from "./backend.ts";
import { chooseBackend } from "./choice.ts";
import { restartPauseMs } from "./user-tunnel.ts";

const open = () => Promise.reject(new Error("not opened here"));
const kernel: TunnelBackend = { name: "kernel", provider: "kernel 6.1", linkType: "wireguard", open };
const user: TunnelBackend = { name: "user", provider: "wireguard-go 1", linkType: "external", open };
const none = undefined;

test("the kernel is preferred, a wish is followed", () => {
  expect(chooseBackend("auto", { kernel, user })).toEqual({
    backend: kernel,
    reason: "the kernel has WireGuard",
  });
  expect(chooseBackend("auto", { kernel: none, user })).toEqual({
    backend: user,
    reason: "the kernel has no WireGuard",
  });
  expect(chooseBackend("user", { kernel, user }).backend).toBe(user);
  expect(chooseBackend("kernel", { kernel, user }).backend).toBe(kernel);
});

test("what is not there is named with the packages that bring it", () => {
  expect(() => chooseBackend("auto", { kernel: none, user: none })).toThrow(
    "Cannot run a tunnel: this kernel has no WireGuard and there is no wireguard-go; " +
      "boot a kernel with WireGuard (Debian: linux-image-amd64) or install wireguard-go (Debian: wireguard-go)",
  );
  expect(() => chooseBackend("kernel", { kernel: none, user })).toThrow("--tunnel auto");
  expect(() => chooseBackend("user", { kernel, user: none })).toThrow("Debian: wireguard-go");
});

test("pauses between restarts double up to 30 s", () => {
  expect([1, 2, 3, 4, 7, 8, 60].map(restartPauseMs)).toEqual([250, 500, 1000, 2000, 16000, 30000, 30000]);
});
