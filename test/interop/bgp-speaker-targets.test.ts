/** Route target constraint (RFC 4684) with GoBGP: it gets the EVPN routes that its VRFs want, and no others, as its VRFs come and go. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { daemonRoots, routerOf, SpeakerLab, until } from "../support/bgp-lab.ts";
import type { Json } from "../support/scratch.ts";

setDefaultTimeout(180_000);
const { lacks } = daemonRoots();

const US = routerOf({
  groups: {
    clients: {
      asn: "internal",
      routeReflectorClient: true,
      connectRetry: "1s",
      families: { "l2vpn-evpn": {}, "route-target": {} },
    },
  },
  neighbors: [2, 3].map((host) => ({ address: `192.0.2.${host}`, group: "clients" })),
});

const gobgp = (host: number, families: readonly string[]) => `[global.config]
  as = 65001
  router-id = "10.255.0.${host}"
[[neighbors]]
  [neighbors.config]
    neighbor-address = "192.0.2.1"
    peer-as = 65001
  [neighbors.timers.config]
    connect-retry = 1
${families.map((family) => `  [[neighbors.afi-safis]]\n    [neighbors.afi-safis.config]\n      afi-safi-name = "${family}"\n`).join("")}`;

describe.skipIf(lacks !== undefined)(`route targets${lacks === undefined ? "" : ` (${lacks})`}`, () => {
  let net: SpeakerLab;
  beforeAll(async () => {
    net = await SpeakerLab.up("bgp-targets", {
      us: { kind: "causeway", host: 1, config: US },
      wants: { kind: "gobgp", host: 2, config: gobgp(2, ["l2vpn-evpn", "rtc"]) },
      gives: { kind: "gobgp", host: 3, config: gobgp(3, ["l2vpn-evpn"]) },
    });
    await net.ask("wants", "vrf add red rd 10.255.0.2:100 rt both 65001:100");
    await net.established("192.0.2.2", "192.0.2.3");
    for (const number of [100, 200])
      await net.ask(
        "gives",
        `global rib add -a evpn macadv 02:bb:00:00:00:01 10.1.1.1 etag 0 label ${number} rd 10.255.0.3:${number} rt 65001:${number} encap vxlan`,
      );
  });
  afterAll(() => net?.[Symbol.asyncDispose]());

  const adjIn = () => net.ask("wants", "neighbor 192.0.2.1 adj-in -a evpn");

  test("what a VRF wants is sent, and what none wants is not", async () => {
    await until("we know what it wants", async () => {
      const wanted = await net.json("us", "routes --family route-target --neighbor 192.0.2.2 --json");
      return wanted.some(({ route }: Json) => route.includes("65001:100"));
    });
    await until("it has the one", async () => (await adjIn()).includes("10.255.0.3:100"));
    await until("we have both", async () => (await net.json("us", "evpn --json")).length >= 2);
    // It says no End-of-RIB: for a while it got all.
    await until("it has not the other", async () => !(await adjIn()).includes("10.255.0.3:200"));
    expect(await adjIn()).toContain("10.255.0.3:100");
    expect((await net.json("us", "evpn --neighbor 192.0.2.2 --sent --json")).length).toBe(1);
  });

  test("a VRF comes, and one goes", async () => {
    await net.ask("wants", "vrf add blue rd 10.255.0.2:200 rt both 65001:200");
    await until("it has the other too", async () => (await adjIn()).includes("10.255.0.3:200"));
    await net.ask("wants", "vrf del red");
    await until("the first is withdrawn", async () => !(await adjIn()).includes("10.255.0.3:100"));
    expect(await adjIn()).toContain("10.255.0.3:200");
    expect((await net.neighbor("192.0.2.2")).established).toBe(1);
  });
});
