/** The registrar: the only door through which the register is written. It makes commands, with all that chance and clocks decide, and submits them. */
import type { TenantName } from "../domain/mod.ts";
import type { AddressWish, BlockWish, ClaimedAddress, Grant } from "../ipam/mod.ts";
import {
  formatEndpoint,
  formatIp,
  formatPrefix,
  type Ip,
  type Prefix,
  type PublicKey,
  Secret,
  type SigningKey,
} from "../net/mod.ts";
import {
  type ExternalPeer,
  type LabelChange,
  type Mesh,
  type Node,
  resourceJson,
  type TenantResource,
} from "../resources/mod.ts";
import { randomBytes } from "../sys/mod.ts";
import type { Results } from "./apply.ts";
import type { PutResult } from "./apply-tenant.ts";
import { MAX_KNOWN, MAX_RETURNED_AT_ONCE } from "./claim-limits.ts";
import { type CommandJson, commandSchema } from "./command.ts";
import type { NewNode } from "./node-store.ts";
import type { EtcdLog } from "./etcd-log.ts";
import { Refusal } from "./refusal.ts";
import type { Claims, Register, Registration } from "./register.ts";
import { type LogState, NoLog, type RegisterLog } from "./register-log.ts";
import { formatToken, MAX_HUBS, MAX_USES, type Token, type TokenHub } from "./token.ts";
import { UsageBook } from "./usage-book.ts";
import type { Asker } from "./tenant-owner.ts";
import { storedToken } from "./token-store.ts";

/** TokenWish is what a token is to be made for. */
export interface TokenWish {
  readonly uses: number;
  readonly nowMs: number;
  readonly expiresAtMs: number;
  readonly signingKey: SigningKey;
  /** An existing node whose machine was made anew. */
  readonly node?: string;
  readonly endpoints?: readonly string[];
  /** Name of the hub that newcomers try first. */
  readonly hub?: string;
  /** What the newcomer becomes: `hub`, `node`, or a label of the operator's. Default `node`. */
  readonly role?: string;
  readonly site?: string;
  /** Hashes of the hubs' TLS keys, by the hub's name. */
  readonly tlsPins?: ReadonlyMap<string, string>;
}

/** NewPeer is an external peer that is to be added. */
export interface NewPeer extends Omit<ExternalPeer, "overlay4" | "overlay6"> {
  /** Of a mesh that is taken over; absent: one is chosen. */
  readonly number?: number;
  /** Of which it gets addresses. */
  readonly families: readonly (4 | 6)[];
}

function asking({ owner, force = false }: Asker) {
  return { ...(owner !== undefined && { owner }), ...(force && { force }) };
}

/** Registrar writes a register through its log. */
export class Registrar implements Disposable {
  readonly register: Register;
  /** What nodes say of the blocks that they have. */
  readonly usage = new UsageBook();
  #log: RegisterLog;

  constructor(register: Register, log: RegisterLog = new NoLog(register)) {
    this.register = register;
    this.#log = log;
  }

  async #submit<C extends CommandJson>(command: C): Promise<Results[C["op"]]> {
    // What no hub could read must not get into the log, where it would stop them all.
    const problem = commandSchema.safeParse(command).error?.issues[0];
    if (problem !== undefined)
      throw new Refusal(
        "bad-request",
        `Cannot write the register: ${problem.path.join(".")} of ${command.op}: ${problem.message}`,
      );
    return (await this.#log.submit(command)) as Results[C["op"]];
  }

  /** state says whether writes are possible, and why not. */
  state(): LogState {
    return this.#log.state();
  }

  /** catchUp applies all that other hubs have written until now. */
  catchUp(): Promise<void> {
    return this.#log.catchUp();
  }

  /**
   * begin makes a new log the register's, which begins with what the register holds; `store` makes that durable. What is written
   * meanwhile waits. When it fails, all is as it was.
   */
  async begin(log: EtcdLog, store: () => void): Promise<void> {
    const old = this.#log;
    this.#log = log;
    try {
      await log.begin();
      store();
    } catch (error) {
      this.#log = old;
      log[Symbol.dispose]();
      throw error;
    }
    old[Symbol.dispose]();
  }

  /** init stores a new mesh and its first hub, which gets the first number. */
  async init(
    mesh: Mesh,
    hub: Omit<NewNode, "hub">,
    epoch: string = Buffer.from(randomBytes(8)).toString("hex"),
  ): Promise<Node> {
    const { name, publicKey, endpoints, site, number } = hub;
    return this.#submit({
      op: "init",
      epoch,
      mesh: resourceJson({ kind: "Mesh", value: mesh }),
      hub: { name, publicKey, endpoints: [...endpoints], number, ...(site === undefined ? {} : { site }) },
    });
  }

  /** updateMesh stores changed settings; networks and nodeBits cannot change, since nothing is ever renumbered. */
  async updateMesh(mesh: Mesh): Promise<void> {
    await this.#submit({ op: "update-mesh", mesh: resourceJson({ kind: "Mesh", value: mesh }) });
    if (mesh.presharedKeys && this.register.pskGenerations().length === 0) await this.newPsk();
  }

  /** newPsk begins the next generation of pre-shared keys; every pair goes over to it by itself, without loss. */
  async newPsk(): Promise<void> {
    const generation = (this.register.pskGenerations()[0] ?? 0) + 1;
    await this.#submit({ op: "new-psk", generation, secret: Secret.random().toFile().trim() });
  }

  /** createToken makes a token and stores its hash, public keys and addresses; the text is returned and never stored. */
  async createToken(wish: TokenWish): Promise<{ readonly token: Token; readonly text: string }> {
    const { uses, nowMs, expiresAtMs, node, role = "node", site } = wish;
    const mesh = this.register.mesh();
    const refuse = (cause: string) => new Error(`Cannot create a token: ${cause}`);
    if (!Number.isInteger(uses) || uses < 1 || uses > MAX_USES)
      throw refuse(`${uses} uses; give 1 to ${MAX_USES}`);
    if (node !== undefined && uses !== 1) throw refuse(`${uses} uses for the one node ${node}; give 1`);
    if (role === "hub" && this.#log.state().kind === "sqlite")
      throw refuse(
        "this hub keeps the register alone; with a second hub it must be in etcd: causeway hub migrate --etcd …",
      );
    const [first, ...hubs] = this.#tokenHubs(wish) as [TokenHub, ...TokenHub[]];
    const token: Token = {
      id: Buffer.from(randomBytes(5)).toString("hex"),
      mesh: mesh.name,
      endpoints: wish.endpoints ?? first.endpoints,
      hubKey: first.key,
      ...(first.tls && { tls: first.tls }),
      ...(hubs.length === 0 ? {} : { hubs }),
      signingKey: wish.signingKey,
      enrol6: mesh.enrol6,
      seed: Secret.random(),
      uses,
      expiresAtMs,
      ...(node === undefined ? {} : { node }),
      ...(role === "node" ? {} : { role }),
      ...(site === undefined ? {} : { site }),
    };
    const text = formatToken(token);
    const { hash, uses: stored } = storedToken(token);
    await this.#submit({
      op: "create-token",
      id: token.id,
      hash,
      uses: stored.map(({ publicKey, address, secret }) => ({
        publicKey,
        address: formatIp(address),
        secret: (secret as Secret).toFile().trim(),
      })),
      expiresAtMs,
      nowMs,
      role,
      ...(node === undefined ? {} : { node }),
      ...(site === undefined ? {} : { site }),
    });
    return { token, text };
  }

  /** Hubs as newcomers reach them, the given one first. The mesh's own endpoints are the first hub's. */
  #tokenHubs({ hub: own, tlsPins }: Pick<TokenWish, "hub" | "tlsPins">): TokenHub[] {
    const { endpoints, tlsPort: port } = this.register.mesh();
    const all = this.register.hubs();
    return all
      .map((hub, i) => ({
        name: hub.name,
        key: hub.publicKey,
        endpoints: all.length === 1 || (i === 0 && hub.endpoints.length === 0) ? endpoints : hub.endpoints,
      }))
      .filter((hub) => hub.endpoints.length > 0)
      .sort((a, b) => Number(b.name === own) - Number(a.name === own))
      .slice(0, MAX_HUBS + 1)
      .map(({ name, endpoints: at, key }) => {
        const pin = tlsPins?.get(name);
        const tls = port && { tls: { port, ...(pin === undefined ? {} : { pin }) } };
        return { endpoints: at, key, ...tls };
      });
  }

  /** revokeToken ends a token at once; nodes that registered through it stay. */
  async revokeToken(id: string, reason?: string): Promise<void> {
    await this.#submit({ op: "revoke-token", id, ...(reason === undefined ? {} : { reason }) });
  }

  /**
   * registerNode registers a newcomer, or gives the same answer again to the same key at the same use. Rejects with Refusal.
   * The proof of possession is checked by the caller.
   */
  async registerNode(wanted: Registration, nowMs: number): Promise<Node> {
    // What was answered once needs no write, and is answered without etcd too.
    const known = this.register.registered(wanted);
    if (known !== undefined) return known;
    const { address, publicKey, name, endpoints, site } = wanted;
    return this.#submit({
      op: "register",
      address: formatIp(address),
      publicKey,
      name,
      endpoints: [...endpoints],
      nowMs,
      ...(site === undefined ? {} : { site }),
    });
  }

  /** handshakeSeen tells the register that WireGuard made a handshake with this key, which spends its use of a token. */
  async handshakeSeen(publicKey: PublicKey): Promise<void> {
    if (this.register.isUnspent(publicKey)) await this.#submit({ op: "spend", publicKey });
  }

  /** assignNode changes what rules see of a node beside its name; what is absent stays. */
  async assignNode(
    name: string,
    { role, site }: { readonly role?: string | undefined; readonly site?: string | undefined },
  ): Promise<void> {
    await this.#submit({
      op: "assign-node",
      name,
      ...(role === undefined ? {} : { role }),
      ...(site === undefined ? {} : { site }),
    });
  }

  /** announceKey publishes the key that a node will have next; that the node holds it is checked by the caller. */
  async announceKey(
    name: string,
    keys: { readonly now: PublicKey; readonly next: PublicKey },
  ): Promise<void> {
    await this.#submit({ op: "announce-key", name, publicKey: keys.now, nextPublicKey: keys.next });
  }

  /** promoteKey makes an announced key the node's, since it was heard with it. */
  async promoteKey(name: string, key: PublicKey): Promise<void> {
    if (this.register.node(name)?.nextPublicKey === key)
      await this.#submit({ op: "promote-key", name, publicKey: key });
  }

  /** announceHubKey publishes the key that a hub will have next. Rejects with Refusal while another hub changes its own. */
  async announceHubKey(
    name: string,
    keys: { readonly now: PublicKey; readonly next: PublicKey },
  ): Promise<void> {
    await this.#submit({ op: "announce-hub-key", name, publicKey: keys.now, nextPublicKey: keys.next });
  }

  /** promoteHubKey makes an announced key a hub's; the one before is not revoked yet. */
  async promoteHubKey(name: string, key: PublicKey): Promise<void> {
    await this.#submit({ op: "promote-hub-key", name, publicKey: key });
  }

  /** dropHubKey revokes a key that a hub had before. */
  async dropHubKey(name: string, key: PublicKey): Promise<void> {
    await this.#submit({ op: "drop-hub-key", name, publicKey: key });
  }

  /** removeNode releases a node's addresses and ranges and revokes its key. */
  async removeNode(name: string): Promise<void> {
    await this.#submit({ op: "remove-node", name });
  }

  /** removeHub removes a hub, unless it is the last. */
  async removeHub(name: string): Promise<void> {
    await this.#submit({ op: "remove-node", name, hub: true });
  }

  /** remove removes a node, or a hub that is not the last. */
  async remove(name: string): Promise<void> {
    await (this.register.node(name)?.hub === true ? this.removeHub(name) : this.removeNode(name));
  }

  /** addPeer gives an external peer its addresses. */
  async addPeer(peer: NewPeer): Promise<ExternalPeer> {
    const { allowed, endpoint, families, ...rest } = peer;
    return this.#submit({
      op: "add-peer",
      ...rest,
      families: [...families],
      allowed: allowed.map(formatPrefix),
      ...(endpoint === undefined ? {} : { endpoint: formatEndpoint(endpoint) }),
    });
  }

  async removePeer(name: string): Promise<void> {
    await this.#submit({ op: "remove-peer", name });
  }

  /** putResources makes or changes resources of tenants' networks, all or none; with `force` also another one's. Rejects with Refusal. */
  async putResources(resources: readonly TenantResource[], asker: Asker = {}): Promise<PutResult[]> {
    const manifests = resources.map((one) => resourceJson(one));
    const isNew = resources.some(({ kind }) => kind === "Gateway" || kind === "Route");
    const op = isNew ? "put-gateways" : "put-resources";
    return this.#submit({ op, resources: manifests, ...asking(asker) });
  }

  /** deleteResources removes such resources, all or none; with `force` also another one's, and Subnets of which somebody has addresses. */
  async deleteResources(resources: readonly TenantName[], asker: Asker = {}): Promise<void> {
    const names = resources.map(({ kind, name }) => ({ kind, name }));
    await this.#submit({ op: "delete-resources", resources: names, ...asking(asker) });
  }

  /** approveSubnet has a network routed to a node. */
  async approveSubnet(node: string, prefix: Prefix): Promise<void> {
    await this.#submit({ op: "approve-subnet", node, prefix: formatPrefix(prefix) });
  }

  /** revokeSubnet takes an approval back. */
  async revokeSubnet(node: string, prefix: Prefix): Promise<void> {
    await this.#submit({ op: "revoke-subnet", node, prefix: formatPrefix(prefix) });
  }

  /** labelNodes changes labels of at most MAX_LABELLED nodes, of all or none; null takes one away. */
  async labelNodes(changes: ReadonlyMap<string, LabelChange>): Promise<void> {
    const nodes = [...changes].map(([name, labels]) => ({ name, labels: { ...labels } }));
    await this.#submit({ op: "label-nodes", nodes });
  }

  /** setConfigured stores a node's reachable endpoints and site. */
  async setConfigured(
    name: string,
    values: { readonly endpoints: readonly string[]; readonly site?: string },
  ): Promise<void> {
    const { endpoints, site } = values;
    await this.#submit({
      op: "set-configured",
      name,
      endpoints: [...endpoints],
      ...(site === undefined ? {} : { site }),
    });
  }

  /** claimBlocks grants blocks of a subnet to a node, those first that it has and does not know of. Rejects with Refusal. */
  async claimBlocks(node: string, { subnet, wants, have }: BlockWish): Promise<Grant[]> {
    const wanted = wants.map(({ family, count }) => ({ family, count }));
    return this.#submit({ op: "claim-block", node, subnet, wants: wanted, have: have.slice(-MAX_KNOWN) });
  }

  /** claimAddress gives one address to an owner, or grants it to a node. Rejects with Refusal. */
  async claimAddress(node: string, wish: AddressWish): Promise<ClaimedAddress> {
    const { subnet, family, address, owner, outOf } = wish;
    return this.#submit({
      op: "claim-address",
      node,
      subnet,
      family,
      ...(address === undefined ? {} : { address: formatIp(address) }),
      ...(owner === undefined ? {} : { owner }),
      ...(outOf === undefined ? {} : { outOf: [...outOf] }),
    });
  }

  /** returnBlocks ends grants of a node; those that it has not are passed over. */
  async returnBlocks(node: string, numbers: readonly number[]): Promise<void> {
    for (let i = 0; i < numbers.length; i += MAX_RETURNED_AT_ONCE)
      await this.#submit({ op: "return-block", node, numbers: numbers.slice(i, i + MAX_RETURNED_AT_ONCE) });
  }

  /** grantsOf returns what a node has, after all that other hubs have granted until now. */
  async grantsOf(node: string): Promise<Grant[]> {
    await this.#log.catchUp();
    return this.register.grantsOf(node);
  }

  /** claims returns who has which addresses of a subnet, or of all, after all that other hubs have granted until now. */
  async claims(subnet?: string): Promise<Claims> {
    await this.#log.catchUp();
    return this.register.claims(subnet);
  }

  /** releaseAddress takes an address from its owner; no node may use it any more. */
  async releaseAddress(subnet: string, address: Ip): Promise<void> {
    await this.#submit({ op: "release-address", subnet, address: formatIp(address) });
  }

  /** raiseRevision makes the next number higher than one that nodes have seen from this register before it was restored from a copy. */
  async raiseRevision(seen: number): Promise<void> {
    if (seen <= this.register.revision) return;
    // With several hubs this one may only be behind.
    await this.#log.catchUp();
    if (seen > this.register.revision) await this.#submit({ op: "raise", revision: seen });
  }

  [Symbol.dispose](): void {
    this.#log[Symbol.dispose]();
  }
}
