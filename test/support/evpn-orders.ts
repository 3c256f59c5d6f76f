/** What processes of evpn-member.ts are told, and answer; and the tenants that they know. */
import type { Domain, Segment } from "../../src/domain/mod.ts";
import { parseInterfaceAddress, parseMac, parsePrefix } from "../../src/net/mod.ts";
import type { BgpFamily } from "../../src/bgp/wire/mod.ts";

/** MemberSpec is what a process begins with. */
export interface MemberSpec {
  readonly self: string;
  readonly folder: string;
  readonly nodes: readonly { readonly name: string; readonly hub: boolean; readonly overlay4: string }[];
  /** Addresses of reflectors that are no nodes. */
  readonly reflectors?: readonly string[];
  readonly evpnFamily: BgpFamily;
}

/** MemberOrder is one thing to do. */
export type MemberOrder =
  | { readonly do: "state" }
  | { readonly do: "stop" }
  | { readonly do: "activate"; readonly segments: readonly number[] }
  | {
      readonly do: "host";
      readonly vni: number;
      readonly mac: string;
      readonly ip: string;
      readonly claim?: "arrived" | "known";
    }
  | { readonly do: "unhost"; readonly vni: number; readonly mac: string; readonly ip: string }
  | {
      readonly do: "segment";
      readonly vni: number;
      readonly vtep: string;
      readonly rd?: string;
      readonly targets?: readonly string[];
    }
  /** On a reflector: which nodes may serve `blue`. */
  | { readonly do: "serve"; readonly blue: readonly string[] }
  | { readonly do: "prefix"; readonly vni: number; readonly prefix: string; readonly preference: number };

/** MemberState is what a process knows. */
export interface MemberState {
  /** `up` or `down`, by the neighbor's address. */
  readonly sessions: Readonly<Record<string, string>>;
  readonly bfd: Readonly<Record<string, string>>;
  /** What its data plane would have. */
  readonly remotes: readonly string[];
  /** EVPN routes in its tables, its own included. */
  readonly routes: number;
  /** The same, each as often as it was told. */
  readonly paths: number;
  readonly logged: readonly string[];
}

/** revived reads JSON. */
export function revived(text: string): unknown {
  return JSON.parse(text);
}

function segment(vni: number, prefix: string): Segment {
  return {
    name: `subnet-${vni}`,
    vni,
    prefixes: [parsePrefix(prefix)],
    gateways: [parseInterfaceAddress(prefix.replace("0/", "1/"))],
    gatewayMac: parseMac("02:00:00:00:00:01"),
    importTargets: [`64512:${vni}`],
    exportTargets: [`64512:${vni}`],
  };
}

function domain(name: string, vni: number, segments: readonly Segment[]): Domain {
  const targets = [`64512:${vni}`];
  return { name, vni, routing: { importTargets: targets, exportTargets: targets }, segments, peerings: [] };
}

/** tenants have the same prefixes. `blue` is served by node d alone, unless a reflector is told otherwise. */
export const tenants: readonly Domain[] = [
  domain("red", 5000, [segment(5001, "10.1.0.0/24"), segment(5002, "10.2.0.0/24")]),
  domain("blue", 6000, [segment(6001, "10.1.0.0/24")]),
];
