/** WireGuard in the kernel. The engine makes the link (type `wireguard`); here is only the door to its keys and peers. */
import { KernelWireguard } from "../netlink/mod.ts";
import { readText } from "../sys/mod.ts";
import type { TunnelBackend, TunnelOptions, TunnelState } from "./backend.ts";
import { RelayProcess } from "./kernel-relay/supervision.ts";
import { makeRoom } from "./predecessor.ts";
import { openProbePort } from "./probe-port.ts";
import { RawProbes } from "./probe-raw.ts";

/** kernelBackend returns the back-end of the running kernel; ask kernelHasWireguard before. */
export function kernelBackend(): TunnelBackend {
  const provider = `kernel ${readText("/proc/sys/kernel/osrelease")?.trim() ?? ""}`.trim();
  return {
    name: "kernel",
    provider,
    linkType: "wireguard",
    open: async (link, options: TunnelOptions = {}) => {
      await makeRoom(link, { netns: options.netns, linkType: "wireguard" });
      const device = KernelWireguard.open(link, options.netns === undefined ? {} : { netns: options.netns });
      const { netns, logPath, onChange } = options;
      const relay =
        options.relays === true ? await RelayProcess.open({ link, netns, logPath, onChange }) : undefined;
      const close = () => {
        relay?.close();
        device.close();
      };
      const running: TunnelState = { kind: "running" };
      return {
        link,
        linkType: "wireguard",
        provider,
        device,
        relay,
        get state() {
          return relay?.state ?? running;
        },
        probes: (probing) =>
          openProbePort({ ...probing, netns: options.netns }, (place) => new RawProbes(place)),
        close,
        destroy: async () => {
          await relay?.destroy();
          close();
        },
        [Symbol.dispose]: close,
      };
    },
  };
}
