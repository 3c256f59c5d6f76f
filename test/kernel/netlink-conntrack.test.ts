/** Connection tracking: conntrack(8) is the witness of what we list and flush. */
import { describe, expect, test } from "bun:test";
import { formatIp, type Ip, parseIp, parsePrefix } from "../../src/net/mod.ts";
import {
  Conntrack,
  type ConntrackEntry,
  type ConntrackFilter,
  FlowRemover,
  NetlinkError,
  Nftables,
  setLink,
} from "../../src/netlink/mod.ts";
import { openDescriptions } from "../../src/sys/mod.ts";
import { lacksTool, notRoot, Scratch } from "../support/scratch.ts";

function lacksConntrack(): string | undefined {
  if (notRoot !== undefined) return notRoot;
  using scratch = new Scratch();
  try {
    using conntrack = Conntrack.open({ netns: scratch.netns });
    conntrack.list();
    using nft = Nftables.open({ netns: scratch.netns });
    nft.run("table inet t { chain c { type filter hook output priority 0; ct state new accept; }; }");
    return undefined;
  } catch (error) {
    return error instanceof NetlinkError ? "this kernel has no ctnetlink" : (error as Error).message;
  }
}

const lacking = lacksConntrack() ?? lacksTool("conntrack") ?? lacksTool("ping");

/** A namespace in which some flows were seen: UDP to three ports (one translated), ping by IPv4 and IPv6. */
const scratchWithFlows = () => Scratch.prepared(makeFlows);

function makeFlows(scratch: Scratch): object {
  scratch.route.request(setLink({ name: "lo", up: true }));
  using nft = Nftables.open({ netns: scratch.netns });
  nft.run(`table inet t {
    chain track { type filter hook output priority -300; udp dport 9003 ct zone set 7; }
    chain translate { type nat hook output priority -100; udp dport 9002 dnat ip to 127.0.0.1:9102; }
    chain marking { type filter hook output priority 0; udp dport 9001 ct mark set 0x1234; ct state new accept; }
  }`);
  scratch.text("ping -c 1 127.0.0.1");
  scratch.text("ping -c 1 ::1");
  for (const [address, port] of [
    ["127.0.0.1", 9001],
    ["127.0.0.9", 9002],
    ["127.0.0.1", 9003],
  ] as const) {
    const done = Bun.spawnSync([
      "nsenter",
      `--net=${scratch.netns.path}`,
      "bash",
      "-c",
      `echo x > /dev/udp/${address}/${port}`,
    ]);
    expect(done.exitCode).toBe(0);
  }
  return {};
}

/** As conntrack(8) prints a flow, without what changes by itself. */
function text(entry: ConntrackEntry): string {
  const words: string[] = [];
  for (const tuple of [entry.original, entry.reply]) {
    words.push(`src=${formatIp(tuple.source)}`, `dst=${formatIp(tuple.destination)}`);
    if (tuple.sourcePort !== undefined)
      words.push(`sport=${tuple.sourcePort}`, `dport=${tuple.destinationPort}`);
    if (tuple.icmp !== undefined)
      words.push(`type=${tuple.icmp.type}`, `code=${tuple.icmp.code}`, `id=${tuple.icmp.id}`);
  }
  words.push(`mark=${entry.mark}`);
  if (entry.zone !== 0) words.push(`zone=${entry.zone}`);
  return words.join(" ");
}

function witnessed(scratch: Scratch): string[] {
  return ["ipv4", "ipv6"]
    .flatMap((family) => scratch.text(`conntrack -L -f ${family}`).trim().split("\n"))
    .filter((line) => line !== "")
    .map((line) => line.match(/(src|dst|sport|dport|type|code|id|mark|zone)=\S+/g)?.join(" ") ?? line)
    .sort();
}

describe.skipIf(lacking !== undefined)(`conntrack${lacking === undefined ? "" : ` (${lacking})`}`, () => {
  test("lists what conntrack(8) lists", () => {
    using scratch = scratchWithFlows();
    using conntrack = Conntrack.open({ netns: scratch.netns });
    const entries = conntrack.list();
    expect(entries.map(text).sort()).toEqual(witnessed(scratch));
    expect(entries).toHaveLength(5);
    const translated = entries.find((entry) => entry.original.destinationPort === 9002);
    expect(translated).toMatchObject({ destinationNat: true, sourceNat: false, protocol: 17 });
    expect(translated?.reply.sourcePort).toBe(9102);
  });

  test("filters choose, and flush forgets just those", () => {
    using scratch = scratchWithFlows();
    using conntrack = Conntrack.open({ netns: scratch.netns });
    const count = (filter: Parameters<Conntrack["list"]>[0]) => conntrack.list(filter).length;
    expect(count({ family: 6 })).toBe(1);
    expect(count({ family: 4, protocol: 17 })).toBe(3);
    expect(count({ protocol: 1 })).toBe(1);
    expect(count({ zone: 7 })).toBe(1);
    expect(count({ zone: 0 })).toBe(4);
    expect(count({ mark: { value: 0x1234 } })).toBe(1);
    expect(count({ mark: { value: 0x34, mask: 0xff } })).toBe(1);
    expect(count({ mark: { value: 0x35, mask: 0xff } })).toBe(0);
    expect(count({ destination: parsePrefix("127.0.0.9/32") })).toBe(1);
    expect(count({ source: parsePrefix("127.0.0.0/8") })).toBe(4);
    expect(count({ anyAddress: parsePrefix("::1/128") })).toBe(1);
    expect(count({ destinationPort: 9102 })).toBe(0);

    expect(conntrack.flush({ destinationPort: 9002 })).toBe(1);
    expect(conntrack.flush({ destinationPort: 9002 })).toBe(0);
    expect(conntrack.flush({ zone: 7 })).toBe(1);
    expect(conntrack.flush({ family: 6 })).toBe(1);
    expect(witnessed(scratch)).toHaveLength(2);
    expect(conntrack.flush({ mark: { value: 0x1234 } })).toBe(1);
    expect(conntrack.list().map((entry) => entry.protocol)).toEqual([1]);
    expect(conntrack.flush()).toBe(1);
    expect(conntrack.list()).toEqual([]);
    expect(witnessed(scratch)).toEqual([]);
  });

  test("filters choose in both directions, with ports only of their protocol, and in one family", () => {
    using scratch = scratchWithFlows();
    using conntrack = Conntrack.open({ netns: scratch.netns });
    const count = (filter: ConntrackFilter) => conntrack.list(filter).length;
    expect(conntrack.count()).toBe(5);
    const loopback = parsePrefix("127.0.0.1/32");
    expect(count({ replySource: loopback })).toBe(4);
    expect(count({ replySource: loopback, protocol: 17, destinationPort: 9002 })).toBe(1);
    expect(count({ replySource: parsePrefix("127.0.0.9/32") })).toBe(0);
    expect(count({ source: loopback, destination: parsePrefix("127.0.0.9/32") })).toBe(1);
    expect(count({ family: 4, protocol: 17, destinationPort: 9001 })).toBe(1);
    expect(count({ family: 4, protocol: 6, destinationPort: 9001 })).toBe(0);
    expect(count({ family: 6, protocol: 17, destinationPort: 9001 })).toBe(0);
    expect(count({ family: 6, source: loopback })).toBe(0);
    expect(count({ source: parsePrefix("::1/128"), protocol: 58 })).toBe(1);
    const toOwn = (entry: ConntrackEntry) => formatIp(entry.original.destination) === "127.0.0.1";
    expect(conntrack.flush({ family: 4, protocol: 17, zone: 0 }, toOwn)).toBe(1);
    expect(conntrack.count()).toBe(4);
  });

  const ports = (scratch: Scratch) =>
    witnessed(scratch)
      .flatMap((line) => /dport=(\d+)/.exec(line)?.[1] ?? [])
      .sort();

  test("forgets the flows of addresses step by step, begun or answered by them, and no others", () => {
    using scratch = scratchWithFlows();
    using conntrack = Conntrack.open({ netns: scratch.netns });
    const forget = (...addresses: string[]) => {
      for (const _step of conntrack.forgetInSteps(addresses.map(parseIp)));
      return ports(scratch);
    };
    // Nobody has these; their last bytes are those of ::1.
    expect(forget("2001:db8::1", "0.0.0.1")).toEqual(["9001", "9002", "9003"]);
    expect(conntrack.count()).toBe(5);
    expect(forget("::1")).toEqual(["9001", "9002", "9003"]);
    expect(conntrack.count()).toBe(4);
    expect(forget("127.0.0.9")).toEqual(["9001", "9002", "9003"]);
    expect(forget("127.0.0.1", "::1")).toEqual([]);
    expect(conntrack.count()).toBe(0);
  });

  for (const background of [true, false])
    test(`a remover forgets, ${background ? "by the kernel where it can" : "reading the table"}`, async () => {
      using scratch = scratchWithFlows();
      using conntrack = Conntrack.open({ netns: scratch.netns });
      using remover = FlowRemover.open({ netns: scratch.netns, background });
      const remove = (...addresses: string[]) => remover?.remove(addresses.map(parseIp));
      remove("::1");
      while (conntrack.count() > 4) await Bun.sleep(1);
      expect(witnessed(scratch).filter((line) => line.includes("::1"))).toEqual([]);
      remove("10.0.0.1", "::1");
      remove("127.0.0.1");
      while (conntrack.count() > 0) await Bun.sleep(1);
    });

  for (const background of [true, false])
    test(`what gets a new owner is settled, ${background ? "though it has begun" : "at once"}`, async () => {
      using scratch = scratchWithFlows();
      using conntrack = Conntrack.open({ netns: scratch.netns });
      using remover = FlowRemover.open({ netns: scratch.netns, background });
      const [four, six, other] = ["127.0.0.1", "::1", "10.0.0.1"].map(parseIp) as [Ip, Ip, Ip];
      remover?.remove([four, six]);
      remover?.settle([other]);
      expect(conntrack.count()).toBe(5);
      // The first turn comes after this one.
      if (background) await Bun.sleep(0);
      remover?.settle([other, six]);
      expect(conntrack.count()).toBe(0);
    });

  test("what waits in a remover is done when it is closed", () => {
    using scratch = scratchWithFlows();
    using conntrack = Conntrack.open({ netns: scratch.netns });
    {
      using remover = FlowRemover.open({ netns: scratch.netns });
      remover?.remove([parseIp("127.0.0.1")]);
    }
    expect(conntrack.count()).toBe(1);
  });

  test("no descriptor leaks", () => {
    const before = openDescriptions();
    {
      using scratch = new Scratch();
      using conntrack = Conntrack.open({ netns: scratch.netns });
      conntrack.flush();
      using _remover = FlowRemover.open({ netns: scratch.netns });
    }
    expect(openDescriptions()).toEqual(before);
  });
});
