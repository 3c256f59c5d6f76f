/** The doctor beside Debian's firewalld: what it refuses is found, and let through by a zone that stays through reloads and goes again. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { existsSync } from "node:fs";
import type { Check } from "../../src/doctor/mod.ts";
import { fetchPackages, SuiteError } from "../../tools/debian-suite.ts";
import { executable, labLacks } from "../support/lab-needs.ts";
import { WIRE } from "../support/private-host.ts";
import { PrivateNode } from "../support/private-node.ts";

/** Guard against hanging only. */
setDefaultTimeout(180_000);
const PYTHON = "/usr/bin/python3";
const PACKAGES = [
  ..."firewalld python3-firewall python3-dbus python3-gi python3-nftables dbus-daemon dbus-bin".split(" "),
  ..."gir1.2-glib-2.0 libgirepository-1.0-1 libdbus-1-3 libapparmor1".split(" "),
];

/** The unpacked packages, or the reason why there are none. */
function firewalld(): { readonly tree?: string; readonly lacks?: string } {
  const lacks = labLacks ?? (existsSync(PYTHON) ? undefined : `needs ${PYTHON}`);
  if (lacks !== undefined) return { lacks };
  try {
    return { tree: fetchPackages("bookworm", PACKAGES) };
  } catch (error) {
    if (error instanceof SuiteError) return { lacks: error.message };
    throw error;
  }
}

/** Where programs are called for: all may do all, since nobody else is there. */
const BUS = `<busconfig>
  <listen>unix:path=/run/dbus/system_bus_socket</listen><auth>EXTERNAL</auth>
  <policy context="default"><allow user="*"/><allow own="*"/><allow send_destination="*"/><allow receive_sender="*"/></policy>
</busconfig>`;

const { tree, lacks } = firewalld();

describe.skipIf(tree === undefined)(
  `the doctor beside firewalld${lacks === undefined ? "" : ` (skipped: ${lacks})`}`,
  () => {
    let node: PrivateNode;

    beforeAll(async () => {
      node = await PrivateNode.create([tree as string]);
      const { host } = node;
      // It looks for its own parts below /usr and /etc.
      await host.must(`mount -t overlay -o lowerdir=${tree}/usr:/usr overlay /usr
        cp -r ${tree}/etc/firewalld /etc/; mkdir -p /run/dbus; echo '${BUS}' > /run/dbus/bus.conf`);
      await host.start("dbus", [
        "dbus-daemon",
        "--nofork",
        "--nopidfile",
        "--config-file=/run/dbus/bus.conf",
      ]);
      await host.waitFor("dbus", () =>
        existsSync(host.path("/run/dbus/system_bus_socket")) ? undefined : "no socket yet",
      );
      await host.start("firewalld", ["firewalld", "--nofork", "--nopid"]);
      await host.waitFor("firewalld", async () => {
        const { status, stdout, stderr } = await host.run(["firewall-cmd", "--state"]);
        return status === 0 ? undefined : `${stdout}${stderr}`;
      });
    });
    afterAll(async () => await node?.[Symbol.asyncDispose]());

    const ids = ["firewall-input", "firewall-forward", "firewall-kept"];
    async function wrong(...words: string[]): Promise<string[]> {
      const { stdout, stderr } = await node.host.run([executable, "doctor", "--json", ...words]);
      const { checks } = JSON.parse(stdout || stderr) as { readonly checks: readonly Check[] };
      return checks.filter(({ ok }) => !ok).map(({ id }) => id);
    }
    const zones = async () => (await node.host.must("firewall-cmd --get-zones")).trim().split(" ");
    /** A pod asks for an answer of the world. */
    const reaches = async () =>
      (await node.host.run(["ip", "netns", "exec", "pod", "ping", "-c1", "-W2", WIRE.world4])).status === 0;

    test("what it refuses is let through by a zone, which stays through reloads, and goes", async () => {
      await node.host.must("ip netns add pod");
      expect((await node.call("ADD", "pod", "/run/netns/pod")).status).toBe(0);
      expect([await wrong(...ids), await reaches()]).toEqual([["firewall-input", "firewall-forward"], false]);
      const usual = await zones();
      expect([await wrong(...ids, "--fix"), await reaches()]).toEqual([[], true]);
      expect(await zones()).toEqual([...usual, "causeway"].sort());
      await node.host.must("firewall-cmd --reload");
      expect([await wrong(...ids), await reaches()]).toEqual([[], true]);
      expect((await node.host.run([executable, "doctor", "--undo"])).status).toBe(0);
      expect([await zones(), await reaches()]).toEqual([usual, false]);
    });
  },
);
