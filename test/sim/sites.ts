/** Kinds of places where nodes are, and what rung two of them can reach at best. */
import { ip, parseIp } from "../../src/net/mod.ts";
import type { LadderMode } from "../../src/mesh/mod.ts";
import type { Weather } from "./internet.ts";
import type { NatBehaviour } from "./nat-box.ts";
import { SimHost } from "./sim-host.ts";
import type { SimNode } from "./sim-node.ts";
import type { SimWorld } from "./sim-world.ts";

/** SITES are kinds of places. */
export const SITES = [
  "public",
  "forwarded",
  "mapped",
  "full-cone",
  "restricted",
  "port-restricted",
  "firewalled",
  "symmetric",
  "double",
  "double-symmetric",
  "ipv6",
  "ipv6-firewalled",
  "dual",
  "blocked",
] as const;

export type Site = (typeof SITES)[number];

const TIMEOUT_MS = 60_000;
const nat = (
  mapping: NatBehaviour["mapping"],
  filtering: NatBehaviour["filtering"],
  options: Partial<NatBehaviour> = {},
): NatBehaviour => ({ mapping, filtering, timeoutMs: TIMEOUT_MS, hairpin: false, ...options });

const BOXES: Readonly<Partial<Record<Site, NatBehaviour>>> = {
  forwarded: nat("independent", "port"),
  mapped: nat("dependent", "port"),
  "full-cone": nat("independent", "none"),
  restricted: nat("independent", "address"),
  "port-restricted": nat("independent", "port"),
  symmetric: nat("dependent", "port"),
  double: nat("independent", "port"),
  "double-symmetric": nat("dependent", "port"),
  blocked: nat("independent", "port"),
};

/** settle makes a node at a place of its own. */
export function settle(
  world: SimWorld,
  options: {
    readonly name: string;
    readonly site: Site;
    readonly weather: Weather;
    readonly mode?: LadderMode;
    readonly behaviour?: Partial<NatBehaviour>;
  },
): SimNode {
  const { name, site, weather } = options;
  const host = new SimHost(name);
  const behaviour = BOXES[site];
  const mode = options.mode === undefined ? {} : { mode: options.mode };
  // The weather is that of the way to the Internet; a box has it in place of the host.
  const near: Weather = { delayMs: 1 };
  const inner = ip(4, 0xc0a80000n + BigInt(world.nodes.size + 1) * 256n + 5n);
  switch (site) {
    case "public":
    case "dual":
    case "ipv6":
      if (site !== "ipv6") host.plug(world.internet, world.publicIp(4), weather);
      if (site !== "public") host.plug(world.internet, world.publicIp(6), weather);
      break;
    case "firewalled":
    case "ipv6-firewalled": {
      const address = world.publicIp(site === "firewalled" ? 4 : 6);
      const lan = world.addLan(name, { behaviour: nat("none", "port"), weather });
      world.boxes.get(name)?.pass(address);
      host.plug(lan, address, near);
      break;
    }
    case "double":
    case "double-symmetric": {
      const middle = world.addLan(`${name}/isp`, { behaviour: nat("independent", "port"), weather });
      const outside = { outside: middle, outerIp: parseIp("100.64.0.9"), weather: near };
      const lan = world.addLan(name, {
        behaviour: { ...(behaviour as NatBehaviour), ...options.behaviour },
        ...outside,
      });
      host.plug(lan, inner, near);
      break;
    }
    default: {
      const lan = world.addLan(name, {
        behaviour: { ...(behaviour as NatBehaviour), ...options.behaviour },
        weather,
      });
      host.plug(lan, inner, near);
    }
  }
  const box = world.boxes.get(name);
  const outer = box?.outer.ip;
  if (site === "forwarded") box?.forward(15220, { ip: inner, port: 51820 });
  if (site === "mapped") box?.forward(7777, { ip: inner, port: 51820 });
  if (site === "blocked" && box !== undefined) {
    const hubs = world.hubs.flatMap((hub) => hub.host.ips);
    box.permitted = ({ ip: to }) => hubs.some((one) => one.value === to.value);
  }
  const node = world.addNode(host, mode);
  if (outer !== undefined && site === "forwarded") {
    const text = [24n, 16n, 8n, 0n].map((shift) => (outer.value >> shift) & 255n).join(".");
    node.endpoints = [`${text}:15220`];
  }
  if (outer !== undefined && site === "mapped") node.mapped = [{ ip: outer, port: 7777 }];
  return node;
}

const OPEN: ReadonlySet<Site> = new Set(["public", "forwarded", "mapped", "dual"]);
const STRICT: ReadonlySet<Site> = new Set(["port-restricted", "firewalled", "double"]);
const CHANGING: ReadonlySet<Site> = new Set(["symmetric", "double-symmetric"]);

/** bestRung returns what two places can reach at best. */
export function bestRung(a: Site, b: Site): "direct" | "punched" | "relay" {
  const both = (test: (site: Site) => boolean) => test(a) && test(b);
  const either = (test: (site: Site) => boolean) => test(a) || test(b);
  if (either((site) => site === "blocked")) return "relay";
  const six = (site: Site) => site === "ipv6" || site === "ipv6-firewalled" || site === "dual";
  const onlySix = (site: Site) => site === "ipv6" || site === "ipv6-firewalled";
  // Firewalls of both sides are opened by what leaves, and addresses are known.
  if (both(six)) return "direct";
  if (either(onlySix)) return "relay";
  if (either((site) => OPEN.has(site))) return "direct";
  if (both((site) => CHANGING.has(site))) return "relay";
  if (either((site) => CHANGING.has(site)) && either((site) => STRICT.has(site))) return "relay";
  if (either((site) => site === "firewalled")) return "direct";
  return "punched";
}
