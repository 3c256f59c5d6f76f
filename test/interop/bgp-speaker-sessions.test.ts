/** Ways to a neighbor: password, several hops, TTL security, passive, dynamic, a source address, a link alone. FRR is at the other end of each. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { daemonRoots, routerOf, SpeakerLab, until } from "../support/bgp-lab.ts";
import type { Json } from "../support/scratch.ts";

setDefaultTimeout(180_000);
const { lacks } = daemonRoots();
const folder = mkdtempSync(join(tmpdir(), "causeway-bgp-"));
const passwordFile = join(folder, "password");
writeFileSync(passwordFile, "between-us\nand nothing else\n");
chmodSync(passwordFile, 0o600);
const other = join(folder, "other");
writeFileSync(other, "Between-us");
chmodSync(other, 0o600);

afterAll(() => rmSync(folder, { recursive: true, force: true }));

const families = { "ipv4-unicast": { import: "all", export: "all" } };
const external = { asn: 65002, connectRetry: "1s", families };

const spec = {
  networks: ["10.1.0.0/16"],
  policies: { all: [{ action: "accept" }] },
  groups: { anyone: { asn: 65002, passwordFile, families } },
  neighbors: [
    { address: "192.0.2.2", ...external, passwordFile },
    { address: "10.255.0.2", ...external, multihop: 5, source: "10.255.0.1" },
    { address: "198.51.100.2", ...external, ttlSecurity: 1 },
    { address: "203.0.113.2", ...external, passive: true },
    { interface: "eth4", ...external },
  ],
  dynamicNeighbors: [{ prefix: "100.64.0.0/24", group: "anyone", limit: 2 }],
};

const FRR = `
router bgp 65002
 bgp router-id 10.255.0.2
 no bgp ebgp-requires-policy
 no bgp network import-check
 timers bgp 20 60
 neighbor us peer-group
 neighbor us remote-as 65001
 neighbor us timers connect 1
 neighbor 192.0.2.1 peer-group us
 neighbor 192.0.2.1 password between-us
 neighbor 10.255.0.1 peer-group us
 neighbor 10.255.0.1 ebgp-multihop 5
 neighbor 10.255.0.1 update-source 10.255.0.2
 neighbor 198.51.100.1 peer-group us
 neighbor 198.51.100.1 ttl-security hops 1
 neighbor 203.0.113.1 peer-group us
 neighbor 100.64.0.1 peer-group us
 neighbor 100.64.0.1 password between-us
 neighbor eth4 interface peer-group us
 address-family ipv4 unicast
  network 10.2.0.0/16
 exit-address-family
`;

const networks = ["wire", "second", "third", "fourth", "fifth"];

describe.skipIf(lacks !== undefined)(`ways to a neighbor${lacks === undefined ? "" : ` (${lacks})`}`, () => {
  let net: SpeakerLab;
  beforeAll(async () => {
    net = await SpeakerLab.up("bgp-sessions", {
      us: { kind: "causeway", host: 1, config: routerOf(spec), networks, loopback: ["10.255.0.1"] },
      frr: { kind: "frr", host: 2, config: FRR, networks, loopback: ["10.255.0.2"] },
    });
    await net.sh("us", "ip route add 10.255.0.2/32 via 192.0.2.2");
    await net.sh("frr", "ip route add 10.255.0.1/32 via 192.0.2.1");
  });
  afterAll(() => net?.[Symbol.asyncDispose]());

  const view = async (name: string): Promise<Json> =>
    (await net.json("frr", `show bgp neighbors ${name} json`))[name];
  const agreed = (name: string) =>
    until(`FRR agrees on ${name}`, async () => (await view(name)).bgpState === "Established");

  test("MD5 with the password of a file, and not with another", async () => {
    await net.established("192.0.2.2");
    await agreed("192.0.2.1");
    const wrong = spec.neighbors.map((one) =>
      "address" in one && one.address === "192.0.2.2" ? { ...one, passwordFile: other } : one,
    );
    net.change(routerOf({ ...spec, neighbors: wrong }));
    await until("FRR has lost it", async () => (await view("192.0.2.1")).bgpState !== "Established");
    // It tries every second, and we do; a try that was refused is seen on both sides.
    await until("we have tried in vain", async () => {
      const { state } = await net.neighbor("192.0.2.2");
      return state !== "established" && /TCPMD5Failure [1-9]/.test(await counters());
    });
    expect((await view("192.0.2.1")).bgpState).not.toBe("Established");
    net.change(routerOf(spec));
    await net.established("192.0.2.2");
  });

  /** The kernel's counters of both ends, as `name value`. */
  async function counters(): Promise<string> {
    let text = "";
    for (const name of ["us", "frr"]) {
      const [names = "", values = ""] = (await net.sh(name, "grep ^TcpExt /proc/net/netstat")).split("\n");
      text += names
        .split(" ")
        .map((one, i) => `${one} ${values.split(" ")[i]}\n`)
        .join("");
    }
    return text;
  }

  test("several hops, from a source address", async () => {
    await net.established("10.255.0.2");
    await agreed("10.255.0.1");
    expect(await view("10.255.0.1")).toMatchObject({ hostForeign: "10.255.0.1", hostLocal: "10.255.0.2" });
    expect(await net.neighbor("10.255.0.2")).toMatchObject({ localAddress: "10.255.0.1" });
  });

  test("TTL security on both sides", async () => {
    await net.established("198.51.100.2");
    await agreed("198.51.100.1");
    expect(await net.sh("us", "ss -tnio dst 198.51.100.2")).toContain("ESTAB");
  });

  test("passive: it calls, and we never do", async () => {
    await net.established("203.0.113.2");
    const seen = await view("203.0.113.1");
    expect(seen.portForeign).toBe(179);
    expect(seen.portLocal).not.toBe(179);
  });

  test("dynamic: it comes from the prefix, with the password of the group, and is forgotten when it goes", async () => {
    await net.established("100.64.0.2");
    expect(await net.neighbor("100.64.0.2")).toMatchObject({ dynamic: true, asn: 65002 });
    await until("FRR has our route by it", async () =>
      (await net.ask("frr", "show bgp ipv4 unicast 10.1.0.0/16")).includes("100.64.0.1"),
    );
    await net.ask("frr", "configure terminal", "router bgp 65002", "no neighbor 100.64.0.1");
    await until("it is gone", async () => {
      const [router] = await net.json("us", "summary --json");
      return router.neighbors.every(({ name }: Json) => name !== "100.64.0.2");
    });
  });

  test("by a link alone: router advertisements both ways, IPv4 over an IPv6 next hop", async () => {
    await net.established("eth4");
    await agreed("eth4");
    const ours = await net.neighbor("eth4");
    const seen = await view("eth4");
    expect(seen.bgpNeighborAddr).toBe(ours.localAddress);
    expect(ours.address).toMatch(/^fe80::/);
    expect(seen.neighborCapabilities.extendedNexthop).toBe("advertisedAndReceived");
    await until("FRR has our route by it", async () =>
      (await net.ask("frr", "show bgp ipv4 unicast 10.1.0.0/16")).includes(ours.localAddress),
    );
    const theirs = async () => net.json("us", "routes 10.2.0.0/16 --neighbor eth4 --json");
    await until("we have its", async () => (await theirs()).length === 1);
    // RFC 8950: with a global address on the link it says that one, and its link-local one beside it.
    expect((await theirs())[0].nextHop).toBe("2001:db8:5::2");
    // With all other sessions down, FRR's kernel takes it.
    await net.ask(
      "frr",
      "configure terminal",
      "router bgp 65002",
      ...["192.0.2.1", "10.255.0.1", "198.51.100.1", "203.0.113.1"].map((one) => `neighbor ${one} shutdown`),
    );
    await until("FRR's kernel has it by IPv6", async () =>
      /10.1.0.0\/16 .*(via inet6 fe80::|via 169.254.0.1 dev eth4)/.test(await net.sh("frr", "ip route show")),
    );
  });
});
