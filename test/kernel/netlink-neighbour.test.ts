/** Neighbours and forwarding databases: ip(8) and bridge(8) are the witnesses. */
import { describe, expect, test } from "bun:test";
import { formatIp, formatMac, mac, parseIp, parseMac } from "../../src/net/mod.ts";
import {
  addFdb,
  addLink,
  addNeighbour,
  addNexthop,
  deleteFdb,
  deleteNeighbour,
  type FdbInfo,
  type NeighbourInfo,
  setLink,
} from "../../src/netlink/mod.ts";
import { expectAgreement, type Json, lacksKind, notRoot, refusal, Scratch } from "../support/scratch.ts";

const bridged = () => Scratch.prepared(setUpBridge);

function setUpBridge(scratch: Scratch): { readonly br: number; readonly port: number } {
  const { route } = scratch;
  route.request(addLink({ name: "br0", type: "bridge", up: true, addrGen: "none" }));
  const br = scratch.index("br0");
  route.request(addLink({ name: "v0", type: "veth", peer: { name: "v1" }, master: br, up: true }));
  // A bridge that loses its carrier forgets what was learned, up to a second later.
  route.request(setLink({ index: scratch.index("v1"), up: true }));
  return { br, port: scratch.index("v0") };
}

function expectNeighboursAgree(scratch: Scratch): void {
  const names = scratch.names();
  const ours = (entry: NeighbourInfo): Json => ({
    ip: formatIp(entry.ip),
    dev: names.get(entry.linkIndex),
    mac: entry.mac === undefined ? undefined : formatMac(entry.mac),
    state: entry.state.toUpperCase(),
    externLearn: entry.externLearn,
    protocol: entry.protocol === undefined ? undefined : String(entry.protocol),
  });
  const theirs = (entry: Json): Json => ({
    ip: entry.dst,
    dev: entry.dev,
    mac: entry.lladdr,
    state: entry.state[0],
    externLearn: "extern_learn" in entry,
    protocol: entry.protocol,
  });
  expectAgreement(
    () => scratch.route.neighbours().map(ours),
    () => scratch.json("ip -N -j neigh show nud all").map(theirs),
  );
}

function expectFdbAgrees(scratch: Scratch): void {
  const names = scratch.names();
  const ours = (entry: FdbInfo): Json => ({
    mac: formatMac(entry.mac),
    dev: names.get(entry.linkIndex),
    dst: entry.dst && formatIp(entry.dst),
    port: entry.port,
    vni: entry.vni,
    nhid: entry.nexthopId,
    master: entry.master === undefined ? undefined : names.get(entry.master),
    externLearn: entry.externLearn,
    permanent: entry.permanent,
    static: entry.static,
  });
  const theirs = (entry: Json): Json => ({
    mac: entry.mac,
    dev: entry.ifname,
    dst: entry.dst,
    port: entry.port,
    vni: entry.vni,
    nhid: entry.nhid,
    master: entry.flags.includes("self") ? undefined : entry.master,
    externLearn: entry.flags.includes("extern_learn"),
    permanent: entry.state === "permanent",
    static: entry.state === "static",
  });
  expectAgreement(
    () => scratch.route.fdb().map(ours),
    () => scratch.json("bridge -j fdb show").map(theirs),
  );
}

describe.skipIf(notRoot !== undefined)(`neighbours${notRoot === undefined ? "" : ` (${notRoot})`}`, () => {
  test("permanent, learned by a control plane, replaced, deleted", () => {
    using scratch = bridged();
    const { route, br, port } = scratch;
    const four = { linkIndex: br, ip: parseIp("10.0.0.9"), mac: parseMac("02:00:00:00:00:09"), protocol: 67 };
    const six = { ...four, ip: parseIp("fd00::9"), externLearn: true };
    const other = { ...four, linkIndex: port };
    expect(route.execute([four, six, other].map(addNeighbour))).toEqual([undefined, undefined, undefined]);
    expectNeighboursAgree(scratch);
    const marked = (linkIndex: number) =>
      route.neighbours({ linkIndex }).filter((entry) => entry.protocol === 67);
    expect(marked(br)).toMatchObject([
      { ip: four.ip, mac: four.mac, state: "permanent", externLearn: false },
      { ip: six.ip, mac: four.mac, externLearn: true },
    ]);
    expect(marked(port)).toHaveLength(1);
    const taken = refusal(() => route.request(addNeighbour(four)));
    expect(taken.message).toMatch(/^Cannot add neighbour 10\.0\.0\.9 on link \d+: .*\(EEXIST\)$/);
    route.request(addNeighbour({ ...four, mac: parseMac("02:00:00:00:00:0a"), replace: true }));
    expect(marked(br)[0]?.mac).toBe(parseMac("02:00:00:00:00:0a"));
    expectNeighboursAgree(scratch);
    expect(route.execute([four, six, other].map(deleteNeighbour))).toEqual([undefined, undefined, undefined]);
    expect(marked(br)).toEqual([]);
    expect(refusal(() => route.request(deleteNeighbour(four))).code).toBe("ENOENT");
  });
});

describe.skipIf(notRoot !== undefined)(`fdb${notRoot === undefined ? "" : ` (${notRoot})`}`, () => {
  test("entries of a bridge", () => {
    using scratch = bridged();
    const { route, port } = scratch;
    const entry = { linkIndex: port, mac: parseMac("02:00:00:00:00:33"), master: true };
    const learned = { ...entry, mac: parseMac("02:00:00:00:00:34"), externLearn: true };
    expect(route.execute([entry, learned].map(addFdb))).toEqual([undefined, undefined]);
    expectFdbAgrees(scratch);
    const find = (address: number) => route.fdb({ linkIndex: port }).find(({ mac }) => mac === address);
    expect(find(entry.mac)).toMatchObject({ master: scratch.br, static: true, externLearn: false });
    expect(find(learned.mac)).toMatchObject({ master: scratch.br, externLearn: true });
    expect(refusal(() => route.request(addFdb(entry))).code).toBe("EEXIST");
    expect(route.execute([entry, learned].map(deleteFdb))).toEqual([undefined, undefined]);
    expect(find(entry.mac)).toBeUndefined();
    expect(refusal(() => route.request(deleteFdb(entry))).message).toMatch(
      /^Cannot delete fdb entry 02:00:00:00:00:33 on link \d+ master: /,
    );
  });

  const lacking = lacksKind({ name: "x", type: "vxlan", vni: 1, local: parseIp("10.0.0.1") });
  test.skipIf(lacking !== undefined)(
    `entries of a VXLAN device${lacking === undefined ? "" : ` (${lacking})`}`,
    () => {
      using scratch = bridged();
      const { route } = scratch;
      route.request(
        addLink({
          name: "vx0",
          type: "vxlan",
          vni: 77,
          local: parseIp("10.0.0.1"),
          master: scratch.br,
          up: true,
        }),
      );
      const linkIndex = scratch.index("vx0");
      const flood = (last: number) => ({ linkIndex, mac: mac(0), dst: parseIp(`10.0.0.${last}`) });
      const known = {
        linkIndex,
        mac: parseMac("02:00:00:00:00:44"),
        dst: parseIp("10.0.0.5"),
        externLearn: true,
      };
      const far = {
        linkIndex,
        mac: parseMac("02:00:00:00:00:45"),
        dst: parseIp("10.0.0.6"),
        port: 8472,
        vni: 99,
      };
      const ofBridge = { linkIndex, mac: known.mac, master: true, externLearn: true };
      expect(
        route.execute([
          addFdb({ ...flood(5), append: true }),
          addFdb({ ...flood(6), append: true }),
          addFdb(known),
          addFdb(far),
          addFdb(ofBridge),
        ]),
      ).toEqual([undefined, undefined, undefined, undefined, undefined]);
      expectFdbAgrees(scratch);
      const dsts = (address: number) =>
        route
          .fdb({ linkIndex })
          .filter((entry) => entry.mac === address && entry.master === undefined)
          .map((entry) => entry.dst && formatIp(entry.dst));
      expect(dsts(0)).toEqual(["10.0.0.5", "10.0.0.6"]);
      route.request(deleteFdb(flood(5)));
      expect(dsts(0)).toEqual(["10.0.0.6"]);
      route.request(addFdb({ ...known, dst: parseIp("10.0.0.7"), replace: true }));
      expect(dsts(known.mac)).toEqual(["10.0.0.7"]);
      expectFdbAgrees(scratch);

      // A group of next hops instead of one destination.
      route.request(addNexthop({ id: 6, via: parseIp("10.0.0.8"), fdb: true }));
      route.request(addNexthop({ id: 7, group: [{ id: 6 }], fdb: true }));
      route.request(addFdb({ linkIndex, mac: parseMac("02:00:00:00:00:46"), nexthopId: 7 }));
      expectFdbAgrees(scratch);
    },
  );
});
