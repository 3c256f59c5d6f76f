/**
 * GatewayWorld: two nodes that can be gateways, on one LAN with the world outside; the fabric between domains is plain cables.
 *
 * ```
 *   world ══ LAN 192.0.2.0/24, 2001:db8::/64 ══ one, two ── legs ── one-300, two-300 ── cables ── far-300 ── pods
 *                                               .1   .2                                           a node that is no gateway
 * ```
 */
import {
  type Domain,
  type FloatingIp,
  followedPrefix,
  floatingElements,
  type GatewaySeat,
  gatewayFamilies,
  hostLegObjects,
  isActiveGateway,
  LEG_RULES,
  legObjects,
  type NatGateway,
  outsideAddresses,
  type RemotePrefix,
  serviceRuleset,
} from "../../src/domain/mod.ts";
import type { KernelObject } from "../../src/engine/mod.ts";
import { formatIp, type Ip, parseIp, parseMac, parsePrefix, prefixContains } from "../../src/net/mod.ts";
import { DomainWorld } from "./domain-world.ts";

export const NODES = ["one", "two"] as const;
export type GatewayNode = (typeof NODES)[number];

const VTEPS: Record<string, Ip> = { one: parseIp("192.0.2.1"), two: parseIp("192.0.2.2") };
export const WORLD = { 4: "192.0.2.9", 6: "2001:db8::9" } as const;
const LAN = [parsePrefix("192.0.2.0/24"), parsePrefix("2001:db8::/64")];
const EVERYWHERE = { 4: parsePrefix("0.0.0.0/0"), 6: parsePrefix("::/0") } as const;

/** tenant is a domain with one segment of the same prefixes as every other's. */
export function tenant(vni: number, prefixes = ["10.0.0.0/24", "fd00::/64"]): Domain {
  return {
    name: `tenant-${vni}`,
    vni,
    routing: { importTargets: [], exportTargets: [] },
    segments: [
      {
        ...{ name: "net", vni: vni + 1, importTargets: [], exportTargets: [], gateways: [] },
        prefixes: prefixes.map((text) => parsePrefix(text)),
        gatewayMac: parseMac("02:00:00:00:00:01"),
      },
    ],
    peerings: [],
  };
}

/** gatewayOf is the gateway of a tenant on both nodes. */
export function gatewayOf(vni: number, more: Partial<NatGateway> = {}): NatGateway {
  return { name: `out-${vni}`, domain: vni, nodes: NODES, prefixes: [], externalAddresses: [], ...more };
}

/** GatewayWorld is a DomainWorld that knows which gateway nodes live. */
export class GatewayWorld extends DomainWorld {
  readonly #live = new Set<string>(NODES);
  readonly #tenants: { gateway: NatGateway; floating: readonly FloatingIp[] }[] = [];

  constructor() {
    super();
    this.bridge("world", "lan", `${WORLD[4]}/24`, `${WORLD[6]}/64`);
    for (const [index, node] of NODES.entries()) {
      this.router(node);
      this.cable([
        ["world", node],
        [node, "eth0", `192.0.2.${index + 1}/24`, `2001:db8::${index + 1}/64`],
      ]);
      this.run("world", `ip link set ${node} master lan`);
      this.set(node, "rules", [{ kind: "ruleset", family: "inet", text: LEG_RULES }]);
    }
  }

  /** tenant makes a tenant's namespaces, with one pod 10.0.0.5 and fd00::5 at the node that is no gateway. */
  tenant(vni: number): void {
    const far = `far-${vni}`;
    this.router(far);
    this.bridge(far, "br0", "10.0.0.1/24", "fd00::1/64");
    this.pod(`pod-${vni}`, { domain: far, bridge: "br0", addresses: ["10.0.0.5/24", "fd00::5/64"] });
    for (const [index, node] of NODES.entries()) {
      this.router(`${node}-${vni}`);
      const net = `10.255.${index}`;
      this.cable([
        [far, node, `${net}.1/24`, `fd0${index + 1}::1/64`],
        [`${node}-${vni}`, "fabric", `${net}.2/24`, `fd0${index + 1}::2/64`],
      ]);
      this.run(`${node}-${vni}`, `ip route add 10.0.0.0/24 via ${net}.1`);
      this.run(`${node}-${vni}`, `ip route add fd00::/64 via fd0${index + 1}::1`);
    }
    this.cable([
      ["one-" + vni, "between", "10.255.9.1/24", "fd09::1/64"],
      ["two-" + vni, "between", "10.255.9.2/24", "fd09::2/64"],
    ]);
  }

  /** serve makes what the services ask for true, on all nodes; call it again after changes. */
  serve(gateway: NatGateway, floating: readonly FloatingIp[] = []): void {
    const at = this.#tenants.findIndex((one) => one.gateway.domain === gateway.domain);
    this.#tenants.splice(at < 0 ? this.#tenants.length : at, at < 0 ? 0 : 1, { gateway, floating });
    this.#settle();
  }

  /** withdraw removes a tenant's gateway. */
  withdraw(vni: number): void {
    this.#tenants.splice(
      this.#tenants.findIndex(({ gateway }) => gateway.domain === vni),
      1,
    );
    for (const node of NODES) for (const scope of ["gateway", "table"]) this.set(`${node}-${vni}`, scope, []);
    this.#settle();
  }

  /** die lets everybody hear that a node is dead; `live` that it is back. */
  die(node: GatewayNode): void {
    this.#live.delete(node);
    this.#settle();
  }

  live(node: GatewayNode): void {
    this.#live.add(node);
    this.#settle();
  }

  #settle(): void {
    for (const { gateway, floating } of this.#tenants) {
      const domain = tenant(gateway.domain);
      for (const node of NODES)
        if (this.#live.has(node)) this.#gatewayNode(node, { gateway, domain, floating });
      this.#follow("far", { gateway, domain });
      for (const family of [4, 6] as const) this.#wayIn(family);
    }
    for (const node of NODES) if (this.#live.has(node)) this.#host(node);
  }

  #heard(self: string, { gateway, domain }: { gateway: NatGateway; domain: Domain }): RemotePrefix[] {
    return gatewayFamilies(gateway, domain).map((family) => ({
      kind: "prefix",
      vni: domain.vni,
      prefix: EVERYWHERE[family],
      hops: NODES.filter((node) => node !== self && this.#live.has(node) && gateway.nodes.includes(node)).map(
        (node) => ({ vtep: VTEPS[node] as Ip, routerMac: parseMac("02:00:00:00:00:02") }),
      ),
    }));
  }

  #seat(self: string): GatewaySeat {
    return { self, vtepOf: (node) => VTEPS[node] };
  }

  /** What EVPN would install, by the cables. */
  #follow(self: string, about: { gateway: NatGateway; domain: Domain }): void {
    const routes = this.#heard(self, about).flatMap((remote): KernelObject[] => {
      const hop = followedPrefix(remote, about.gateway, this.#seat(self))?.hops[0];
      if (hop === undefined) return [];
      const node = NODES.find((one) => formatIp(VTEPS[one] as Ip) === formatIp(hop.vtep)) as GatewayNode;
      const index = NODES.indexOf(node);
      const four = remote.prefix.family === 4;
      const [dev, via] =
        self === "far"
          ? [node, four ? `10.255.${index}.2` : `fd0${index + 1}::2`]
          : ["between", four ? `10.255.9.${index + 1}` : `fd09::${index + 1}`];
      return [{ kind: "route", destination: remote.prefix, metric: 1, hops: [{ via: parseIp(via), dev }] }];
    });
    this.set(`${self}-${about.domain.vni}`, "evpn", routes);
  }

  #gatewayNode(
    node: GatewayNode,
    about: { gateway: NatGateway; domain: Domain; floating: readonly FloatingIp[] },
  ): void {
    const { gateway, domain, floating } = about;
    const inside = `${node}-${domain.vni}`;
    const text = serviceRuleset({ domain, gateway, peerings: [], groupLists: [], groups: new Map() });
    this.set(inside, "table", [{ kind: "ruleset", family: "inet", text }, ...floatingElements(floating)]);
    this.set(inside, "gateway", legObjects(gateway, domain, { mtuBytes: 1400, home: this.netns(node) }));
    this.#follow(node, about);
  }

  #host(node: GatewayNode): void {
    const legs = this.#tenants.map(({ gateway, floating }) => {
      const domain = tenant(gateway.domain);
      const heard = this.#heard(node, { gateway, domain });
      const seat = this.#seat(node);
      const active = gatewayFamilies(gateway, domain).filter((family) =>
        isActiveGateway(heard, gateway, { seat, family }),
      );
      return { gateway, domain, floating, active };
    });
    this.set(node, "gateways", hostLegObjects(legs, { links: ["eth0"] }));
  }

  /** The world sends to outside addresses where the live gateway is, as BGP would tell it. */
  #wayIn(family: 4 | 6): void {
    const routes = this.#tenants.flatMap(({ gateway, floating }) => {
      const node = gateway.nodes.find((one) => this.#live.has(one));
      const via =
        family === 4 ? VTEPS[node ?? ""] : parseIp(`2001:db8::${NODES.indexOf(node as GatewayNode) + 1}`);
      return outsideAddresses({ gateway, floating })
        .filter((address) => address.family === family && via !== undefined)
        .filter((address) => !LAN.some((prefix) => prefixContains(prefix, address)))
        .map((address): KernelObject => ({
          ...{ kind: "route", destination: parsePrefix(`${formatIp(address)}/${family === 4 ? 32 : 128}`) },
          hops: [{ via: via as Ip, dev: "lan" }],
        }));
    });
    this.set("world", `in${family}`, routes);
  }
}
