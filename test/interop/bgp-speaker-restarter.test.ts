/**
 * Graceful restart with us as restarter (RFC 4724, 8538): our process ends and comes back, and FRR keeps what it had from us. That no route went
 * is what the kernels of both FRRs say.
 */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { daemonRoots, routerOf, SpeakerLab, until } from "../support/bgp-lab.ts";
import type { Json } from "../support/scratch.ts";

setDefaultTimeout(180_000);
const { lacks } = daemonRoots();

const US = routerOf({
  restartTime: "120s",
  groups: {
    clients: {
      asn: "internal",
      routeReflectorClient: true,
      connectRetry: "1s",
      families: { "ipv4-unicast": {}, "l2vpn-evpn": {} },
    },
  },
  neighbors: [2, 3].map((host) => ({ address: `192.0.2.${host}`, group: "clients" })),
  networks: ["10.1.0.0/16"],
});

const frr = (host: number) => `
router bgp 65001
 bgp router-id 192.0.2.${host}
 no bgp network import-check
 timers bgp 20 60
 bgp graceful-restart
 bgp graceful-restart preserve-fw-state
 bgp graceful-restart restart-time 1
 neighbor 192.0.2.1 remote-as 65001
 neighbor 192.0.2.1 timers connect 1
 address-family ipv4 unicast
  network 10.${host}.0.0/16
 exit-address-family
 address-family l2vpn evpn
  neighbor 192.0.2.1 activate
 exit-address-family
`;

describe.skipIf(lacks !== undefined)(`our restart${lacks === undefined ? "" : ` (${lacks})`}`, () => {
  let net: SpeakerLab;
  beforeAll(async () => {
    net = await SpeakerLab.up("bgp-restarter", {
      us: { kind: "causeway", host: 1, config: US },
      a: { kind: "frr", host: 2, config: frr(2) },
      b: { kind: "frr", host: 3, config: frr(3) },
    });
    await net.established("192.0.2.2", "192.0.2.3");
    await until("b has all", async () => (await kernel("b")) === 2);
    await until("a has all", async () => (await kernel("a")) === 2);
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

  for (const gently of [false, true])
    test(`restarter: our process ends by ${gently ? "SIGTERM" : "SIGKILL"} and is started again; FRR keeps our routes`, async () => {
      await until("b has all", async () => (await kernel("b")) === 2);
      const gone = [await watched("a"), await watched("b")];
      await net.lab.stopSpeaker("us", { gently });
      await until("b waits for us", async () => (await view("b")).bgpState !== "Established");
      expect(await path("b", "10.1.0.0/16")).toMatchObject({ valid: true, stale: true });
      expect(await path("b", "10.2.0.0/16")).toMatchObject({ valid: true, stale: true });
      expect((await view("b")).gracefulRestartInfo.timers).toMatchObject({ receivedRestartTimer: 120 });
      expect(await kernel("b")).toBe(2);
      await net.lab.startSpeaker("us");
      await net.established("192.0.2.2", "192.0.2.3");
      await until("b's routes are fresh", async () => {
        const routes = await Promise.all(["10.1.0.0/16", "10.2.0.0/16"].map((prefix) => path("b", prefix)));
        return routes.every((one) => one?.valid === true && one.stale !== true);
      });
      const { gracefulRestartInfo } = await view("b");
      expect(gracefulRestartInfo).toMatchObject({ rBit: true, nBit: true });
      expect(gracefulRestartInfo.ipv4Unicast).toMatchObject({ fBit: true });
      await until(
        "we have selected",
        async () => (await net.json("us", "summary --json"))[0].deferred.length === 0,
      );
      for (const deleted of gone) expect(await deleted()).toEqual([]);
    });

  test("ended for good (SIGINT): FRR is told, and drops all", async () => {
    process.kill(net.pid("us", " bgp run "), "SIGINT");
    await until("b has no route", async () => (await kernel("b")) === 0);
    expect((await view("b")).lastShutdownDescription).toBe("ended by the operator");
  });
});
