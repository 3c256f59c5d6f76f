/**
 * Fuzzes a whole gateway in a guarded arena: `bun test/support/gateway-fuzz.ts SEED ROUNDS`. Any byte read or written outside of its frame, or of
 * any other allocation, ends this process by SIGSEGV, whoever does it; the test that started it sees that. Throws when a frame is lost, or when
 * what is sound does not pass any more. Prints counts.
 *
 * - from the site: packets of any kind, mutated, cut, and as long as frames are;
 * - from the network: the same, ESP that was mutated, and authentic ESP with anything inside (a remote end that means ill), raw and in UDP;
 * - orders in between.
 */
import { ipBytes, parseIp } from "../../src/net/mod.ts";
import { handSeal, trailed } from "./esp-memory.ts";
import { ADDRESS, ether, GatewayLoop, icmp, ip, KEY, MAC, SPI } from "./gateway-loop.ts";
import { Random } from "./random.ts";

/** What a frame of 2048 bytes holds, with the Ethernet header. */
const MOST_FRAME = 1792;
const PORTS = { exchange: 303, encapsulation: 4500 } as const;

const random = new Random(Number(process.argv[2]));
const rounds = Number(process.argv[3]);
const loop = new GatewayLoop({ guarded: true, mtuBytes: 1600, ports: PORTS }).join();
const counts = { site: 0, network: 0, hosts: 0, wire: 0, orders: 0 };
let sequence = 1000;

const family = () => ADDRESS[random.pick([4, 6] as const)];
const length = () => random.pick([random.below(90), random.below(1600), 1500 + random.below(300)]);

function anyIp(): Uint8Array {
  const one = family();
  const pick = () => random.pick([one.host, one.remote, one.private, one.public]);
  const ttl = random.pick([0, 1, 2, 64, 255]);
  const payload = random.bytes(length());
  const { host, remote } = one;
  if (random.chance(0.3))
    return ip({
      ...random.pick([
        { from: host, to: remote },
        { from: remote, to: host },
      ]),
      protocol: 6,
      payload,
      ttl,
    });
  const type = random.pick([8, 128, random.below(140)]);
  if (random.chance(0.3)) return icmp({ from: pick(), to: pick(), type, data: payload, ttl });
  const protocol = random.pick([1, 6, 17, 42, 44, 50, 58]);
  return ip({
    from: pick(),
    to: pick(),
    protocol,
    payload,
    ttl,
    fragment: random.pick([0, 0x4000, 0x2000, 9]),
  });
}

/** UDP to the gateway, with whatever ports. */
function anyUdp(payload: Uint8Array): Uint8Array {
  const one = family();
  const port = random.pick([PORTS.exchange, PORTS.encapsulation, 9]);
  const bytes = 8 + payload.length;
  const header = [0x11, 0x94, port >> 8, port & 255, bytes >> 8, bytes & 255, 0, 0];
  return ip({
    from: one.host,
    to: one.public,
    protocol: 17,
    payload: new Uint8Array([...header, ...payload]),
  });
}

function sealed(text: Uint8Array): Uint8Array {
  return handSeal({
    algorithm: "aes-128-gcm",
    keyMaterial: KEY,
    spi: SPI,
    sequence: BigInt(sequence++),
    extended: true,
    text,
  });
}

function anyEsp(): Uint8Array {
  const inner = random.chance(0.5) ? anyIp() : random.mutate(anyIp());
  const text = random.chance(0.8)
    ? trailed(inner, random.pick([4, 41, 59]))
    : random.bytes(4 * (1 + random.below(20)));
  const payload = sealed(text);
  if (random.chance(0.2)) return anyUdp(payload);
  return ip({ from: "192.0.2.9", to: ADDRESS[4].public, protocol: 50, payload });
}

/** ARP with anything in it that is not its kind. */
function anyArp(): Uint8Array {
  const frame = random.bytes(42);
  frame.set([0x08, 0x06, 0, 1, 8, 0, 6, 4, 0, 1 + random.below(2)], 12);
  if (random.chance(0.5)) frame.set(ipBytes(parseIp(ADDRESS[4].private)), 38);
  return frame;
}

function anyFrame(mac: number): Uint8Array {
  if (random.chance(0.05)) return anyArp();
  const packet = random.pick([
    anyIp,
    anyEsp,
    () => anyUdp(random.bytes(random.below(1300))),
    () => anyUdp(new Uint8Array([0, 0, 0, 0, ...random.bytes(random.below(1300))])),
    () => random.bytes(random.below(100)),
  ])();
  const mutated = random.chance(0.5) ? packet : random.mutate(packet);
  const frame = ether(mac, mutated.length === 0 ? new Uint8Array(1) : mutated);
  return random.chance(0.9) ? frame : frame.subarray(0, random.below(frame.length + 1));
}

function order(): void {
  counts.orders++;
  const association = { route: "far", spi: SPI, algorithm: "aes-128-gcm", keyMaterial: KEY } as const;
  const outer = random.pick([4, 6] as const);
  random.pick([
    () => loop.obey({ kind: "mtu", mtuBytes: random.below(3000), tfc: random.chance(0.5) }),
    () =>
      loop.obey({ kind: "inbound", association: { ...association, windowPackets: 32 + random.below(99) } }),
    () => {
      const udp = { from: PORTS.encapsulation, to: 1 + random.below(65_535) };
      const where = { to: parseIp(ADDRESS[outer].host), ...(random.chance(0.5) ? { udp } : {}) };
      loop.obey({ kind: "endpoint", route: "far", spi: SPI, ...where });
    },
    () => {
      const bytes = random.bytes(random.below(1200));
      const toPort = 1 + random.below(65_535);
      loop.obey({
        kind: "exchange",
        to: parseIp(ADDRESS[outer].host),
        toPort,
        fromPort: random.pick([PORTS.exchange, PORTS.encapsulation]),
        bytes,
      });
    },
  ])();
}

/** Everything is free again, and both ends have taken what came. */
function settle(): void {
  loop.work();
  counts.hosts += loop.host.taken().length;
  counts.wire += loop.wire.taken().length;
  if (!loop.allFree()) throw new Error("a frame was lost");
}

for (let round = 0; round < rounds; round++) {
  const isSite = random.chance(0.5);
  counts[isSite ? "site" : "network"]++;
  const [end, mac] = isSite ? [loop.host, MAC.private] : [loop.wire, MAC.public];
  end.put(anyFrame(mac).subarray(0, MOST_FRAME), random.chance(0.5));
  if (random.chance(0.1)) loop.nowMs += random.below(100);
  if (random.chance(0.02)) order();
  // Up to a few dozen frames are one turn.
  if (random.chance(0.1)) settle();
}
settle();

// What is sound passes both ways.
loop.obey({ kind: "mtu", mtuBytes: 1600, tfc: false });
const good = (from: string, to: string) => ip({ from, to, protocol: 17, payload: new Uint8Array(9) });
const { host, remote } = ADDRESS[4];
const esp = ip({
  from: "192.0.2.9",
  to: ADDRESS[4].public,
  protocol: 50,
  payload: sealed(trailed(good(remote, host), 4)),
});
if (loop.fromWire(esp).host.length !== 1) throw new Error("what is authentic does not pass any more");
if (loop.fromHost(good(host, remote)).wire.length !== 1) throw new Error("nothing is sealed any more");
const { routes, inbound, counters } = loop.path.report();
process.stdout.write(`${JSON.stringify({ ...counts, route: routes[0], inbound: inbound[0], counters })}\n`);
