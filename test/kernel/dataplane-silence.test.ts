/** To whoever does not prove who he is, the real process says nothing at all: nothing leaves its port. */
import { expect, test } from "bun:test";
import { type PrivateKey, publicKeyBytes } from "../../src/net/mod.ts";
import { openUdp, which } from "../../src/sys/mod.ts";
import { macKeys, writeMacs } from "../../src/tunnel/wireguard/mac.ts";
import { systemPrimitives } from "../../src/tunnel/wireguard/mod.ts";
import { dataplaneBackend, processOf } from "../support/dataplane.ts";
import { ownLacks } from "../support/own-needs.ts";
import { newSeed, Random } from "../support/random.ts";
import { type Side, tool, TunnelPair, until } from "../support/tunnel-pair.ts";
import { Hand } from "../support/wireguard-hand.ts";

const skip = ownLacks ?? (which("nft") === undefined ? "needs nft" : undefined);
const ROUNDS = 250;

/** Counts what comes to the port and what leaves from it, answers of the kernel (ICMP) included. */
function count(side: Side): () => { readonly came: number; readonly left: number } {
  const { netns } = side;
  tool(netns, "nft add table inet seen");
  tool(netns, "nft add chain inet seen in { type filter hook input priority 0 ; }");
  tool(netns, "nft add chain inet seen out { type filter hook output priority 0 ; }");
  tool(netns, "nft add rule inet seen in udp dport 51820 counter");
  tool(netns, "nft add rule inet seen out udp sport 51820 counter");
  tool(netns, "nft add rule inet seen out meta l4proto icmp counter");
  const packets = (chain: string) =>
    [...tool(netns, `nft list chain inet seen ${chain}`).matchAll(/packets (\d+)/g)].reduce(
      (sum, [, number]) => sum + Number(number),
      0,
    );
  return () => ({ came: packets("in"), left: packets("out") });
}

const seed = newSeed();
test.skipIf(skip !== undefined)(
  `silence to all that is not authentic (SEED=${seed})${skip === undefined ? "" : ` (${skip})`}`,
  async () => {
    const random = new Random(seed);
    const own = () => dataplaneBackend("--workers", "2");
    await using pair = await TunnelPair.open({ near: own(), far: own() });
    const { near, far } = pair;
    // It knows a peer, and does not know where that is.
    const { endpoint: _, ...peer } = pair.peer(far);
    far.tunnel.device.change({ privateKey: far.key, listenPort: 51820, peers: [peer] });
    const seen = count(far);
    const theirs = publicKeyBytes(far.key.publicKey);
    const receiver = macKeys(systemPrimitives, theirs);
    const typed = (type: number, length: number) => {
      const bytes = random.bytes(length);
      bytes.set([type, 0, 0, 0].slice(0, length));
      return bytes;
    };
    const coded = (bytes: Uint8Array<ArrayBuffer>) => {
      writeMacs(bytes, { primitives: systemPrimitives, receiver });
      return bytes;
    };
    // Its key is not known there, all else is right.
    const stranger = new Hand(theirs);
    const kinds: readonly (() => Uint8Array<ArrayBuffer>)[] = [
      () => random.bytes(random.below(1400)),
      () => typed(random.below(6), random.below(200)),
      () => typed(1, 148),
      () => coded(typed(1, 148)),
      () => stranger.initiation({ seconds: 1 + random.below(1000) }).bytes,
      () => random.mutate(stranger.initiation({ seconds: 1 }).bytes) as Uint8Array<ArrayBuffer>,
      () => coded(typed(2, 92)),
      () => typed(3, 64),
      () => typed(4, 32 + 16 * random.below(20)),
      () => new Uint8Array([...Buffer.from("CWAY"), ...random.bytes(random.below(100))]),
    ];
    using socket = await openUdp({ netns: near.netns, host: "0.0.0.0", port: 0, onDatagram: () => {} });
    let sent = 0;
    for (let round = 0; round < ROUNDS; round++) {
      for (const make of kinds) {
        socket.send(make(), far.underlay4, 51820);
        sent++;
      }
      // Slower than what is load: then there would be cookies for those whose first code is right.
      await Bun.sleep(20);
    }
    await until("all of it came", () => seen().came === sent);
    await until("the workers saw theirs", () => (processOf(far).status.counters.unknown ?? 0) >= ROUNDS);
    expect(seen().left).toBe(0);
    // The counters count, and the one who is known gets an answer.
    near.tunnel.device.change({ privateKey: near.key satisfies PrivateKey, peers: [pair.peer(near)] });
    expect(await pair.pings(near)).toBe(true);
    expect(seen().left).toBeGreaterThan(2);
  },
  120_000,
);
