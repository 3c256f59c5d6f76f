/** A node that was taken over announces what is not its own: reflectors refuse it, say so, and the others never see it. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { EvpnCluster, type Member, until } from "../support/evpn-cluster.ts";
import { notRoot } from "../support/scratch.ts";

setDefaultTimeout(180_000);

const MAC = "02:aa:00:00:00:05";
const THEIRS = `5001 ${MAC} 10.1.0.5 dst 10.90.0.2`;

describe.skipIf(notRoot !== undefined)(`a rogue node${notRoot === undefined ? "" : ` (${notRoot})`}`, () => {
  let cluster: EvpnCluster;
  let reflector: Member;
  let victim: Member;
  let rogue: Member;
  let watcher: Member;
  beforeAll(async () => {
    cluster = new EvpnCluster({ names: ["a", "b", "c", "d"], hubs: ["a"] });
    reflector = cluster.member("a");
    victim = cluster.member("b");
    rogue = cluster.member("c");
    watcher = cluster.member("d");
    for (const member of [reflector, victim, rogue, watcher]) member.start();
    await reflector.meets(victim, rogue, watcher);
    await victim.order({ do: "activate", segments: [5001] });
    await victim.order({ do: "host", vni: 5001, mac: MAC, ip: "10.1.0.5" });
    await watcher.order({ do: "activate", segments: [5001, 6001] });
    await watcher.sees("5001 flood 10.90.0.2", THEIRS, "5000 10.1.0.0/24 via 10.90.0.2");
  });
  afterAll(() => cluster?.[Symbol.asyncDispose]());

  /** Waits until the reflector has said why, and looks whether anybody was told. */
  async function refused(why: string): Promise<void> {
    await until(`refused: ${why}`, async () => {
      const { logged } = await reflector.state();
      return logged.some((line) => line.includes("bgp route is refused") && line.includes(why));
    });
    await watcher.sees("5001 flood 10.90.0.2", THEIRS, "5000 10.1.0.0/24 via 10.90.0.2");
    // The reflector says one thing in a second.
    await Bun.sleep(1_100);
  }

  test("broadcast of a segment to the address of another node", async () => {
    await rogue.order({ do: "segment", vni: 5001, vtep: "10.90.0.9" });
    await refused("c announces VNI 5001 by 10.90.0.9, which is not its VTEP");
  });

  test("under the route distinguisher of another node", async () => {
    await rogue.order({ do: "segment", vni: 5001, vtep: "10.90.0.3", rd: "10.90.0.2:5001" });
    await refused("route distinguisher that is not its own");
  });

  test("with the route targets of a VPC that it does not serve, and in that VPC's own VNI", async () => {
    await rogue.order({ do: "segment", vni: 5001, vtep: "10.90.0.3", targets: ["64512:6001"] });
    await refused("route target 64512:6001, which is not of that network");
    await rogue.order({ do: "segment", vni: 6001, vtep: "10.90.0.3" });
    await refused("it may not serve VPC blue");
  });

  test("what was refused is taken when the node may serve the VPC, and is gone when it may not any more", async () => {
    const others = ["5001 flood 10.90.0.2", THEIRS, "5000 10.1.0.0/24 via 10.90.0.2"];
    await reflector.order({ do: "serve", blue: ["c", "d"] });
    await watcher.sees(...others, "6001 flood 10.90.0.3");
    await reflector.order({ do: "serve", blue: ["d"] });
    await refused("it may not serve VPC blue");
  });

  test("in a VNI that belongs to nobody, above those that are open", async () => {
    await rogue.order({ do: "segment", vni: 4096, vtep: "10.90.0.3" });
    await refused("VNI 4096 is no subnet's");
  });

  test("an open VNI with the targets of a VPC", async () => {
    await rogue.order({ do: "segment", vni: 300, vtep: "10.90.0.3", targets: ["64512:5001"] });
    await refused("route target 64512:5001, which is not of that network");
  });

  test("what is its own it may announce all the same", async () => {
    await rogue.order({ do: "activate", segments: [5001] });
    await watcher.sees(
      "5001 flood 10.90.0.2",
      "5001 flood 10.90.0.3",
      THEIRS,
      "5000 10.1.0.0/24 via 10.90.0.2 10.90.0.3",
    );
    expect((await reflector.state()).sessions).toEqual({
      "10.90.0.2": "up",
      "10.90.0.3": "up",
      "10.90.0.4": "up",
    });
  });
});
