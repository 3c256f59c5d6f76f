/**
 * Rules that join several nodes of a configuration, judged over the whole of it: after every change, however small. Vita looks at the part that
 * was sent only, and so accepts by parts what it refuses as a whole.
 */
import { formatIp, ipEqual } from "../net/mod.ts";
import { identityOf } from "./identity.ts";
import { keyPath } from "./path.ts";
import type { ConfigProblem } from "./problem.ts";
import { hostRule, type Report } from "./rule.ts";
import { associationRules } from "./rules-associations.ts";
import { routeRules } from "./rules-routes.ts";
import { configSchema, type GatewayConfig, type LinkConfig, type PublicLinkConfig } from "./schema.ts";
import {
  type Entries,
  formatLeaf,
  type LeafList,
  leafTypeOf,
  type List,
  type Members,
  type Struct,
  type Value,
} from "./schema-node.ts";

/** Findings are what the rules say. */
export interface Findings {
  /** What keeps the configuration from being used. */
  readonly problems: readonly ConfigProblem[];
  /** What can be used, and is likely not what somebody wanted. */
  readonly warnings: readonly ConfigProblem[];
}

/** The interfaces of a configuration with their paths, the private ones first. */
function links(config: GatewayConfig): { path: string; link: LinkConfig; outside?: PublicLinkConfig }[] {
  const result: { path: string; link: LinkConfig; outside?: PublicLinkConfig }[] = [];
  for (const name of ["private-interface4", "private-interface6"] as const) {
    const link = config[name];
    if (link !== undefined) result.push({ path: `/${name}`, link });
  }
  for (const name of ["public-interface4", "public-interface6"] as const)
    for (const [key, link] of config[name]) result.push({ path: `/${name}[ip=${key}]`, link, outside: link });
  return result;
}

/** Entries whose lists were judged and were good: most of a configuration is the same after a change. */
const judged = new WeakSet<Struct>();

/** What each list says of itself: how many entries, and what no two of them share. True if all is good. */
function listRules(members: Members, value: Struct, path: string, report: Report): boolean {
  if (judged.has(value)) return true;
  let good = true;
  const wrong: Report = (...found) => {
    good = false;
    report(...found);
  };
  for (const [name, node] of Object.entries(members)) {
    const member = value[name];
    if (node.kind === "leaf" || member === undefined) continue;
    const here = `${path}/${name}`;
    if (node.kind === "container") good = listRules(node.members, member as Struct, here, report) && good;
    else if (node.kind === "leaf-list") valueRules(node, member as readonly Value[], here, wrong);
    else if (!entryRules(node, member as Entries, here, wrong)) good = false;
  }
  if (good) judged.add(value);
  return good;
}

/** RFC 7950, section 7.7: values of a leaf-list are unique. */
function valueRules(node: LeafList<unknown>, values: readonly Value[], path: string, report: Report): void {
  if (values.length < node.least) report(path, `requires at least ${node.least}; add it`);
  const seen = new Set<string>();
  for (const [i, value] of values.entries()) {
    const text = formatLeaf(node.type, value);
    if (seen.has(text)) report(`${path}[position()=${i + 1}]`, "is there twice; keep one", text);
    seen.add(text);
  }
}

function entryRules(node: List<Members>, entries: Entries, path: string, report: Report): boolean {
  if (entries.size < node.least) report(path, `requires at least ${node.least} element(s); add one`);
  if (entries.size > node.most)
    report(path, `has more entries than the ${node.most} that it may have; remove some`, `${entries.size}`);
  for (const names of node.unique) uniqueRule(node, names, { entries, path, report });
  let good = true;
  for (const [key, entry] of entries)
    if (!judged.has(entry))
      good = listRules(node.members, entry, `${path}${keyPath(node, key)}`, report) && good;
  return good;
}

function uniqueRule(
  node: List<Members>,
  names: readonly string[],
  at: { readonly entries: Entries; readonly path: string; readonly report: Report },
): void {
  const seen = new Map<string, string>();
  const hidden = names.some((name) => leafTypeOf(node.members, name).secret);
  for (const [key, entry] of at.entries) {
    const path = `${at.path}${keyPath(node, key)}`;
    const identity = names.map((name) => identityOf(leafTypeOf(node.members, name), entry[name])).join(" ");
    const other = seen.get(identity);
    const rule = `is not unique: ${other} has it; write another`;
    if (other === undefined) seen.set(identity, path);
    else at.report(`${path}/${names.join(" ")}`, rule, hidden ? undefined : identity);
  }
}

function linkRules(config: GatewayConfig, report: Report): void {
  const owners = new Map<string, string>();
  for (const { path, link, outside } of links(config)) {
    if (link.pci === undefined && link.ifname === undefined)
      report(path, "names no interface; add ifname, or pci");
    if (link.pci !== undefined && link.ifname !== undefined)
      report(path, "names an interface twice; keep one of ifname and pci");
    hostRule(`${path}/ip`, link.ip, report);
    hostRule(`${path}/nexthop-ip`, link["nexthop-ip"], report);
    if (outside?.["nat-ip"] !== undefined) hostRule(`${path}/nat-ip`, outside["nat-ip"], report);
    if (ipEqual(link.ip, link["nexthop-ip"]))
      report(`${path}/nexthop-ip`, "is the interface's own address; write its neighbor's", formatIp(link.ip));
    const other = owners.get(formatIp(link.ip));
    if (other !== undefined) report(`${path}/ip`, `is not unique: ${other} has it`, formatIp(link.ip));
    else owners.set(formatIp(link.ip), path);
  }
}

function sideRules(config: GatewayConfig, report: Report): void {
  const inside = config["private-interface4"] ?? config["private-interface6"];
  if (inside !== undefined && config.vpc !== undefined)
    report("/vpc", "is the private side, and so is an interface; keep one of them", config.vpc);
  for (const name of ["public-interface4", "public-interface6"] as const)
    if (config[name].size > 0 && inside === undefined && config.vpc === undefined)
      report(`/${name}`, "needs a private side; set private-interface4, private-interface6 or vpc before");
}

/** deviceOf returns the name of an interface's device; undefined for `pci 00:00.0`, which means that there is none. */
function deviceOf(link: LinkConfig): string | undefined {
  return link.ifname ?? (link.pci === "00:00.0" ? undefined : link.pci);
}

/** Which queue of which device a work queue binds: no two work queues the same. */
function deviceRules(config: GatewayConfig, report: Report): void {
  const inside = new Map<string, string>();
  const bound = new Map<string, { readonly path: string; readonly queue: number; readonly family: number }>();
  for (const { path, link, outside } of links(config)) {
    const device = deviceOf(link);
    if (device === undefined) continue;
    if (outside === undefined) {
      inside.set(device, path);
      continue;
    }
    const own = inside.get(device);
    // The kernel tells the sides apart by addresses; a packet path of ours has one device for each.
    if (own !== undefined && (config.backend !== "kernel" || link.pci !== undefined))
      report(path, `is the device of ${own}; the sides need one each, unless backend is kernel`, device);
    const number = outside["device-queue"] ?? outside.queue;
    const at = `${device} ${number}`;
    const other = bound.get(at);
    const { family } = link.ip;
    if (other !== undefined && (other.family === family || other.queue !== outside.queue))
      report(
        `${path}/device-queue`,
        `is bound by ${other.path} already; write another queue of ${device}`,
        `${number}`,
      );
    else bound.set(at, { path, queue: outside.queue, family });
  }
}

function timeWarnings(config: GatewayConfig, warn: Report): void {
  const negotiation = config["negotiation-ttl"];
  // A new SA is used after 1.5 times negotiation-ttl, and is asked for after half of sa-ttl.
  if (negotiation * 3 >= config["sa-ttl"])
    warn(
      "/sa-ttl",
      `leaves gaps between keys: it is not more than 3 times negotiation-ttl, which is ${negotiation}`,
      `${config["sa-ttl"]}`,
    );
}

/** What only user space looks at: with the kernel, interfaces and neighbours are the host's. */
const OF_USER_SPACE = ["mac", "nexthop-mac", "device-queue"] as const;

function backendWarnings(config: GatewayConfig, warn: Report): void {
  if (config.backend !== "kernel") return;
  const rule = "has no effect with backend kernel; remove it";
  for (const { path, link, outside } of links(config))
    for (const name of OF_USER_SPACE)
      if (({ ...link, ...outside } as Partial<PublicLinkConfig>)[name] !== undefined)
        warn(`${path}/${name}`, rule);
  if (config.cpu.length > 0) warn("/cpu", rule, config.cpu.join(" "));
}

/** checkConfig judges a whole configuration. */
export function checkConfig(config: GatewayConfig): Findings {
  const problems: ConfigProblem[] = [];
  const warnings: ConfigProblem[] = [];
  const into =
    (list: ConfigProblem[]): Report =>
    (path, rule, value) =>
      list.push({ path, rule, ...(value === undefined ? {} : { value }) });
  const report = into(problems);
  const warn = into(warnings);
  listRules(configSchema, config, "", report);
  linkRules(config, report);
  sideRules(config, report);
  deviceRules(config, report);
  routeRules(config, { report, warn });
  associationRules(config, { report, warn });
  timeWarnings(config, warn);
  backendWarnings(config, warn);
  return { problems, warnings };
}
