/**
 * Graceful restart with us as helper (RFC 4724, 8538, 9494): FRR restarts, and we keep its routes. That none went is what another client says,
 * which would have seen it go: its counters, and its kernel's routes.
 */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { daemonRoots, routerOf, SpeakerLab, until } from "../support/bgp-lab.ts";
import type { Json } from "../support/scratch.ts";

setDefaultTimeout(180_000);
const { lacks } = daemonRoots();

const US = routerOf({
  restartTime: "120s",
  longLivedTime: "600s",
  groups: {
    clients: {
      asn: "internal",
      routeReflectorClient: true,
      connectRetry: "1s",
      families: { "ipv4-unicast": {}, "l2vpn-evpn": {} },
    },
  },
  neighbors: [2, 3, 4].map((host) => ({ address: `192.0.2.${host}`, group: "clients" })),
  networks: ["10.1.0.0/16"],
});

/** A route map that is not there yet when a network names it lets nothing out, and End-of-RIB goes without the route. */
const frr = (host: number, more: string) => `
route-map fleeting permit 10
 set community no-llgr
router bgp 65001
 bgp router-id 192.0.2.${host}
 no bgp network import-check
 timers bgp 20 60
 bgp graceful-restart
 bgp graceful-restart preserve-fw-state
${more}
 neighbor 192.0.2.1 remote-as 65001
 neighbor 192.0.2.1 timers connect 1
 address-family ipv4 unicast
  network 10.${host}.0.0/16
  network 10.${host}9.0.0/16 route-map fleeting
 exit-address-family
 address-family l2vpn evpn
  neighbor 192.0.2.1 activate
 exit-address-family
`;

describe.skipIf(lacks !== undefined)(`graceful restart${lacks === undefined ? "" : ` (${lacks})`}`, () => {
  let net: SpeakerLab;
  beforeAll(async () => {
    net = await SpeakerLab.up("bgp-restart", {
      us: { kind: "causeway", host: 1, config: US },
      a: { kind: "frr", host: 2, config: frr(2, "") },
      b: { kind: "frr", host: 3, config: frr(3, " bgp long-lived-graceful-restart stale-time 600") },
      c: {
        kind: "frr",
        host: 4,
        config: frr(
          4,
          " bgp graceful-restart restart-time 1\n bgp long-lived-graceful-restart stale-time 600",
        ),
      },
    });
    await net.established("192.0.2.2", "192.0.2.3", "192.0.2.4");
    await until("b has all", async () => (await kernel("b")) === 5);
    await until("a has all", async () => (await kernel("a")) === 5);
  });
  afterAll(() => net?.[Symbol.asyncDispose]());

  const view = async (name: string): Promise<Json> =>
    (await net.json(name, "show bgp neighbors 192.0.2.1 json"))["192.0.2.1"];
  const path = async (name: string, prefix: string): Promise<Json> =>
    (await net.json(name, `show bgp ipv4 unicast ${prefix} json`)).paths?.[0];
  /** How many BGP routes its kernel has. */
  const kernel = async (name: string) =>
    (await net.sh(name, "ip route show proto bgp")).split("\n").filter((line) => line !== "").length;
  /** Writes every change of the kernel's routes into a file, until it is asked what went. */
  async function watched(name: string): Promise<() => Promise<string[]>> {
    const file = net.file(name, "routes.log");
    const pid = await net.sh(name, `ip monitor route > ${file} 2>&1 & echo $!`);
    return async () => {
      await net.sh(name, `kill ${pid.trim()}`);
      return (await net.sh(name, `cat ${file}`)).split("\n").filter((line) => line.startsWith("Deleted"));
    };
  }

  test("helper: FRR is killed and comes back; another client sees nothing of it", async () => {
    const gone = await watched("b");
    const { updatesRecv } = (await view("b")).messageStats;
    await net.lab.stopSpeaker("a");
    await until("its routes are stale", async () => {
      const routes = await net.json("us", "routes --neighbor 192.0.2.2 --json");
      return routes.length === 2 && routes.every(({ stale, best }: Json) => stale && best);
    });
    expect((await net.neighbor("192.0.2.2")).families[0]).toMatchObject({ stale: true, received: 2 });
    expect(await path("b", "10.2.0.0/16")).toMatchObject({ valid: true });
    await net.lab.startSpeaker("a");
    await until("its routes are fresh", async () => {
      const routes = await net.json("us", "routes --neighbor 192.0.2.2 --json");
      return routes.length === 2 && routes.every(({ stale }: Json) => !stale);
    });
    expect((await view("b")).messageStats.updatesRecv).toBe(updatesRecv);
    expect(await gone()).toEqual([]);
  });

  test("helper: what it does not say again goes with its End-of-RIB", async () => {
    await net.lab.stopSpeaker("a");
    await until("its routes are stale", async () =>
      (await net.json("us", "routes 10.2.0.0/16 --json")).some(({ stale }: Json) => stale),
    );
    await net.lab.startSpeaker("a", {
      config: frr(2, "").replace("  network 10.29.0.0/16 route-map fleeting\n", ""),
    });
    await until("it is gone", async () => (await net.json("us", "routes 10.29.0.0/16 --json")).length === 0);
    await until("for b too", async () => (await path("b", "10.29.0.0/16")) === undefined);
    expect(await path("b", "10.2.0.0/16")).toMatchObject({ valid: true });
  });

  test("long-lived: after the restart time its routes stay with the last choice and LLGR_STALE, but those with NO_LLGR go", async () => {
    expect((await net.json("us", "routes 10.49.0.0/16 --json")).length).toBe(1);
    await net.lab.stopSpeaker("c");
    await until("b has it as long-lived", async () =>
      (await path("b", "10.4.0.0/16"))?.community?.string?.includes("llgr-stale"),
    );
    await until("b has lost the other", async () => (await path("b", "10.49.0.0/16")) === undefined);
    const [kept] = await net.json("us", "routes 10.4.0.0/16 --json");
    expect(kept).toMatchObject({ stale: true, best: true });
    // RFC 9494 section 4.6: not to a neighbor that does not know it.
    expect(await path("a", "10.4.0.0/16")).toBeUndefined();
    await net.lab.startSpeaker("c");
    await until("b has it fresh", async () => {
      const now = await path("b", "10.4.0.0/16");
      return now !== undefined && now.community === undefined;
    });
    await until("and a has it again", async () => (await path("a", "10.4.0.0/16")) !== undefined);
  });
});
