/** Rows of the table `tenant`: what tenants' networks are made of, each with its manifest as JSON. */
import { type Admitted, FIRST_VNI } from "../domain/mod.ts";
import {
  noTenants,
  parseObject,
  resourceJson,
  type TenantKind,
  tenantKinds,
  type TenantResource,
  type TenantResources,
  tenantsOf,
  isTenantKind,
} from "../resources/mod.ts";
import type { Database, Statement } from "../sys/mod.ts";

/** readTenant reads a resource of a command or of the file; undefined when it is none. */
export function readTenant(json: unknown): TenantResource | undefined {
  const resource = parseObject(json, { problems: [], strict: false });
  return resource !== undefined && isTenant(resource) ? resource : undefined;
}

function isTenant(resource: { readonly kind: string }): resource is TenantResource {
  return isTenantKind(resource.kind);
}

/** State is how often they changed, and where the search for the next VNI begins. */
interface State {
  readonly version: number;
  readonly next_vni: number;
}

/** TenantStore reads and writes them; call its writing methods inside a transaction. */
export class TenantStore {
  readonly #all: Statement<{ value: string }>;
  readonly #put: Statement;
  readonly #delete: Statement;
  readonly #getState: Statement<State>;
  readonly #setState: Statement;
  /** Parsed, which costs, and each claim of addresses asks: what was read or written at this version. */
  #kept: { readonly version: number; readonly tenants: TenantResources } | undefined;

  constructor(database: Database) {
    this.#all = database.prepare("SELECT value FROM tenant ORDER BY kind, name");
    this.#put = database.prepare("INSERT OR REPLACE INTO tenant (kind, name, value) VALUES (?, ?, ?)");
    this.#delete = database.prepare("DELETE FROM tenant WHERE kind = ? AND name = ?");
    this.#getState = database.prepare("SELECT version, next_vni FROM tenant_state");
    this.#setState = database.prepare("INSERT OR REPLACE INTO tenant_state VALUES (1, ?, ?)");
  }

  #state(): State {
    return this.#getState.get() ?? { version: 0, next_vni: FIRST_VNI };
  }

  /** nextVni is where the search for the next VNI begins. */
  get nextVni(): number {
    return this.#state().next_vni;
  }

  /** all returns all resources. A change that was rolled back has taken its version with it. */
  all(): TenantResources {
    const { version } = this.#state();
    if (this.#kept?.version !== version) this.#kept = { version, tenants: this.#read() };
    return this.#kept.tenants;
  }

  #read(): TenantResources {
    const rows = this.#all.all();
    if (rows.length === 0) return noTenants;
    return tenantsOf(rows.flatMap(({ value }) => readTenant(JSON.parse(value)) ?? []));
  }

  /** forget is called when the file may hold another history. */
  forget(): void {
    this.#kept = undefined;
  }

  /** store writes a change, after which `tenants` is what there is. */
  store(
    { tenants, set, nextVni }: Admitted,
    remove: readonly { readonly kind: TenantKind; readonly name: string }[],
  ): void {
    const word = (kind: TenantKind) => tenantKinds[kind].word;
    for (const { kind, name } of remove) this.#delete.run(word(kind), name);
    for (const resource of set)
      this.#put.run(word(resource.kind), resource.value.name, JSON.stringify(resourceJson(resource)));
    const version = this.#state().version + 1;
    this.#setState.run(version, nextVni);
    this.#kept = { version, tenants };
  }
}
