/**
 * One node of a cluster as far as EVPN goes, as a process of its own: the router of the cluster, what it has and what it was told, without a data
 * plane. It is told what to do by lines of JSON, and answers each with one.
 */
import { Routers, type Speaker } from "../../src/bgp/mod.ts";
import {
  CLUSTER_ROUTER,
  clusterRouter,
  type Domain,
  Entitlement,
  isReflector,
  type RemoteChange,
  RemoteTable,
} from "../../src/domain/mod.ts";
import { formatIp, formatMac, formatPrefix, parseIp, parseMac, parsePrefix } from "../../src/net/mod.ts";
import type { Mesh } from "../../src/resources/mod.ts";
import { type MemberOrder, type MemberSpec, type MemberState, revived, tenants } from "./evpn-orders.ts";

const spec = revived(process.argv[2] as string) as MemberSpec;
const nodes = spec.nodes.map(({ name, hub, overlay4 }) => ({ name, hub, overlay4: parseIp(overlay4) }));
const self = nodes.find(({ name }) => name === spec.self) as (typeof nodes)[number];
const addresses = spec.reflectors?.map(parseIp);
const mesh: Pick<Mesh, "asn" | "reflectors"> = {
  asn: 64512,
  ...(addresses === undefined ? {} : { reflectors: { addresses } }),
};
const domains: readonly Domain[] = tenants;
const told = new Map<string, string>();
const logged: string[] = [];
const table = new RemoteTable({ own: [self.overlay4] });

/** As ip(8) and bridge(8) would have it. */
function follow(changes: readonly RemoteChange[]): void {
  for (const { op, remote } of changes) {
    const what =
      remote.kind === "prefix"
        ? formatPrefix(remote.prefix)
        : remote.kind === "flood"
          ? `flood ${formatIp(remote.vtep)}`
          : `${formatMac(remote.mac)} ${remote.ip === undefined ? "-" : formatIp(remote.ip)}`;
    const name = `${remote.vni} ${what}`;
    if (op === "remove") told.delete(name);
    else if (remote.kind === "prefix")
      told.set(name, `${name} via ${remote.hops.map(({ vtep }) => formatIp(vtep)).join(" ")}`);
    else told.set(name, remote.kind === "flood" ? name : `${name} dst ${formatIp(remote.vtep)}`);
  }
}

function guard(speaker: Speaker, blue: readonly string[]): void {
  const entitlement = new Entitlement({
    asn: mesh.asn,
    openVnis: true,
    domains,
    nodes: nodes.map(({ name, overlay4 }) => ({ name, overlay4, vteps: [overlay4] })),
    mayServe: ({ name }, node) => name !== "blue" || blue.includes(node),
  });
  speaker.guardEvpn((neighbor, claim) => entitlement.refusal(neighbor, claim));
}

const routers = new Routers({
  folder: spec.folder,
  log: (event, fields) => void logged.push(`${event} ${JSON.stringify(fields)}`),
  onSpeaker: (speaker) => {
    speaker.onEvpn((changes) => follow(table.apply(changes)));
    if (isReflector(mesh, self)) guard(speaker, ["d"]);
  },
});
for (const [, error] of routers.set([clusterRouter({ mesh, self, nodes, takesPart: true })])) throw error;
const speaker = routers.speaker(CLUSTER_ROUTER);
if (speaker === undefined) throw new Error("the router does not run");
const { evpn } = speaker;

function stateOf(): MemberState {
  return {
    sessions: Object.fromEntries(
      (routers.speaker(CLUSTER_ROUTER)?.neighbors ?? []).map(({ name, session }) => [
        name,
        session.negotiated === undefined ? "down" : "up",
      ]),
    ),
    bfd: Object.fromEntries(
      (routers.speaker(CLUSTER_ROUTER)?.neighbors ?? []).map(({ name }) => [
        name,
        routers.bfdOf(speaker as NonNullable<typeof speaker>, name)?.state ?? "unknown",
      ]),
    ),
    remotes: [...told.values()].sort(),
    routes: speaker?.rib.tables.get(spec.evpnFamily)?.keys.size ?? 0,
    paths: speaker?.rib.tables.get(spec.evpnFamily)?.paths.size ?? 0,
    logged,
  };
}

const vtep = self.overlay4;
const routerMac = parseMac(
  `02:00:0a:5a:00:${Number(vtep.value & 0xffn)
    .toString(16)
    .padStart(2, "0")}`,
);

function obey(order: MemberOrder): MemberState {
  switch (order.do) {
    case "state":
      return stateOf();
    case "activate": {
      const active = domains
        .map((domain) => ({
          domain,
          segments: domain.segments.map(({ vni }) => vni).filter((vni) => order.segments.includes(vni)),
        }))
        .filter(({ segments }) => segments.length > 0);
      for (const { domain, segments } of active) {
        evpn.setRouting({ vni: domain.vni, vtep, routerMac });
        for (const segment of domain.segments.filter(({ vni }) => segments.includes(vni))) {
          evpn.setSegment({ vni: segment.vni, vtep, flood: true, l3vni: domain.vni });
          for (const prefix of segment.prefixes) evpn.setPrefix(domain.vni, { prefix });
        }
      }
      follow(table.setActive(active));
      return stateOf();
    }
    case "host":
      evpn.setHost(order.vni, {
        mac: parseMac(order.mac),
        ip: parseIp(order.ip),
        claim: order.claim ?? "arrived",
      });
      return stateOf();
    case "unhost":
      evpn.removeHost(order.vni, { mac: parseMac(order.mac), ip: parseIp(order.ip) });
      return stateOf();
    case "segment":
      evpn.setSegment({
        vni: order.vni,
        vtep: parseIp(order.vtep),
        flood: true,
        ...(order.rd === undefined ? {} : { rd: order.rd }),
        ...(order.targets === undefined
          ? {}
          : { exportTargets: order.targets, importTargets: order.targets }),
      });
      return stateOf();
    case "serve":
      guard(speaker as Speaker, order.blue);
      return stateOf();
    case "prefix":
      evpn.setPrefix(order.vni, { prefix: parsePrefix(order.prefix), localPreference: order.preference });
      return stateOf();
    case "stop":
      routers.stop();
      process.exit(0);
  }
}

for await (const line of console)
  process.stdout.write(`${JSON.stringify(obey(JSON.parse(line) as MemberOrder))}\n`);
process.exit(0);
