/** SettingsMonitor: news of how the kernel treats packets of IP, such as whether it forwards them (RTM_NEWNETCONF). */
import { NETLINK, type Netns } from "../sys/mod.ts";
import { Listener } from "./listener.ts";

/** RTNLGRP_IPV4_NETCONF and RTNLGRP_IPV6_NETCONF of include/uapi/linux/rtnetlink.h. */
const GROUPS = [24, 25] as const;

/** SettingsMonitorOptions say where. */
export interface SettingsMonitorOptions {
  readonly netns?: Netns;
  /** A setting of an interface, or of all, may be another: read those that count. The kernel tells of forwarding, not of every setting. */
  readonly onChange: () => void;
}

/** SettingsMonitor is one listening socket. It keeps its process alive until it is closed. */
export class SettingsMonitor implements Disposable {
  readonly #listener: Listener;

  private constructor({ netns, onChange }: SettingsMonitorOptions) {
    this.#listener = Listener.open({
      protocol: NETLINK.route,
      groups: GROUPS,
      netns,
      onDatagram: onChange,
      onOverrun: onChange,
    });
  }

  static open(options: SettingsMonitorOptions): SettingsMonitor {
    return new SettingsMonitor(options);
  }

  /** drain tells of what has changed until now before it returns. */
  drain(): void {
    this.#listener.drain();
  }

  close(): void {
    this.#listener.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
