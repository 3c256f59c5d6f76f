/** BGP sessions on the kernel's sockets: two speakers of ours in namespaces; ss(8) and ip(8) are the witnesses. */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { parseIp, parsePrefix } from "../../src/net/mod.ts";
import { md5Problem, openDescriptions } from "../../src/sys/mod.ts";
import { type Outbox, record, replay } from "../../src/bgp/io/mod.ts";
import { bgpError, CEASE, encodeMessage, ERROR, MESSAGE, shutdownData } from "../../src/bgp/wire/mod.ts";
import { bgpEnds, neighbor, session, Speaker, until } from "../support/bgp-ends.ts";
import { notRoot, type Scratch } from "../support/scratch.ts";

setDefaultTimeout(120_000);
const key = (text: string) => new TextEncoder().encode(text);
/** Long enough for several attempts of either side. */
const QUIET_MS = 3_000;
const impatient = { connectRetryMs: 500, idleHoldMs: 200, idleHoldMostMs: 500 };

describe.skipIf(notRoot !== undefined)(
  `sessions over the kernel's TCP${notRoot === undefined ? "" : ` (${notRoot})`}`,
  () => {
    test("two speakers find each other, whoever connects; a stop says why; a start brings it back", async () => {
      using ends = bgpEnds();
      using first = new Speaker({ netns: ends.first });
      using second = new Speaker({ netns: ends.second });
      first.io.add(neighbor(2, { options: impatient }));
      second.io.add(neighbor(1, { options: impatient }));
      const here = await first.up("n2");
      const there = await second.up("n1");
      expect(here.negotiated).toMatchObject({
        localAs: 65001,
        remoteAs: 65002,
        external: true,
        as4: true,
        holdMs: 90_000,
      });
      expect(there.negotiated?.remoteId).toEqual(parseIp("10.255.0.1"));
      // One connection is left of two, from or to port 179, with eBGP's TTL of 1 and CS6.
      await until("one connection is left", () => connections(ends).length === 1);
      expect(connections(ends)[0]).toMatch(/192\.0\.2\.1:(179\s+192\.0\.2\.2:\d+|\d+\s+192\.0\.2\.2:179)/);

      const why = "maintenance ü";
      here.stop({
        error: bgpError(ERROR.cease, CEASE.administrativeShutdown, { text: why, data: shutdownData(why) }),
      });
      expect(first.downs[0]?.down).toMatchObject({ graceful: false, ended: { by: "sent" } });
      await until("the other side knows", () => second.downs.length === 1);
      expect(second.downs[0]?.down.ended).toMatchObject({
        by: "received",
        text: `cease: administrative shutdown: ${why}`,
      });
      here.start();
      await first.up("n2");
      await second.up("n1");
    });

    test("a peer that vanishes is a lost connection; the wrong AS is refused, and both say so", async () => {
      using ends = bgpEnds();
      using first = new Speaker({ netns: ends.first });
      first.io.add(neighbor(2, { options: impatient }));
      {
        using second = new Speaker({ netns: ends.second });
        second.io.add(neighbor(1, { options: impatient }));
        await first.up("n2");
      }
      await until("the end is seen", () => first.downs.length === 1);
      expect(first.downs[0]?.down.ended.by).toBe("lost");
      using again = new Speaker({ netns: ends.second });
      again.io.add(neighbor(1, { options: impatient, session: session(2, { remoteAs: 65009 }) }));
      const last = (speaker: Speaker, name: string) => speaker.io.session(name)?.lastEnded?.ended;
      await until("it is refused", () => last(again, "n1")?.error?.subcode === 2);
      expect(last(again, "n1")).toMatchObject({
        by: "sent",
        text: "the peer is AS 65001, and not AS 65009",
      });
      await until("it is told", () => last(first, "n2")?.by === "received");
      expect(last(first, "n2")?.text).toBe("OPEN message error: bad peer AS");
    });

    test("another namespace than the process's, a source address of ours, several hops", async () => {
      using ends = bgpEnds();
      const middle = ends.another();
      // The second is behind a router: first (192.0.2.1) - second as router - middle (198.51.100.2).
      ends.text("ip link add r1 type veth peer name r2", ends.second);
      ends.text(`ip link set r2 netns ${middle.path}`, ends.second);
      ends.text("ip link set r1 up", ends.second);
      ends.text("ip address add 198.51.100.1/24 dev r1", ends.second);
      ends.text("ip link set lo up", middle);
      ends.text("ip link set r2 up", middle);
      ends.text("ip address add 198.51.100.2/24 dev r2", middle);
      ends.text("ip route add default via 198.51.100.1", middle);
      ends.text("ip address add 203.0.113.1/32 dev lo", ends.first);
      ends.text("ip route add 198.51.100.0/24 via 192.0.2.2", ends.first);
      ends.text("ip route add 203.0.113.1/32 via 192.0.2.1", ends.second);
      ends.text("sysctl -q -w net.ipv4.ip_forward=1", ends.second);
      using first = new Speaker({ netns: ends.first });
      using far = new Speaker({ netns: middle });
      const to = (hops: number) => ({
        reach: { kind: "multihop", hops } as const,
        options: impatient,
      });
      const away = neighbor(2, {
        remote: { kind: "address", address: parseIp("198.51.100.2") },
        source: parseIp("203.0.113.1"),
      });
      // One hop too few: it never comes up.
      first.io.add({ ...away, ...to(1) });
      far.io.add(
        neighbor(1, {
          remote: { kind: "address", address: parseIp("203.0.113.1") },
          ...to(2),
          options: { ...impatient, passive: true },
        }),
      );
      await Bun.sleep(QUIET_MS);
      expect(first.state("n2")).not.toBe("established");
      first.io.remove("n2");
      first.io.add({ ...away, ...to(2) });
      const here = await first.up("n2");
      await far.up("n1");
      expect(here.connection?.stream?.local.address).toEqual(new Uint8Array([203, 0, 113, 1]) as never);
      // Nothing of it is in the process's own namespace.
      expect(Bun.spawnSync(["ss", "-Htn", "sport = :179 or dport = :179"]).stdout.toString()).toBe("");
    });

    test("TTL security refuses who is a hop away, and lets in who is on the link", async () => {
      using ends = bgpEnds();
      const middle = ends.another();
      ends.text("ip link add r1 type veth peer name r2", ends.second);
      ends.text(`ip link set r2 netns ${middle.path}`, ends.second);
      ends.text("ip link set r1 up", ends.second);
      ends.text("ip address add 198.51.100.1/24 dev r1", ends.second);
      ends.text("ip link set lo up", middle);
      ends.text("ip link set r2 up", middle);
      ends.text("ip address add 198.51.100.2/24 dev r2", middle);
      ends.text("ip route add default via 198.51.100.1", middle);
      ends.text("ip route add 198.51.100.0/24 via 192.0.2.2", ends.first);
      ends.text("sysctl -q -w net.ipv4.ip_forward=1", ends.second);
      using first = new Speaker({ netns: ends.first });
      using far = new Speaker({ netns: middle });
      const secure = (hops: number) => ({ reach: { kind: "gtsm", hops } as const });
      const remote = { kind: "address", address: parseIp("198.51.100.2") } as const;
      first.io.add(
        neighbor(2, { name: "far", remote, ...secure(1), options: { ...impatient, passive: true } }),
      );
      // It would be content with anything, and sends with the highest TTL that there is.
      far.io.add(neighbor(1, { reach: { kind: "multihop", hops: 255 }, options: impatient }));
      await Bun.sleep(QUIET_MS);
      expect([first.state("far"), far.state("n1")]).not.toContain("established");
      // Its first packet tells: the connection was never taken.
      expect(first.state("far")).toBe("active");
      first.io.remove("far");
      first.io.add(
        neighbor(2, { name: "far", remote, ...secure(2), options: { ...impatient, passive: true } }),
      );
      far.io.remove("n1");
      far.io.add(neighbor(1, { ...secure(2), options: impatient }));
      await first.up("far");

      using near = new Speaker({ netns: ends.second });
      first.io.add(neighbor(2, { ...secure(1), options: impatient }));
      near.io.add(neighbor(1, { ...secure(1), options: impatient }));
      await first.up("n2");
      await near.up("n1");
    });

    test("dynamic neighbours come from a prefix, up to a limit, and go with their connection", async () => {
      using ends = bgpEnds();
      ends.text("ip address add 192.0.2.3/24 dev e2", ends.second);
      ends.text("ip address add 192.0.2.130/24 dev e2", ends.second);
      using first = new Speaker({ netns: ends.first });
      first.io.addDynamic({
        name: "hosts",
        prefix: parsePrefix("192.0.2.0/25"),
        limit: 1,
        session: session(1),
      });
      const from = (source: string, name: string) =>
        neighbor(1, { name, source: parseIp(source), options: impatient });
      using second = new Speaker({ netns: ends.second, listen: [] });
      second.io.add(from("192.0.2.2", "a"));
      await first.up("192.0.2.2");
      // One more than the limit, and one from elsewhere.
      second.io.add(from("192.0.2.3", "b"));
      second.io.add(from("192.0.2.130", "c"));
      await Bun.sleep(QUIET_MS);
      expect(["a", "b", "c"].map((name) => second.state(name) === "established")).toEqual([
        true,
        false,
        false,
      ]);
      expect(first.io.sessions.map(({ name }) => name)).toEqual(["192.0.2.2"]);
      second.io.remove("a");
      await until("it is gone", () => first.removed.length === 1);
      expect(first.downs[0]?.down.ended.text).toBe("cease: peer de-configured");
      await first.up("192.0.2.3");
      first.io.removeDynamic("hosts");
      await until("all are gone", () => first.io.sessions.length === 0);
    });

    test("a recording, run again, goes where the session went, and has no key in it", async () => {
      using ends = bgpEnds();
      const lines: string[] = [];
      using first = new Speaker({
        netns: ends.first,
        tap: (own) => record(own, { write: (line) => void lines.push(line) }),
      });
      using second = new Speaker({ netns: ends.second });
      const secret = { password: key("very secret"), options: impatient };
      const here = first.io.add(neighbor(2, secret));
      second.io.add(neighbor(1, secret));
      second.outboxes.set("n1", once(encodeMessage(MESSAGE.update, new Uint8Array(4))));
      await first.up("n2");
      await until("an UPDATE has come", () => first.updates.length > 0);
      here.stop({ error: bgpError(ERROR.cease, CEASE.administrativeReset, { text: "enough" }) });
      const again = replay(lines.join("\n"));
      expect(again.filter((line) => /established on|UPDATE|down:/.test(line))).toEqual([
        expect.stringMatching(/^ {2}established on \d: AS 65002, 10\.255\.0\.2, hold 90 s; ipv4-unicast$/),
        expect.stringMatching(/^\d+\.\d{3} UPDATE on \d$/),
        "  down: in Established, sent: enough",
      ]);
      expect(again).toContain("  23 bytes");
      expect(again.at(-1)).toBe("  = Idle");
      expect(lines.join("\n")).not.toContain("secret");
    });

    test("a port that is taken is named", () => {
      using ends = bgpEnds();
      using _ = new Speaker({ netns: ends.first });
      expect(() => new Speaker({ netns: ends.first })).toThrow(
        /^Cannot listen for BGP on every IPv4 address, port 179: .*EADDRINUSE.*; stop the other BGP speaker/,
      );
    });

    test("no descriptor is left", async () => {
      await Bun.sleep(100);
      expect(openDescriptions().filter((what) => /tcp|ICMPv6|watched/.test(what))).toEqual([]);
    });
  },
);

const noMd5 = notRoot ?? md5Problem();
describe.skipIf(noMd5 !== undefined)(`TCP MD5${noMd5 === undefined ? "" : ` (${noMd5})`}`, () => {
  /** Who connects, who has which key; whether a session comes up. */
  async function meets(
    keys: readonly [string | undefined, string | undefined],
    passive: 1 | 2,
  ): Promise<boolean> {
    using ends = bgpEnds();
    using first = new Speaker({ netns: ends.first });
    using second = new Speaker({ netns: ends.second });
    const password = (text: string | undefined) => (text === undefined ? {} : { password: key(text) });
    const options = (number: 1 | 2) => ({ options: { ...impatient, passive: passive === number } });
    first.io.add(neighbor(2, { ...password(keys[0]), ...options(1) }));
    second.io.add(neighbor(1, { ...password(keys[1]), ...options(2) }));
    try {
      await until(
        "a session",
        () => first.state("n2") === "established" && second.state("n1") === "established",
        QUIET_MS,
      );
      return true;
    } catch {
      return false;
    }
  }

  for (const passive of [1, 2] as const) {
    const who = passive === 1 ? "the peer connects" : "we connect";
    test(`the right key, when ${who}`, async () =>
      expect(await meets(["secret", "secret"], passive)).toBe(true));
    test(`a wrong key, when ${who}`, async () =>
      expect(await meets(["secret", "Secret"], passive)).toBe(false));
    test(`no key on the other side, when ${who}`, async () =>
      expect(await meets(["secret", undefined], passive)).toBe(false));
    test(`a key that we do not have, when ${who}`, async () =>
      expect(await meets([undefined, "secret"], passive)).toBe(false));
  }

  test("IPv6, and dynamic neighbours with one key for all of a prefix", async () => {
    using ends = bgpEnds();
    ends.text("ip address add 2001:db8::1/64 dev e1 nodad", ends.first);
    ends.text("ip address add 2001:db8::2/64 dev e2 nodad", ends.second);
    using first = new Speaker({ netns: ends.first });
    using second = new Speaker({ netns: ends.second, listen: [] });
    for (const [name, prefix] of [
      ["six", "2001:db8::/64"],
      ["four", "192.0.2.0/24"],
    ] as const)
      first.io.addDynamic({
        name,
        prefix: parsePrefix(prefix),
        limit: 9,
        password: key("k"),
        session: session(1),
      });
    const to = (address: string, name: string, password: string) =>
      second.io.add(
        neighbor(1, {
          name,
          remote: { kind: "address", address: parseIp(address) },
          password: key(password),
          options: impatient,
        }),
      );
    to("192.0.2.1", "four", "k");
    to("2001:db8::1", "six", "k");
    await second.up("four");
    await second.up("six");
    second.io.remove("six");
    to("2001:db8::1", "six", "other");
    await Bun.sleep(QUIET_MS);
    expect(second.state("six")).not.toBe("established");
  });

  test("a key that is taken away is not asked for any more", async () => {
    using ends = bgpEnds();
    using first = new Speaker({ netns: ends.first });
    using second = new Speaker({ netns: ends.second, listen: [] });
    const passive = { ...impatient, passive: true };
    first.io.add(neighbor(2, { password: key("k"), options: passive }));
    first.io.remove("n2");
    first.io.add(neighbor(2, { options: passive }));
    second.io.add(neighbor(1, { options: impatient }));
    await first.up("n2");
  });
});

/** An outbox with one message. */
function once(message: Uint8Array): Outbox {
  let left = message;
  return {
    peek: () => (left.length === 0 ? undefined : left),
    advance: (bytes) => void (left = left.subarray(bytes)),
  };
}

function connections(ends: Scratch): string[] {
  return ends
    .text("ss -Htn state established")
    .split("\n")
    .filter((line) => line.includes(":179"));
}
