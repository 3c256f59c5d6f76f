/**
 * The part of an agent that VPCs are, in a namespace of its own, with a BGP that can be told to fail. It says as one line of JSON what came of:
 * a beginning that fails, the next one, two pods of one virtual machine, and a restart.
 */
import { noFabric } from "../../src/agent/fabric-pods.ts";
import { Vpcs } from "../../src/agent/vpcs.ts";
import { autoRd, autoTarget, macIp } from "../../src/bgp/evpn/mod.ts";
import { Routers, type Speaker } from "../../src/bgp/mod.ts";
import { encodeNlri, EVPN } from "../../src/bgp/wire/mod.ts";
import { CniService } from "../../src/cni/mod.ts";
import { CLUSTER_ROUTER, guardText, portOf } from "../../src/domain/mod.ts";
import { Engine } from "../../src/engine/mod.ts";
import type { MeshView } from "../../src/hub/mod.ts";
import type { BlockClaims } from "../../src/ipam/mod.ts";
import { parseInterfaceAddress, parseIp, parseMac } from "../../src/net/mod.ts";
import { podId } from "../../src/pods/mod.ts";
import { noTenants } from "../../src/resources/mod.ts";
import { Netns, runSync } from "../../src/sys/mod.ts";
import { announcement } from "./bgp-routes.ts";

const FOLDER = "/var/lib/causeway";
const MAC = "0a:58:00:00:05:55";

function text(command: string): string {
  const { status, stdout, stderr } = runSync(command.split(" "));
  if (status !== 0) throw new Error(`${command}: ${stderr}`);
  return stdout;
}

text("ip link add cw0 type bridge");
text("ip address add 10.90.0.1/16 dev cw0");
text("ip link set cw0 up");
const engine = Engine.open({});
engine.set("guard", [{ kind: "ruleset", family: "inet", text: guardText("cw0") }]);
engine.apply("guard");
engine.start();
const cni = CniService.open({ engine, folder: FOLDER, tombstones: `${FOLDER}/deleted` });

let isFailing = true;
let told: unknown;
let routers = new Routers({ folder: "/run/bgp", log: () => {} });

/** Another node says that it has the station, as it has for three moves. */
function announceElsewhere(): void {
  const speaker = routers.speaker(CLUSTER_ROUTER) as Speaker;
  const peer = speaker.rib.addPeer({
    ...{ asn: 64512, address: Uint8Array.of(10, 90, 0, 2), external: false },
  });
  const update = {
    ...{ external: false, as4: true, families: new Set([EVPN]) },
    ...{ addPathReceive: new Set<number>(), extendedNextHop: new Set<number>() },
  };
  speaker.rib.up(peer, { update, routerId: 2, families: new Map([[EVPN, {}]]) });
  const vtep = parseIp("10.90.0.2");
  const segment = { vni: 300, vtep, rd: autoRd(vtep, 300), exportTargets: [autoTarget(64512, 300)] };
  const { nlri, attributes } = macIp(segment, { mac: parseMac(MAC), ip: parseIp("172.16.32.5") }, 3);
  const said = { ...encodeNlri(nlri), pathId: 0 };
  const bytes = announcement(update, { nextHop: { address: vtep }, localPreference: 100, ...attributes }, [
    said,
  ]);
  speaker.rib.receive(peer, bytes, 19, bytes.length, 0);
  // There is work now.
  speaker.withdrawText("192.0.2.0/24");
}
const problems: string[] = [];
const open = () =>
  new Vpcs({
    engine,
    cni,
    folder: FOLDER,
    // Of a VNI that no Subnet describes nobody is asked for addresses.
    claims: { held: () => Promise.resolve([]) } as unknown as BlockClaims,
    bgp: {
      follow: () => {},
      leave: () => Promise.resolve(),
      edge: () => undefined,
      fabric: noFabric,
      files: [],
      setCluster: (router, onSpeaker) => {
        if (isFailing) throw new Error("no room for a router");
        if (router === undefined || told === onSpeaker) return;
        told = onSpeaker;
        routers.set([router]);
        onSpeaker(routers.speaker(router.name));
      },
    },
    onProblem: ({ message }) => void problems.push(message),
  });
const view = {
  mesh: { asn: 64512, openVnis: true, listenPort: 51820, services: {} },
  self: { name: "one", hub: false, overlay4: parseIp("10.90.0.1"), local: [] },
  nodes: [],
  peers: [],
  tenants: noTenants,
} as unknown as MeshView;

const attachment = (containerId: string) => ({ network: "vm", containerId, ifname: "net1" });

async function add(vpcs: Vpcs, name: string): Promise<string> {
  text(`ip netns add ${name}`);
  using netns = Netns.open(`/run/netns/${name}`);
  const wish = {
    vni: 300,
    addresses: [parseInterfaceAddress("172.16.32.5/24")],
    mac: parseMac(MAC),
    defaultRoute: false,
    groups: [],
  };
  try {
    await vpcs.add(attachment(name), wish, netns);
    return "added";
  } catch (error) {
    return (error as Error).message;
  }
}

/** Which pod has the station. */
const station = () => {
  const lines = text("ip netns exec cw-300 bridge fdb show br br300").split("\n");
  const found = lines.find((line) => line.startsWith(MAC) && line.includes("static"));
  return ["zzz", "aaa"].find((name) => found?.includes(` ${portOf(podId(attachment(name)))} `)) ?? found;
};

const said: Record<string, unknown> = {};
let vpcs = open();
try {
  vpcs.follow(view, 1420);
} catch (error) {
  said.first = (error as Error).message;
}
said.early = await add(vpcs, "early");
isFailing = false;
vpcs.follow(view, 1420);
// The later one has the name that comes first.
said.zzz = await add(vpcs, "zzz");
said.aaa = await add(vpcs, "aaa");
said.before = station();
announceElsewhere();
const sequences = () => vpcs.attachments().map(({ containerId, sequence }) => `${containerId} ${sequence}`);
for (let looks = 0; looks < 1_000 && !sequences().includes("aaa 4"); looks++) await Bun.sleep(5);
// The agent and its BGP end, and others take their place.
vpcs[Symbol.dispose]();
routers.stop();
routers = new Routers({ folder: "/run/bgp", log: () => {} });
vpcs = open();
vpcs.follow(view, 1420);
said.after = station();
said.sequences = sequences();
await vpcs.delete(attachment("aaa"));
said.left = station();
await vpcs.delete(attachment("zzz"));
said.shown = vpcs.status();
said.problems = problems;
vpcs[Symbol.dispose]();
console.log(JSON.stringify(said));
process.exit(0);
