/** Routers of the edge as people see them. */
import type { DomainStatus } from "./domain-host.ts";

/** EdgeStatus is what people see of a router. */
export interface EdgeStatus {
  readonly router: string;
  readonly underlay: string;
  readonly namespace: string;
  readonly domains: readonly (DomainStatus & { readonly fromHost: readonly string[] })[];
  /** What is not as it should be. */
  readonly problems: readonly string[];
}
