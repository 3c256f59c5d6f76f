/** Nodes tell each other of VPCs by two reflectors: what each gets, what stays when a reflector is killed, and what goes when a node is dead. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { EvpnCluster, type Member, until } from "../support/evpn-cluster.ts";
import { notRoot } from "../support/scratch.ts";

setDefaultTimeout(180_000);

const MAC = "02:aa:00:00:00:05";
const C = "5001 flood 10.90.0.3";
const D = "5001 flood 10.90.0.4";
const prefix = (...vteps: string[]) => `5000 10.1.0.0/24 via ${vteps.join(" ")}`;

describe.skipIf(notRoot !== undefined)(
  `EVPN of a cluster${notRoot === undefined ? "" : ` (${notRoot})`}`,
  () => {
    let cluster: EvpnCluster;
    let a: Member;
    let b: Member;
    let c: Member;
    let d: Member;
    beforeAll(async () => {
      cluster = new EvpnCluster({ names: ["a", "b", "c", "d"], hubs: ["a", "b"] });
      a = cluster.member("a");
      b = cluster.member("b");
      c = cluster.member("c");
      d = cluster.member("d");
      for (const member of [a, b, c, d]) member.start();
      await a.meets(b, c, d);
      await b.meets(a, c, d);
    });
    afterAll(() => cluster?.[Symbol.asyncDispose]());

    test("nodes see what is active on both, and nothing of another VPC with the same addresses", async () => {
      await c.order({ do: "activate", segments: [5001] });
      await d.order({ do: "activate", segments: [5001, 6001] });
      await c.order({ do: "host", vni: 5001, mac: MAC, ip: "10.1.0.5" });
      await d.order({ do: "host", vni: 6001, mac: MAC, ip: "10.1.0.5" });
      await d.sees(C, `5001 ${MAC} 10.1.0.5 dst 10.90.0.3`, prefix("10.90.0.3"));
      await c.sees(D, prefix("10.90.0.4"));
      // Route target constraint (RFC 4684): what it does not ask for is not even sent. Three of its own, two of red's elsewhere.
      const { routes } = await c.state();
      expect(routes).toBe(3 + 2);
      // The reflectors have all, and use nothing.
      await a.sees();
      expect((await a.state()).routes).toBe(3 + 5);
    });

    test("hosts of a segment that is active elsewhere only are routed to", async () => {
      await d.order({ do: "host", vni: 5001, mac: "02:aa:00:00:00:07", ip: "10.1.0.7" });
      await a.order({ do: "activate", segments: [5002] });
      await a.sees(
        `5001 ${MAC} 10.1.0.5 dst 10.90.0.3`,
        "5001 02:aa:00:00:00:07 10.1.0.7 dst 10.90.0.4",
        prefix("10.90.0.3", "10.90.0.4"),
      );
      await d.order({ do: "unhost", vni: 5001, mac: "02:aa:00:00:00:07", ip: "10.1.0.7" });
      await a.sees(`5001 ${MAC} 10.1.0.5 dst 10.90.0.3`, prefix("10.90.0.3", "10.90.0.4"));
      await c.sees(D, prefix("10.90.0.4"), "5000 10.2.0.0/24 via 10.90.0.1");
    });

    test("an address that comes to another node is there, and no more where it was", async () => {
      await d.order({ do: "host", vni: 5001, mac: MAC, ip: "10.1.0.5" });
      const here = `5001 ${MAC} 10.1.0.5 dst 10.90.0.4`;
      await c.sees(D, here, prefix("10.90.0.4"), "5000 10.2.0.0/24 via 10.90.0.1");
      await a.sees(here, prefix("10.90.0.3", "10.90.0.4"));
      await d.order({ do: "unhost", vni: 5001, mac: MAC, ip: "10.1.0.5" });
      // It did not leave: it is announced again.
      await a.sees(`5001 ${MAC} 10.1.0.5 dst 10.90.0.3`, prefix("10.90.0.3", "10.90.0.4"));
    });

    test("a reflector is killed: nobody loses anything, and what is new, or taken back, goes by the other", async () => {
      const before = [
        C,
        `5001 ${MAC} 10.1.0.5 dst 10.90.0.3`,
        prefix("10.90.0.3"),
        "5000 10.2.0.0/24 via 10.90.0.1",
      ];
      await c.order({ do: "host", vni: 5001, mac: "02:aa:00:00:00:09", ip: "10.1.0.9" });
      await d.sees(...before, "5001 02:aa:00:00:00:09 10.1.0.9 dst 10.90.0.3");
      // Five of its own, and all others by both.
      await until("both have told d", async () => {
        const { routes, paths } = await d.state();
        return paths === 5 + 2 * (routes - 5);
      });
      const { remotes } = await d.state();
      await b.die();
      await until("d knows", async () => (await d.state()).sessions["10.90.0.2"] === "down");
      expect((await d.state()).remotes).toEqual(remotes);
      await c.order({ do: "host", vni: 5001, mac: "02:aa:00:00:00:08", ip: "10.1.0.8" });
      await c.order({ do: "unhost", vni: 5001, mac: "02:aa:00:00:00:09", ip: "10.1.0.9" });
      await d.sees(...before, "5001 02:aa:00:00:00:08 10.1.0.8 dst 10.90.0.3");
      b.start();
      await b.meets(a, c, d);
      await d.sees(...before, "5001 02:aa:00:00:00:08 10.1.0.8 dst 10.90.0.3");
    });

    test("a node's speaker is killed, its packets are forwarded: its routes stay, and are the same when it is back", async () => {
      const before = (await d.state()).remotes;
      await c.kill();
      await until("a knows", async () => (await a.state()).sessions["10.90.0.3"] === "down");
      expect((await a.state()).bfd["10.90.0.3"]).toBe("up");
      expect((await d.state()).remotes).toEqual(before);
      c.start();
      await c.order({ do: "activate", segments: [5001] });
      await c.order({ do: "host", vni: 5001, mac: MAC, ip: "10.1.0.5", claim: "known" });
      await a.meets(c);
      // The other host was not said again: End-of-RIB takes it away.
      await d.sees(...before.filter((one) => !one.includes("10.1.0.8")));
    });

    test("a reflector's speaker is killed and comes back: its paths are up all the time", async () => {
      const before = (await d.state()).remotes;
      await a.kill();
      await until("d knows", async () => (await d.state()).sessions["10.90.0.1"] === "down");
      a.start();
      await a.order({ do: "activate", segments: [5002] });
      await a.meets(b, c, d);
      await d.sees(...before);
      const { logged } = await d.state();
      expect(logged.filter((line) => line.includes("10.90.0.1") && line.includes("BFD"))).toEqual([]);
    });

    test("a node is dead: its routes leave by BFD's word, long before the hold time", async () => {
      cluster.cut("c");
      await d.sees("5000 10.2.0.0/24 via 10.90.0.1");
      await a.sees(prefix("10.90.0.4"));
      const { logged } = await a.state();
      expect(logged.filter((line) => line.includes("10.90.0.3")).join("\n")).toContain(
        "BFD says that the path is down",
      );
    });

    test("a node's processes end all at once, as when it reboots: what is kept for its restart goes by BFD's word", async () => {
      await d.die();
      await until("a has lost the session", async () => (await a.state()).sessions["10.90.0.4"] === "down");
      await a.sees();
    });
  },
);
