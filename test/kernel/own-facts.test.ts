/** What a node finds out of its own links, beside those of the kernel. */
import { describe, expect, test } from "bun:test";
import { runSync } from "../../src/sys/mod.ts";
import { notRoot, Scratch } from "../support/scratch.ts";

const SCRIPT = `
import { readOwnFacts } from "${import.meta.dir}/../../src/agent/own-facts.ts";
const mesh = { listenPort: 51820, mtuBytes: 1400 };
console.log(JSON.stringify(readOwnFacts(mesh, { without: [], outward: undefined }).advertisedLinks));
`;

describe.skipIf(notRoot !== undefined)(
  `own facts${notRoot === undefined ? "" : ` (skipped: ${notRoot})`}`,
  () => {
    test("a link that heard router advertisements goes on to, also when the router was away for longer than its routes live", () => {
      using scratch = new Scratch();
      const advertised = (): string[] => {
        const { stdout, stderr } = runSync([process.execPath, "-e", SCRIPT], { netns: scratch.netns });
        if (stdout === "") throw new Error(stderr);
        return JSON.parse(stdout);
      };
      for (const name of ["up0", "up1", "cw9"]) {
        scratch.text(`ip link add ${name} type bridge`);
        scratch.text(`ip link set ${name} up`);
      }
      expect(advertised()).toEqual([]);
      scratch.text("ip -6 route add default via fe80::1 dev up0 proto ra");
      expect(advertised()).toEqual(["up0"]);
      // As the agent sets it, for all links that it finds so.
      scratch.text("sysctl -qw net.ipv6.conf.up0.accept_ra=2 net.ipv6.conf.cw9.accept_ra=2");
      scratch.text("ip -6 route del default proto ra");
      expect(advertised()).toEqual(["up0"]);
    });
  },
);
