/** Links of an edge: moved, and given back as they were, wherever an agent ended meanwhile. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { EdgeLinks } from "../../src/agent/edge-links.ts";
import { Rtnetlink, setLink } from "../../src/netlink/mod.ts";
import { exists, type Netns, readText, removeTree, writeAtomic } from "../../src/sys/mod.ts";
import { notRoot, Scratch } from "../support/scratch.ts";

/** What of the file is changed here. */
interface Stored {
  readonly links: {
    readonly routes: { readonly destination: string; readonly hops: [{ via: string }] }[];
    readonly settings: Record<string, string>;
  }[];
}

const SET_UP = `
link add br0 type bridge
link set br0 up
link add eth1 mtu 1600 type veth peer name far
link set far up
link set eth1 master br0 up
address add 192.168.11.3/24 dev eth1
address add fd00:11::3/64 dev eth1 nodad
link add eth2 type veth peer name far2
link set far2 up
link set eth2 up
address add 192.168.12.3/24 dev eth2
route add 203.0.113.0/24 via 192.168.11.2 dev eth1 proto static metric 77
route add 198.51.100.0/24 dev eth1 table 100 src 192.168.11.3
address add 192.168.13.1 peer 192.168.13.2/32 dev eth1
address add 169.254.7.7/16 brd 169.254.255.255 dev eth1 scope link
address add 192.168.14.3/24 dev eth1 noprefixroute
route add 192.168.14.0/24 dev eth1 proto kernel scope link src 192.168.14.3 metric 100
route add default via 172.31.1.1 dev eth1 onlink metric 20
route add 192.0.2.0/24 nexthop via 192.168.11.2 dev eth1 weight 2 nexthop via 192.168.12.2 dev eth2
-6 route add 2001:db8::/32 via fd00:11::2 dev eth1 metric 50
link set eth1 txqueuelen 500 address 02:00:00:00:11:03 alias rack-7
address add 192.168.15.3/24 dev eth1 metric 4000`;

/** What a link loses when it is moved. */
const SETTINGS = `
ipv4/conf/eth1/forwarding=1
ipv4/conf/eth1/proxy_arp=1
ipv4/conf/eth1/rp_filter=2
ipv4/neigh/eth1/base_reachable_time_ms=41000
ipv6/conf/eth1/accept_ra=2
ipv6/conf/eth1/stable_secret=2001:0db8:0000:0000:0000:0000:0000:0001
ipv6/conf/eth1/addr_gen_mode=3
ipv6/conf/eth1/use_tempaddr=2
ipv6/conf/eth2/disable_ipv6=1`
  .trim()
  .split("\n");

describe.skipIf(notRoot !== undefined)(
  `links of an edge${notRoot === undefined ? "" : ` (${notRoot})`}`,
  () => {
    let scratch: Scratch;
    let router: Netns;
    let inside: Rtnetlink;
    let path: string;
    beforeEach(() => {
      scratch = new Scratch();
      router = scratch.another();
      inside = Rtnetlink.open({ netns: router });
      path = `${scratch.folder}-links.json`;
      for (const line of SET_UP.trim().split("\n")) scratch.text(`ip ${line}`);
      for (const line of SETTINGS) scratch.text(`sysctl -qw net/${line}`);
    });
    afterEach(() => {
      inside.close();
      removeTree(path);
      scratch[Symbol.dispose]();
    });

    const agent = () => new EdgeLinks({ path, home: { netns: scratch.netns, route: scratch.route } });
    const there = () => ({ netns: router, route: inside });
    const take = (links: EdgeLinks) => links.take("eth1", "underlay", there());
    const setting = (path: string) => {
      try {
        return scratch.text(`cat /proc/sys/net/${path}`).trim();
      } catch {
        return "not set";
      }
    };
    const settings = () =>
      SETTINGS.map((line) => line.replace(/=.*/, "")).map((path) => `${path}=${setting(path)}`);
    /** As ip(8) shows it; link-local addresses are the kernel's. */
    const seen = () =>
      [
        "-o link show dev eth1",
        "-o -4 address show dev eth1",
        "-o -6 address show dev eth1 scope global",
        "-4 route show table all",
        "-6 route show",
      ]
        .map((what) => scratch.text(`ip ${what}`))
        .concat(settings().map((line) => `${line}\n`))
        .join("")
        .replaceAll(/^.*(fe80|multicast|broadcast|^local ).*\n/gm, "")
        .replaceAll(/valid_lft|preferred_lft|pref medium|\s+$/gm, "")
        // The kernel sees these in its own time.
        .replaceAll(/state \w+|NO-CARRIER,|,LOWER_UP| linkdown| tentative/g, "")
        .split("\n")
        .sort();

    test("a link goes and comes back with addresses, routes, bridge, MTU and settings", () => {
      expect(settings()).toEqual(SETTINGS);
      const before = seen();
      const links = agent();
      take(links);
      expect(scratch.route.link("eth1")).toBeUndefined();
      expect(inside.link("eth1")?.mtuBytes).toBe(1600);
      expect(links.addresses("eth1")).toHaveLength(5);
      take(links);
      expect(links.giveBack(["eth1"], there())).toEqual([]);
      expect(seen()).toEqual(before);
      expect(exists(path)).toBe(false);
    });

    test("an agent ends after it has written, before the move: what it wrote counts", () => {
      const before = seen();
      take(agent());
      // The kernel takes addresses and routes away with each move, as half of one would.
      moveBack();
      expect(seen()).not.toEqual(before);
      const next = agent();
      take(next);
      expect(next.giveBack(["eth1"], there())).toEqual([]);
      expect(seen()).toEqual(before);
    });

    test("an agent ends while it gives a link back: the next one goes on to the end", () => {
      const before = seen();
      take(agent());
      moveBack();
      scratch.text("ip address add 192.168.11.3/24 dev eth1");
      expect(agent().giveBack(["eth1"], undefined)).toEqual([]);
      expect(seen()).toEqual(before);
      expect(exists(path)).toBe(false);
    });

    test("routes over two links come back over both, in whichever order these went", () => {
      const before = seen();
      const links = agent();
      links.describe(["eth1", "eth2"], "underlay");
      for (const name of ["eth2", "eth1"]) links.take(name, "underlay", there());
      expect(links.giveBack(["eth1", "eth2"], there())).toEqual([]);
      expect(seen()).toEqual(before);
      expect(exists(path)).toBe(false);
    });

    test("a route that the kernel refuses keeps nothing else, and comes when it can", () => {
      const refused = "203.0.113.0/24 via 192.168.11.2 dev eth1 proto static metric 77 ";
      const before = seen();
      const links = agent();
      links.describe(["eth1", "eth2"], "underlay");
      for (const name of ["eth1", "eth2"]) links.take(name, "underlay", there());
      const stored = JSON.parse(readText(path) as string) as Stored;
      // As if the way to it had been another link's that is gone.
      const routes = stored.links[0]?.routes ?? [];
      for (const route of routes) if (route.destination === "203.0.113.0/24") route.hops[0].via = "10.9.9.9";
      writeAtomic(path, JSON.stringify(stored));
      const next = agent();
      expect(next.giveBack(["eth1", "eth2"], there())).toEqual([
        expect.stringContaining("link eth1 has lost a route to 203.0.113.0/24: "),
      ]);
      expect(seen()).toEqual(before.filter((line) => line !== refused.trim()));
      expect(next.moved("underlay")).toEqual(["eth1"]);
      expect(next.addresses("eth1")).toEqual([]);
      // Moved once more meanwhile, it has not forgotten the one.
      take(next);
      const third = agent();
      expect(third.giveBack(["eth1"], there())).toHaveLength(1);
      scratch.text("ip route add 10.9.9.9/32 dev eth1");
      expect(third.giveBack(["eth1"], undefined)).toEqual([]);
      expect(scratch.text("ip route show 203.0.113.0/24")).toContain("via 10.9.9.9 dev eth1 proto static");
      expect(exists(path)).toBe(false);
    });

    test("settings that were the default ones come back where others are by now", () => {
      const names = ["ipv4/conf/eth1/accept_local", "ipv6/conf/eth1/hop_limit"];
      const before = names.map(setting);
      const links = agent();
      take(links);
      scratch.text("sysctl -qw net/ipv4/conf/default/accept_local=1 net/ipv6/conf/default/hop_limit=33");
      expect(links.giveBack(["eth1"], there())).toEqual([]);
      expect(names.map(setting)).toEqual(before);
    });

    test("a setting that the kernel refuses is told, and keeps neither anything else nor the record", () => {
      const before = seen();
      take(agent());
      const stored = JSON.parse(readText(path) as string) as Stored;
      for (const { settings } of stored.links) settings["/proc/sys/net/ipv4/conf/eth1/rp_filter"] = "none";
      writeAtomic(path, JSON.stringify(stored));
      expect(agent().giveBack(["eth1"], there())).toEqual([
        expect.stringMatching(
          /^link eth1 has lost a setting: \/proc\/sys\/net\/ipv4\/conf\/eth1\/rp_filter: .*EINVAL/,
        ),
      ]);
      expect(exists(path)).toBe(false);
      const without = (lines: readonly string[]) => lines.filter((line) => !line.includes("eth1/rp_filter"));
      expect(without(seen())).toEqual(without(before));
    });

    test("what was written before a move that failed is forgotten", () => {
      // The kernel leaves bridges where they are.
      expect(() => agent().take("br0", "underlay", there())).toThrow();
      expect(exists(path)).toBe(false);
      const links = agent();
      take(links);
      expect(() => links.take("br0", "underlay", there())).toThrow();
      expect(agent().moved("underlay")).toEqual(["eth1"]);
    });

    test("what was written before a reboot counts no more, and goes", () => {
      take(agent());
      const stored = JSON.parse(readText(path) as string) as { boot: string };
      writeAtomic(path, JSON.stringify({ ...stored, boot: "another" }));
      expect(agent().moved("underlay")).toEqual([]);
      expect(exists(path)).toBe(false);
    });

    test("a file that is none is named", () => {
      writeAtomic(path, "{");
      expect(agent).toThrow(`${path} is no JSON; put it right, or remove it`);
    });

    test("a link that is not there is named", () => {
      expect(() => agent().take("eth9", "underlay", there())).toThrow(
        "there is no link eth9 on this node; plug it in, or change links of the Underlay",
      );
    });

    function moveBack(): void {
      inside.request(setLink({ name: "eth1", netns: scratch.netns }));
    }
  },
);
