/** BFD beside BGP, with FRR's bfdd: up on both sides, alive when our speaker is killed, and what ends the session when packets are lost. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { daemonRoots, routerOf, SpeakerLab, until } from "../support/bgp-lab.ts";
import type { Json } from "../support/scratch.ts";

setDefaultTimeout(180_000);
const { lacks } = daemonRoots();

/** Slow enough for a machine that is busy. */
const US = routerOf({
  networks: ["10.1.0.0/16"],
  requirePolicy: false,
  neighbors: [
    {
      address: "192.0.2.2",
      asn: 65002,
      connectRetry: "1s",
      bfd: { transmit: "500ms", receive: "500ms", multiplier: 6 },
      families: { "ipv4-unicast": {} },
    },
  ],
});

/** All daemons read one file: what not all know stands last, since its `exit` would end the reading. */
const FRR = `
router bgp 65002
 bgp router-id 192.0.2.2
 no bgp ebgp-requires-policy
 no bgp network import-check
 timers bgp 20 60
 neighbor 192.0.2.1 remote-as 65001
 neighbor 192.0.2.1 timers connect 1
 neighbor 192.0.2.1 bfd
 neighbor 192.0.2.1 bfd check-control-plane-failure
 address-family ipv4 unicast
  network 10.2.0.0/16
 exit-address-family
bfd
 peer 192.0.2.1
  receive-interval 500
  transmit-interval 500
  detect-multiplier 6
`;

describe.skipIf(lacks !== undefined)(`BFD${lacks === undefined ? "" : ` (${lacks})`}`, () => {
  let net: SpeakerLab;
  beforeAll(async () => {
    net = await SpeakerLab.up("bgp-bfd", {
      us: { kind: "causeway", host: 1, config: US },
      frr: { kind: "frr", host: 2, config: FRR },
    });
    await net.established("192.0.2.2");
  });
  afterAll(() => net?.[Symbol.asyncDispose]());

  const view = async (): Promise<Json> =>
    (await net.json("frr", "show bgp neighbors 192.0.2.1 json"))["192.0.2.1"];
  const bfd = async (): Promise<Json> => net.json("frr", "show bfd peer 192.0.2.1 json");
  const downs = async (): Promise<number> =>
    (await net.json("frr", "show bfd peer 192.0.2.1 counters json"))["session-down"];

  test("up on both sides, with the parameters of both", async () => {
    await until("FRR's is up", async () => (await bfd()).status === "up");
    expect(await bfd()).toMatchObject({ "remote-receive-interval": 500, "remote-detect-multiplier": 6 });
    await until("FRR's BGP knows", async () => (await view()).peerBfdInfo?.status === "Up");
    expect((await view()).bgpState).toBe("Established");
  });

  test("our speaker is killed: BFD stays up, so that FRR keeps our routes, and the next one takes it over", async () => {
    const before = await downs();
    const process = net.pid("us", " bfd run");
    await net.lab.stopSpeaker("us");
    await until("FRR has lost the session", async () => (await view()).bgpState !== "Established");
    const [path] = (await net.json("frr", "show bgp ipv4 unicast 10.1.0.0/16 json")).paths;
    expect(path).toMatchObject({ stale: true, valid: true });
    expect((await bfd()).status).toBe("up");
    await net.lab.startSpeaker("us");
    await net.established("192.0.2.2");
    expect((await bfd()).status).toBe("up");
    expect(await downs()).toBe(before);
    expect(net.pid("us", " bfd run")).toBe(process);
  });

  // FRR is a helper only: what it lost is not kept. (With its own restart agreed on, a BFD session that may have ended with its control plane keeps it.)
  test("packets are lost: BFD ends the session on both sides, long before the hold time, and routes go", async () => {
    await until("FRR has our route", async () =>
      (await net.ask("frr", "show bgp ipv4 unicast 10.1.0.0/16")).includes("valid"),
    );
    await net.sh(
      "us",
      "nft add table inet t; nft add chain inet t in '{ type filter hook input priority 0; policy drop; }'",
    );
    await until("we have ended it", async () => (await net.neighbor("192.0.2.2")).state !== "established");
    expect((await net.neighbor("192.0.2.2")).lastError).toMatch(/BFD/);
    expect(await net.json("us", "routes 10.2.0.0/16 --json")).toEqual([]);
    await until("FRR has too", async () => (await view()).bgpState !== "Established");
    await until("its BFD is down", async () => (await bfd()).status === "down");
    await net.sh("us", "nft delete table inet t");
    await net.established("192.0.2.2");
    await until("FRR's BFD is up again", async () => (await bfd()).status === "up");
  });
});
