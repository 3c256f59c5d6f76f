/** A node whose disk is full: nothing is made half, nothing is lost, and all goes on when there is room again. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { CniNode } from "../support/cni-node.ts";
import { notRoot } from "../support/scratch.ts";

const suffix = notRoot === undefined ? "" : ` (skipped: ${notRoot})`;
const nothing = { links: [], elements: [], neighbours: [], rows: [] };
const STATE = "/var/lib/causeway";

describe.skipIf(notRoot !== undefined)(`CNI: full disk${suffix}`, () => {
  let node: CniNode;
  beforeAll(async () => {
    node = await CniNode.create();
    await node.must(`mount -t tmpfs -o size=1m tmpfs ${STATE}`);
    await node.startAgent();
  });
  afterAll(() => node?.[Symbol.asyncDispose]());

  test("A5, D2: ADD fails and leaves nothing, pods go on; DEL fails until there is room, and then all is as ever", async () => {
    const result = await node.add("early");
    const before = await node.remains();
    await node.addPod("late");
    await node.run(["sh", "-c", `cat /dev/zero > ${STATE}/fill`]);
    // What is free in the database's own file may serve one call or two; at some time nothing is left.
    let failed: Awaited<ReturnType<CniNode["call"]>> | undefined;
    for (let tries = 0; failed === undefined && tries < 100; tries++) {
      const add = await node.call("ADD", { containerId: "late" });
      const last = add.status === 0 ? await node.call("DEL", { containerId: "late" }) : add;
      if (last.status !== 0) failed = last;
    }
    expect(failed?.json).toMatchObject({
      cniVersion: "1.0.0",
      code: 5,
      msg: "Cannot serve the call: the pods' database cannot be written; make room in /var/lib/causeway",
    });
    const status = { configuration: { cniVersion: "1.1.0" } };
    expect((await node.call("STATUS", status)).json).toMatchObject({ code: 50 });
    expect(await node.in("early", "ping -c1 -W5 10.244.1.1")).toBe(true);
    const check = { containerId: "early", configuration: { prevResult: result } };
    expect((await node.call("CHECK", check)).status).toBe(0);
    expect(await node.ip("link show type veth", "late")).toEqual([]);

    await node.must(`rm ${STATE}/fill`);
    expect((await node.call("STATUS", status)).status).toBe(0);
    expect((await node.call("DEL", { containerId: "late" })).status).toBe(0);
    expect(await node.remains()).toEqual(before);
    expect((await node.call("ADD", { containerId: "late" })).status).toBe(0);
    for (const containerId of ["early", "late"])
      expect((await node.call("DEL", { containerId })).status).toBe(0);
    expect(await node.remains()).toEqual(nothing);
  });

  test("D3, code 5: with the agent away as well, DEL fails rather than forget, and the next one is written down", async () => {
    await node.add("kept");
    await node.stopAgent("SIGKILL");
    await node.run(["sh", "-c", `cat /dev/zero > ${STATE}/fill`]);
    expect((await node.call("DEL", { containerId: "kept" })).json).toMatchObject({ code: 5 });
    await node.must(`rm ${STATE}/fill`);
    expect(await node.call("DEL", { containerId: "kept" })).toMatchObject({ status: 0, stdout: "" });
    await node.startAgent();
    expect(await node.remains()).toEqual(nothing);
    expect((await node.must(`ls ${STATE}/tombstones`)).trim()).toBe("");
  });
});
