/** KindHandler: what the engine has to know of one kind of kernel object. Handlers are pure: values in, values out. */
import type { PeerChange, PrivateKey, Secret, Endpoint } from "../net/mod.ts";
import type { RouteRequest } from "../netlink/mod.ts";
import type { Netns } from "../sys/mod.ts";
import type { Actual } from "./mirror.ts";
import type { TableView } from "./nft-table.ts";
import type { KernelObject, Ruleset, SetElement } from "./object.ts";
import type { DeviceView } from "./wireguard-view.ts";

/** Mark is how we know what is ours. Without `alias` links are not marked, and any link of the right kind is accepted. */
export interface Mark {
  readonly alias?: string;
  readonly protocol: number;
  /** The namespace is ours alone: a link without alias is one that a crash kept us from marking. */
  readonly alone?: boolean;
}

/** Work is what has to be done to the kernel for one step, and by which door. */
export type Work =
  | {
      readonly via: "rtnetlink";
      /** Encoded when they are sent: a plan needs none. */
      readonly requests: readonly (() => RouteRequest)[];
      /** Sent when a request after the one at `after` is refused, so that nothing half-made stays. */
      readonly undo?: { readonly after: number; readonly request: () => RouteRequest };
      /** What no event tells of, or only later: a link by name, the addresses on a link by index, all proxy entries. */
      readonly refresh?: { readonly link?: string; readonly addressesOn?: number; readonly proxies?: true };
    }
  | {
      readonly via: "tun";
      readonly name: string;
      readonly vnetHeader?: boolean;
      readonly multiQueue?: boolean;
      /** Sent before (removal of what is replaced) and after the device is made. */
      readonly before: readonly (() => RouteRequest)[];
      readonly after: readonly (() => RouteRequest)[];
    }
  | {
      /** A VXLAN link that is made from the underlay's namespace; `before` and `after` are sent in the engine's. */
      readonly via: "underlay";
      readonly name: string;
      readonly before: readonly (() => RouteRequest)[];
      readonly make: (netns: Netns | undefined) => RouteRequest;
      readonly after: readonly (() => RouteRequest)[];
    }
  | {
      readonly via: "wireguard";
      readonly link: string;
      readonly device?: { readonly privateKey?: PrivateKey; readonly listenPort?: number };
      readonly peer?: PeerChange;
    }
  | { readonly via: "ruleset"; readonly family: Ruleset["family"]; readonly text: string | undefined }
  | {
      readonly via: "element";
      readonly element: SetElement;
      /** Whether an element of this key is there and has to go (first). */
      readonly remove: boolean;
      readonly add: boolean;
    }
  | {
      readonly via: "sysctl";
      readonly path: string;
      readonly value: string;
      readonly earlier: string | undefined;
    };

/** Action is what a step does to its object. */
export type Action = "add" | "change" | "replace" | "delete";

/** Verdict is what comparing an object with the kernel says. */
export type Verdict =
  | { readonly is: "same" }
  /** Another object must be there first; its appearance wakes this one. */
  | { readonly is: "waits"; readonly reason: string }
  /** It cannot be made true without touching what is not ours. */
  | { readonly is: "refused"; readonly reason: string }
  | { readonly is: "step"; readonly action: Action; readonly text: string; readonly work: Work };

/** SAME is the verdict that nothing has to be done. */
export const SAME: Verdict = { is: "same" };

/** Memory is what we applied and cannot read back, or have to restore. It lasts as long as the engine. */
export interface Memory {
  /** Key of a peer → what was applied last, and what was heard of it. */
  readonly peers: Map<string, PeerMemory>;
  /** Path → value before ours. May outlast the engine. */
  readonly sysctls: Map<string, string>;
}

/** PeerMemory is what the engine keeps of a peer. */
export interface PeerMemory {
  readonly endpoint?: Endpoint;
  readonly presharedKey?: Secret;
  readonly generation?: number;
  readonly endpointSerial?: number;
  /** Received bytes as last read, and since when (monotonic) they are the same. */
  readonly heard?: { readonly rxBytes: number; readonly sinceMs: number };
}

/** View is everything that a handler may look at. */
export interface View {
  readonly mirror: Actual;
  readonly mark: Mark;
  readonly memory: Memory;
  /** Monotonic milliseconds. */
  readonly nowMs: number;
  /** Milliseconds since 1970, by a clock that may jump: only for what the kernel stamps with it. */
  readonly wallMs: number;
  /** State of a WireGuard device; undefined while it is not there. */
  wireguard(link: string): DeviceView | undefined;
  /** Links that have a WireguardConfig. */
  wireguardLinks(): Iterable<string>;
  /** Our table of a family; undefined while it is not there. */
  table(family: Ruleset["family"]): TableView | undefined;
  /** Value of a setting without line end; undefined if it does not exist. */
  sysctl(path: string): string | undefined;
  /** The desired object of a key, and how recently it was asked for (higher is later). */
  wanted(key: string): { readonly object: KernelObject; readonly serial: number } | undefined;
}

/** KindHandler is the behaviour of one kind. */
export interface KindHandler<D extends KernelObject> {
  /** Place in the order of making; removal goes backwards. */
  order(object: D): number;
  /** Identity as text; it begins with the kind and is unique among all objects. */
  key(object: D): string;
  /** Keys of the objects that must exist before this one can. */
  needs(object: D): readonly string[];
  /** Compares with the kernel; what `needs` names is there. `key` is the object's, when it is known. */
  compare(object: D, view: View, key?: string): Verdict;
  /** How to remove it; undefined when it is not there or not ours. */
  remove(object: D, view: View): { readonly text: string; readonly work: Work } | undefined;
  /** Everything of this kind that carries our mark in the kernel. */
  ours(view: View): Iterable<D>;
  /** Called once the object is true, so that what cannot be read back is remembered. */
  settled?(object: D, view: View): void;
}

/** step shortens making a Verdict. A text that is given as a function is made when somebody asks for it: only people read it. */
export function step(action: Action, text: string | (() => string), work: Work): Verdict {
  if (typeof text === "string") return { is: "step", action, text, work };
  return {
    is: "step",
    action,
    work,
    get text() {
      return text();
    },
  };
}

/** requests shortens making Work for rtnetlink. */
export function requests(...list: (() => RouteRequest)[]): Work {
  return { via: "rtnetlink", requests: list };
}

/** words joins what is present with spaces. */
export function words(...parts: (string | false | undefined)[]): string {
  return parts.filter((part) => part !== false && part !== undefined && part !== "").join(" ");
}

/** linkKey is the key of a link of that name. */
export function linkKey(name: string): string {
  return `link ${name}`;
}
