/** Future: the kernel as it will be while a plan is carried out, so that later steps are planned on what earlier ones make. */
import type { LinkInfo } from "../netlink/mod.ts";
import type { Action, View } from "./kind.ts";
import { BARE } from "./link.ts";
import type { Mirror } from "./mirror.ts";
import type { KernelObject } from "./object.ts";
import { emptyView } from "./wireguard-view.ts";

/** Future starts as the kernel is; it costs nothing until something is expected of it. */
export class Future {
  /** The view to plan the next step with. */
  view: View;
  readonly #links = new Map<string, LinkInfo>();
  readonly #nexthops = new Set<string>();
  readonly #rulesets = new Set<string>();
  #begun = false;

  constructor(view: View) {
    this.view = view;
  }

  /** expect takes note of a planned step. */
  expect(object: KernelObject, action: Action): void {
    if (action === "change" || action === "delete") return;
    if (object.kind === "link") {
      if (action === "replace") this.#replaced(object.name);
      this.#expectLink(object.name, object.type);
      // The other end of a pair comes with it, unless it is made in another namespace.
      if (object.type === "veth" && object.peer.netns === undefined)
        this.#expectLink(object.peer.name, "veth");
    } else if (object.kind === "nexthop") this.#nexthops.add(`nexthop ${object.id}`);
    else if (object.kind === "ruleset") this.#rulesets.add(object.family);
    else return;
    this.#begin();
  }

  #expectLink(name: string, kind: string): void {
    this.#links.set(name, { ...BARE, name, kind, index: -2 - this.#links.size });
  }

  #replaced(link: string): void {
    const mirror = (this.view.mirror as Mirror).without(link);
    this.#begun = false;
    this.view = { ...this.view, mirror };
  }

  #begin(): void {
    if (this.#begun) return;
    this.#begun = true;
    const { view } = this;
    const { mirror } = view;
    const nexthop = new Proxy(mirror.tables.nexthop, {
      get: (table, name) =>
        name === "has"
          ? (key: string) => this.#nexthops.has(key) || table.has(key)
          : Reflect.get(table, name, table).bind(table),
    });
    const empty = new Map<string, never>();
    const sets = { get: () => empty } as unknown as ReadonlyMap<string, Map<string, never>>;
    this.view = {
      ...view,
      mirror: {
        addressProtocol: mirror.addressProtocol,
        links: () => mirror.links(),
        nameOf: (index) => mirror.nameOf(index),
        link: (name) => this.#links.get(name) ?? mirror.link(name),
        tables: { ...mirror.tables, nexthop },
      },
      wireguard: (link) => view.wireguard(link) ?? (this.#links.has(link) ? emptyView() : undefined),
      table: (family) =>
        this.#rulesets.has(family) ? { mark: undefined, listing: "", sets } : view.table(family),
      sysctl: (path) =>
        view.sysctl(path) ?? (path.split("/").some((part) => this.#links.has(part)) ? "" : undefined),
    };
  }
}
