/** Elements of sets, sent straight to the kernel: nft(8) lists what we put there, of every type that we lay out ourselves. */
import { describe, expect, test } from "bun:test";
import { NetlinkError, Nftables, type NftablesElement, NftablesElements } from "../../src/netlink/mod.ts";
import { type Json, lacksTool, notRoot, Scratch } from "../support/scratch.ts";

const lacking = notRoot ?? lacksTool("nft");

const table = `table bridge t {
  set pod_mac { typeof iifname . ether saddr; }
  set pod_ip4 { typeof iifname . ip saddr; }
  set pod_ip6 { typeof iifname . ip6 saddr; }
  set target { typeof iifname . @th,64,128; }
  set hosts { type ipv4_addr; }
  set ranges { type ipv4_addr; flags interval; }
  chain other {
  }
  map verdicts { type ipv4_addr : verdict; }
}
table ip t {
  map ports { type inet_proto . inet_service : ipv4_addr . inet_service; }
  map ports_at { type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service; }
}
table ip6 t {
  map ports { type inet_proto . inet_service : ipv6_addr . inet_service; }
}`;

const bridge = (set: string, key: string[], value?: string): NftablesElement => ({
  family: "bridge",
  table: "t",
  set,
  key,
  ...(value !== undefined && { value }),
});

describe.skipIf(lacking !== undefined)(
  `nftables elements${lacking === undefined ? "" : ` (${lacking})`}`,
  () => {
    function opened(): {
      scratch: Scratch;
      elements: NftablesElements;
      listed(set: string): Json[];
      [Symbol.dispose](): void;
    } {
      const scratch = new Scratch();
      {
        using nft = Nftables.open({ netns: scratch.netns });
        nft.run(table);
      }
      const elements = NftablesElements.open({ netns: scratch.netns });
      return {
        scratch,
        elements,
        listed: (set) =>
          scratch
            .json(`nft -j list ${set}`)
            .nftables.flatMap((entry: Json) => (entry.set ?? entry.map)?.elem ?? []),
        [Symbol.dispose]() {
          elements.close();
          scratch[Symbol.dispose]();
        },
      };
    }

    test("each type is what nft reads of it, and goes again", () => {
      using at = opened();
      const all: [string, NftablesElement, Json][] = [
        [
          "set bridge t pod_mac",
          bridge("pod_mac", ["cw1", "0a:58:0a:f4:00:02"]),
          { concat: ["cw1", "0a:58:0a:f4:00:02"] },
        ],
        ["set bridge t pod_ip4", bridge("pod_ip4", ["cw1", "10.244.0.2"]), { concat: ["cw1", "10.244.0.2"] }],
        ["set bridge t pod_ip6", bridge("pod_ip6", ["cw1", "fd00::2"]), { concat: ["cw1", "fd00::2"] }],
        ["set bridge t hosts", bridge("hosts", ["10.0.0.1"]), "10.0.0.1"],
        ["map bridge t verdicts", bridge("verdicts", ["10.0.0.1"], "drop"), ["10.0.0.1", { drop: null }]],
        [
          "map bridge t verdicts",
          bridge("verdicts", ["10.0.0.2"], "jump other"),
          ["10.0.0.2", { jump: { target: "other" } }],
        ],
        [
          "map ip t ports",
          { ...bridge("ports", ["tcp", "8080"], "10.244.0.2 . 80"), family: "ip" },
          [{ concat: ["tcp", 8080] }, { concat: ["10.244.0.2", 80] }],
        ],
        [
          "map ip t ports_at",
          { ...bridge("ports_at", ["192.0.2.1", "udp", "53"], "10.244.0.2 . 5353"), family: "ip" },
          [{ concat: ["192.0.2.1", "udp", 53] }, { concat: ["10.244.0.2", 5353] }],
        ],
        [
          "map ip6 t ports",
          { ...bridge("ports", ["sctp", "9"], "fd00::2 . 9"), family: "ip6" },
          [{ concat: ["sctp", 9] }, { concat: ["fd00::2", 9] }],
        ],
      ];
      expect(
        at.elements.change(
          [],
          all.map(([, element]) => element),
        ),
      ).toBe(true);
      for (const [set, , listed] of all) expect(at.listed(set)).toContainEqual(listed);
      // JSON has no room for 128 bits: the same element, added by nft, changes nothing.
      const target = bridge("target", ["cw1", "0xfd000000000000000000000000000002"]);
      expect(at.elements.change([], [target])).toBe(true);
      at.scratch.text("nft delete element bridge t target { cw1 . 0xfd000000000000000000000000000002 }");
      expect(
        at.elements.change(
          all.map(([, element]) => element),
          [],
        ),
      ).toBe(true);
      for (const [set] of all) expect(at.listed(set)).toEqual([]);
    });

    test("all or nothing, with the kernel's reason", () => {
      using at = opened();
      const there = bridge("hosts", ["10.0.0.1"]);
      at.elements.change([], [there]);
      const refused = (work: () => void) => {
        try {
          work();
        } catch (error) {
          return error instanceof NetlinkError ? error.code : error;
        }
        return "done";
      };
      expect(
        refused(() => at.elements.change([bridge("hosts", ["10.0.0.9"])], [bridge("hosts", ["10.0.0.2"])])),
      ).toBe("ENOENT");
      expect(
        refused(() => at.elements.change([there], [bridge("verdicts", ["10.0.0.1"], "jump nowhere")])),
      ).toBe("ENOENT");
      expect(refused(() => at.elements.change([], [bridge("nothing", ["10.0.0.1"])]))).toBe("ENOENT");
      expect(at.listed("set bridge t hosts")).toEqual(["10.0.0.1"]);
      // The socket is in step after refusals; adding what is there is no error.
      expect(at.elements.change([], [there, bridge("hosts", ["10.0.0.3"])])).toBe(true);
      expect(at.listed("set bridge t hosts").sort()).toEqual(["10.0.0.1", "10.0.0.3"]);
    });

    test("ranges are left to nft, and nothing is done", () => {
      using at = opened();
      expect(at.elements.change([], [bridge("hosts", ["10.0.0.1"]), bridge("ranges", ["10.0.0.0/24"])])).toBe(
        false,
      );
      expect(at.elements.change([], [bridge("ranges", ["10.0.0.1"])])).toBe(false);
      expect(at.listed("set bridge t hosts")).toEqual([]);
    });

    test("thousands in one transaction, and a table that is replaced by another form", () => {
      using at = opened();
      const many = Array.from({ length: 5000 }, (_, i) =>
        bridge("pod_ip4", [`cw${i}`, `10.${i >> 8}.${i & 255}.1`]),
      );
      expect(at.elements.change([], many)).toBe(true);
      expect(at.listed("set bridge t pod_ip4").length).toBe(5000);
      using nft = Nftables.open({ netns: at.scratch.netns });
      nft.run("delete table bridge t\nadd table bridge t\nadd set bridge t pod_ip4 { type ipv4_addr; }");
      at.elements.forget();
      expect(at.elements.change([], [bridge("pod_ip4", ["10.0.0.1"])])).toBe(true);
      expect(at.listed("set bridge t pod_ip4")).toEqual(["10.0.0.1"]);
    });
  },
);
