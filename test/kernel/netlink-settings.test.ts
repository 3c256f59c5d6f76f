/** News of the kernel's settings of forwarding, of one interface and of all. */
import { describe, expect, test } from "bun:test";
import { SettingsMonitor } from "../../src/netlink/mod.ts";
import { writeKernelFile } from "../../src/sys/mod.ts";
import { notRoot, Scratch } from "../support/scratch.ts";

describe.skipIf(notRoot !== undefined)(
  `settings${notRoot === undefined ? "" : ` (skipped: ${notRoot})`}`,
  () => {
    test.each(["ipv4/conf/x0/forwarding", "ipv4/ip_forward", "ipv6/conf/all/forwarding"])(
      "%s is told",
      (leaf) => {
        using scratch = new Scratch();
        scratch.text("ip link add x0 type veth peer name x1");
        const write = (value: string) =>
          scratch.netns.run(() => writeKernelFile(`/proc/sys/net/${leaf}`, value));
        write("0");
        let changes = 0;
        using monitor = SettingsMonitor.open({ netns: scratch.netns, onChange: () => changes++ });
        monitor.drain();
        expect(changes).toBe(0);
        write("1");
        monitor.drain();
        expect(changes).toBeGreaterThan(0);
      },
    );
  },
);
