/** Links of an edge: moved, and given back as they were, wherever an agent ended meanwhile. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { EdgeLinks } from "../../src/agent/edge-links.ts";
import { Rtnetlink, setLink } from "../../src/netlink/mod.ts";
import { exists, type Netns, readText, removeTree, writeAtomic } from "../../src/sys/mod.ts";
import { notRoot, Scratch } from "../support/scratch.ts";

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
route add 192.0.2.0/24 nexthop via 192.168.11.2 dev eth1 weight 2 nexthop via 192.168.12.2 dev eth2
-6 route add 2001:db8::/32 via fd00:11::2 dev eth1 metric 50`;

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
    });
    afterEach(() => {
      inside.close();
      removeTree(path);
      scratch[Symbol.dispose]();
    });

    const agent = () => new EdgeLinks({ path, home: { netns: scratch.netns, route: scratch.route } });
    const there = () => ({ netns: router, route: inside });
    const take = (links: EdgeLinks) => links.take("eth1", "underlay", there());
    /** As ip(8) shows it; link-local addresses are the kernel's. */
    const seen = () =>
      [
        "-o link show dev eth1",
        "-o address show dev eth1 scope global",
        "-4 route show table all",
        "-6 route show",
      ]
        .map((what) => scratch.text(`ip ${what}`))
        .join("")
        .replaceAll(/^.*(fe80|multicast|broadcast|^local ).*\n/gm, "")
        .replaceAll(/valid_lft|preferred_lft|state \w+|qlen \d+|pref medium|\s+$/gm, "")
        .split("\n")
        .sort();

    test("a link goes and comes back with addresses, routes, bridge and MTU", () => {
      const before = seen();
      const links = agent();
      take(links);
      expect(scratch.route.link("eth1")).toBeUndefined();
      expect(inside.link("eth1")?.mtuBytes).toBe(1600);
      expect(links.addresses("eth1")).toHaveLength(2);
      take(links);
      links.giveBack("eth1", there());
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
      next.giveBack("eth1", there());
      expect(seen()).toEqual(before);
    });

    test("an agent ends while it gives a link back: the next one goes on to the end", () => {
      const before = seen();
      take(agent());
      moveBack();
      scratch.text("ip address add 192.168.11.3/24 dev eth1");
      agent().giveBack("eth1", undefined);
      expect(seen()).toEqual(before);
      expect(exists(path)).toBe(false);
    });

    test("what was written before a reboot counts no more", () => {
      take(agent());
      const stored = JSON.parse(readText(path) as string) as { boot: string };
      writeAtomic(path, JSON.stringify({ ...stored, boot: "another" }));
      expect(agent().moved("underlay")).toEqual([]);
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
