/** ShortWays: the program of each segment that leads frames from other nodes past the bridge, kept as pods come and go. */
import { type LocalAttachment, portOf, shortWays, vxlanOf } from "../domain/mod.ts";
import type { Engine } from "../engine/mod.ts";
import type { Rtnetlink } from "../netlink/mod.ts";
import type { QuickPrograms } from "./quick-programs.ts";

/** ShortWaysOptions are the place's. */
export interface ShortWaysOptions {
  readonly engine: Engine;
  readonly route: Rtnetlink;
  readonly programs: QuickPrograms;
}

/** ShortWays owns the scopes `way/…` of a domain's engine. */
export class ShortWays {
  readonly #options: ShortWaysOptions;
  /** Id of an attachment → index of the node's end of its link. */
  readonly #indices = new Map<string, number>();
  /** Segment → name of its program. */
  readonly #names = new Map<number, string>();

  constructor(options: ShortWaysOptions) {
    this.#options = options;
  }

  /**
   * lead has frames for these pods, the stations of a segment that are here and nowhere else, go the short way. Pods in security groups hear what their rules
   * let through: those are the bridge's.
   */
  lead(vni: number, attachments: readonly LocalAttachment[]): void {
    const { engine, programs } = this.#options;
    const free = programs.wanted ? attachments.filter(({ groups }) => groups.length === 0) : [];
    const ways = free.flatMap((one) => {
      const linkIndex = this.#indexOf(one.id);
      return linkIndex === undefined ? [] : [{ mac: one.mac, linkIndex }];
    });
    const scope = scopeOf(vni);
    const program = ways.length === 0 ? undefined : shortWays(ways);
    if (program?.name === this.#names.get(vni)) return;
    this.#names.delete(vni);
    if (program === undefined) engine.remove(scope);
    else engine.set(scope, [{ kind: "filter", link: vxlanOf(vni), program }]);
    engine.apply(scope);
    if (program === undefined) return;
    this.#names.set(vni, program.name);
    const refused = engine.status(scope).find(({ state }) => state !== "ready");
    if (refused === undefined) return;
    programs.refuse(refused.reason ?? `${refused.key} is not ready`);
    this.#names.delete(vni);
    engine.remove(scope);
    engine.apply(scope);
  }

  /** forget says that an attachment's link is gone. */
  forget(id: string): void {
    this.#indices.delete(id);
  }

  #indexOf(id: string): number | undefined {
    const known = this.#indices.get(id) ?? this.#options.route.link(portOf(id))?.index;
    if (known !== undefined) this.#indices.set(id, known);
    return known;
  }
}

function scopeOf(vni: number): string {
  return `way/${vni}`;
}
