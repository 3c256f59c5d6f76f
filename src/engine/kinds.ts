/** The handlers of all kinds: a new kind does not compile until it has one. */
import { address } from "./address.ts";
import { fdb } from "./fdb.ts";
import { filter } from "./filter.ts";
import type { KindHandler } from "./kind.ts";
import { link } from "./link.ts";
import { neighbour } from "./neighbour.ts";
import { nexthop } from "./nexthop.ts";
import { element, ruleset } from "./nftables.ts";
import type { KernelObject } from "./object.ts";
import { proxy } from "./proxy.ts";
import { qdisc } from "./qdisc.ts";
import { route } from "./route.ts";
import { rule } from "./rule.ts";
import { sysctl } from "./sysctl.ts";
import { peer, wireguard } from "./wireguard.ts";

type Handlers = { readonly [K in KernelObject["kind"]]: KindHandler<Extract<KernelObject, { kind: K }>> };

const handlers: Handlers = {
  link,
  address,
  route,
  nexthop,
  neighbour,
  proxy,
  fdb,
  rule,
  qdisc,
  filter,
  wireguard,
  peer,
  ruleset,
  element,
  sysctl,
};

/** handlerOf returns the handler of an object's kind. */
export function handlerOf(object: KernelObject): KindHandler<KernelObject> {
  return handlers[object.kind] as unknown as KindHandler<KernelObject>;
}

/** allHandlers lists every kind's handler. */
export function allHandlers(): KindHandler<KernelObject>[] {
  return Object.values(handlers) as unknown as KindHandler<KernelObject>[];
}
