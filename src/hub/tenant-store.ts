/** Rows of the table `tenant`: what tenants' networks are made of, each with its manifest as JSON. */
import { type Admitted, FIRST_VNI } from "../domain/mod.ts";
import {
  noTenants,
  parseObject,
  resourceJson,
  type TenantKind,
  tenantKey,
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

/** Owners says whose resources are, by tenantKey: the uid of a Kubernetes cluster's namespace kube-system. What is not in it was put by hand. */
export type Owners = ReadonlyMap<string, string>;

interface Row {
  readonly kind: string;
  readonly name: string;
  readonly value: string;
  readonly owner: string | null;
}

interface Kept {
  readonly version: number;
  readonly tenants: TenantResources;
  readonly owners: Owners;
}

/** TenantStore reads and writes them; call its writing methods inside a transaction. */
export class TenantStore {
  readonly #all: Statement<Row>;
  readonly #put: Statement;
  readonly #delete: Statement;
  readonly #getState: Statement<State>;
  readonly #setState: Statement;
  /** Parsed, which costs, and each claim of addresses asks: what was read or written at this version. */
  #kept: Kept | undefined;

  constructor(database: Database) {
    this.#all = database.prepare("SELECT kind, name, value, owner FROM tenant ORDER BY kind, name");
    this.#put = database.prepare(
      "INSERT OR REPLACE INTO tenant (kind, name, value, owner) VALUES (?, ?, ?, ?)",
    );
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
    return this.#known().tenants;
  }

  /** owners returns whose resources are. */
  owners(): Owners {
    return this.#known().owners;
  }

  #known(): Kept {
    const { version } = this.#state();
    if (this.#kept?.version !== version) this.#kept = { version, ...this.#read() };
    return this.#kept;
  }

  #read(): Omit<Kept, "version"> {
    const rows = this.#all.all();
    if (rows.length === 0) return { tenants: noTenants, owners: new Map() };
    const owned = rows.flatMap(({ kind, name, owner }) =>
      owner === null ? [] : [[`${kind}/${name}`, owner] as const],
    );
    const tenants = tenantsOf(rows.flatMap(({ value }) => readTenant(JSON.parse(value)) ?? []));
    return { tenants, owners: new Map(owned) };
  }

  /** forget is called when the file may hold another history. */
  forget(): void {
    this.#kept = undefined;
  }

  /** store writes a change, after which `tenants` is what there is, and `owners` says whose. */
  store(
    { tenants, set, nextVni }: Admitted,
    remove: readonly { readonly kind: TenantKind; readonly name: string }[],
    owners: Owners,
  ): void {
    const word = (kind: TenantKind) => tenantKinds[kind].word;
    for (const { kind, name } of remove) this.#delete.run(word(kind), name);
    for (const resource of set) {
      const { kind, value } = resource;
      const owner = owners.get(tenantKey(kind, value.name)) ?? null;
      this.#put.run(word(kind), value.name, JSON.stringify(resourceJson(resource)), owner);
    }
    const version = this.#state().version + 1;
    this.#setState.run(version, nextVni);
    this.#kept = { version, tenants, owners };
  }
}
