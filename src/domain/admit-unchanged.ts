/** What of a resource never changes while it is there: interfaces that are attached would be wrong. And VNIs that were given once stay. */
import { formatIp, formatMac, formatPrefix, ipEqual, prefixEqual } from "../net/mod.ts";
import type { Subnet, TenantResource, TenantResources, Vpc } from "../resources/mod.ts";
import type { Report } from "./admit.ts";

type Say = (field: string, value: string, was: string) => void;

/** keepGiven returns resources with the VNIs that the register has given them before. */
export function keepGiven(
  before: TenantResources,
  set: readonly TenantResource[],
  report: Report,
): TenantResource[] {
  return set.map((resource) => {
    const { kind, value } = resource;
    const say: Say = (field, text, was) =>
      report(
        { kind, name: value.name },
        { field, value: text, problem: `was ${was}, and never changes; delete it and apply it anew` },
      );
    if (kind === "VPC") return { kind, value: keepVpc(before.VPC.get(value.name), value, say) };
    if (kind === "Subnet") return { kind, value: keepSubnet(before.Subnet.get(value.name), value, say) };
    const old = before[kind].get(value.name);
    if (old !== undefined && "vpc" in old && "vpc" in value && old.vpc !== value.vpc)
      say("spec.vpc", value.vpc, old.vpc);
    return resource;
  });
}

function keepVni<T extends Vpc | Subnet>(old: T | undefined, value: T, say: Say): T {
  if (old?.vni === undefined) return value;
  if (value.vni !== undefined && value.vni !== old.vni) say("spec.vni", `${value.vni}`, `${old.vni}`);
  return { ...value, vni: old.vni };
}

function keepVpc(old: Vpc | undefined, value: Vpc, say: Say): Vpc {
  if (old !== undefined && old.routed !== value.routed)
    say("spec.routed", `${value.routed}`, `${old.routed}`);
  return keepVni(old, value, say);
}

function keepSubnet(old: Subnet | undefined, value: Subnet, say: Say): Subnet {
  if (old === undefined) return value;
  if (old.vpc !== value.vpc) say("spec.vpc", value.vpc, old.vpc);
  // A network of another family may be added.
  old.prefixes.forEach((prefix, i) => {
    const at = value.prefixes.findIndex(({ family }) => family === prefix.family);
    const now = value.prefixes[at];
    if (now === undefined || !prefixEqual(now, prefix))
      return say("spec.prefixes", value.prefixes.map(formatPrefix).join(", "), formatPrefix(prefix));
    const [was, gateway] = [old.gateways[i], value.gateways[at]];
    if (was !== undefined && gateway !== undefined && !ipEqual(was, gateway))
      say("spec.gateways", formatIp(gateway), formatIp(was));
  });
  if (old.gatewayMac !== value.gatewayMac)
    say(
      "spec.gatewayMac",
      value.gatewayMac === undefined ? "" : formatMac(value.gatewayMac),
      old.gatewayMac === undefined ? "derived from the VNI" : formatMac(old.gatewayMac),
    );
  return keepVni(old, value, say);
}
