/** Makes the ways between VPCs and out of them that a plan of chaos wants, and compares what is reached by them. */
import type { Lab } from "../../src/lab/mod.ts";
import type { ChaosLab, World } from "./vpc-chaos.ts";
import { floating, floatingAddress, gateway, peering, type Way } from "./vpc-chaos-ways.ts";
import { REFLECTOR, TENANTS, WORLD } from "./vpc-chaos-world.ts";

interface ShownMesh {
  readonly spec: object;
}

/** ChaosOutside remembers where outside addresses lead. */
export class ChaosOutside {
  readonly #lab: Lab;
  readonly #targets = new Map<string, string>();

  constructor(lab: Lab) {
    this.#lab = lab;
  }

  /** begin makes what is there from the beginning. */
  async begin(gateways: ReadonlyMap<string, readonly string[]>): Promise<void> {
    await this.#apply([...gateways].map(([tenant, nodes]) => gateway(tenant, nodes)).join(""));
    await this.#lab.causewayJson("hub", ["node", "assign", REFLECTOR, "--role", "reflector"]);
    await this.#reflect(["hub", "reflector"]);
  }

  /** make makes a way; again, if it was made before. `addressOf` returns the first address of a pod. */
  async make(way: Way, addressOf: (pod: string) => Promise<string>): Promise<void> {
    switch (way.kind) {
      case "peer":
        // Of a hub that is away nobody knows whether it has one: that throws, and is tried again.
        if ((await this.#lab.causewayJson<unknown[]>("hub", ["get", "peering"])).length > 0)
          await this.#lab.causewayJson("hub", ["delete", "peering", "to-shared"]);
        if (way.tenant !== undefined) await this.#apply(peering(way.tenant));
        return;
      case "gateway":
        return this.#apply(gateway(way.tenant, way.nodes));
      case "float": {
        const target = await addressOf(way.target.name);
        await this.#apply(floating(way.tenant, target));
        this.#targets.set(way.tenant, target);
        return;
      }
      case "reflect":
        return this.#reflect(way.roles);
    }
  }

  async #apply(text: string): Promise<void> {
    await this.#lab.causewayJson("hub", ["apply", "-f", "-"], text);
  }

  async #reflect(roles: readonly string[]): Promise<void> {
    const { spec, ...rest } = await this.#lab.causewayJson<ShownMesh>("hub", ["mesh", "show"]);
    const mesh = JSON.stringify({ ...rest, spec: { ...spec, reflectors: { roles } } });
    await this.#lab.causewayJson("hub", ["mesh", "apply", "-"], mesh);
  }

  /** wrong says what is not reached from outside by whom it leads to, or is reached and leads nowhere. */
  async wrong(chaos: ChaosLab, { plan, addresses }: World): Promise<string | undefined> {
    const answers = await chaos.whoAnswers(WORLD, TENANTS.map(floatingAddress));
    for (const tenant of TENANTS) {
      const target = this.#targets.get(tenant);
      const pod = plan
        .podsOf(tenant)
        .find(({ name }) => addresses.get(name)?.includes(target ?? "") === true);
      // Without a way out nobody answers.
      const wanted = pod?.out === true ? pod.name : undefined;
      const who = answers.get(floatingAddress(tenant));
      if (who !== wanted)
        return `${floatingAddress(tenant)} of ${tenant} leads to ${target} of ${wanted ?? "nobody"}, and there is ${who ?? "no answer"}`;
    }
    return undefined;
  }
}
