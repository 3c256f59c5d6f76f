/** Domains of VNIs that no Subnet describes: each is there as long as something is attached to it. */
import type { Domain } from "../domain/mod.ts";

/** OpenDomains knows them by what is attached. */
export class OpenDomains {
  /** Ids of attachments, with their domains. */
  readonly #byId = new Map<string, Domain>();

  /** add says that something is attached to a domain; true when that is the first of it. */
  add(id: string, domain: Domain): boolean {
    const isFirst = this.of(domain.vni) === undefined;
    this.#byId.set(id, domain);
    return isFirst;
  }

  /** delete is the reverse; false when it was attached to no such domain. */
  delete(id: string): boolean {
    return this.#byId.delete(id);
  }

  /** of returns a domain by its VNI. */
  of(vni: number): Domain | undefined {
    return [...this.#byId.values()].find((domain) => domain.vni === vni);
  }

  /** beside returns the register's domains and these: an open VNI that a Subnet has by now is the Subnet's, and what is attached there stays until it is deleted. */
  beside(domains: readonly Domain[]): Domain[] {
    const taken = new Set(domains.flatMap(({ vni, segments }) => [vni, ...segments.map((one) => one.vni)]));
    const open = new Map([...this.#byId.values()].map((domain) => [domain.vni, domain]));
    return [...domains, ...[...open.values()].filter(({ vni }) => !taken.has(vni))];
  }
}
