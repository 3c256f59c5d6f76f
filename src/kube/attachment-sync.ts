/**
 * Register → NetworkAttachmentDefinitions: where the cluster has Multus, each Subnet is there for pods to name. Those of others are not touched.
 */
import type { TenantResources } from "../resources/mod.ts";
import { after } from "../sys/mod.ts";
import type { KubeAccess } from "./access.ts";
import {
  ALL_ATTACHMENTS,
  type Attachment,
  attachmentKey,
  attachmentManifest,
  attachmentPath,
  ATTACHMENTS,
  type FoundAttachment,
  parseAttachment,
  wantedAttachments,
} from "./attachments.ts";
import { KubeError, kubeGet, kubeWrite, refusesObject } from "./client.ts";
import { Collection } from "./collection.ts";

/** AttachmentSyncOptions say between whom. */
export interface AttachmentSyncOptions {
  readonly access: KubeAccess;
  readonly tenants: () => TenantResources;
  /** Whether this one may write; asked before each write. */
  readonly mayWrite: () => boolean;
  /** Told when something is wrong, and when all is well again (undefined). */
  readonly onProblem?: (problem: string | undefined) => void;
}

/** More of them are told as a problem. */
const MOST_ATTACHMENTS = 50_000;

/** Changes that come together are one round. */
const GATHER_MS = 200;

/** Multus may be installed later, and so may a namespace that a VPC names be made. */
const AGAIN_MS = 60_000;

/** AttachmentSync owns the watch. */
export class AttachmentSync implements Disposable {
  readonly #options: AttachmentSyncOptions;
  #found: Collection<FoundAttachment> | undefined;
  #timer: Disposable | undefined;
  #later: Disposable | undefined;
  #turn: Promise<void> = Promise.resolve();
  #disposed = false;

  private constructor(options: AttachmentSyncOptions) {
    this.#options = options;
  }

  /** start looks whether there is Multus, and begins to watch. */
  static start(options: AttachmentSyncOptions): AttachmentSync {
    const sync = new AttachmentSync(options);
    sync.look();
    return sync;
  }

  /** look has everything compared soon: when the register has changed. */
  look(): void {
    if (this.#disposed) return;
    this.#timer ??= after(GATHER_MS, () => {
      this.#timer = undefined;
      this.#turn = this.#turn.then(() => this.#run());
    });
  }

  async #run(): Promise<void> {
    if (this.#disposed) return;
    let problem: string | undefined;
    try {
      const before = this.#found;
      const found = await this.#watched();
      // A new watch says when it has a list.
      if (found !== undefined && found === before) problem = await this.#round(found);
    } catch (error) {
      problem = (error as Error).message;
    }
    if (this.#disposed) return;
    this.#options.onProblem?.(problem);
    this.#later?.[Symbol.dispose]();
    this.#later = after(AGAIN_MS, () => this.look());
  }

  /** Whether the API knows the kind: Multus brings it. */
  async #hasMultus(): Promise<boolean> {
    try {
      await kubeGet(this.#options.access, ATTACHMENTS);
      return true;
    } catch (error) {
      if (error instanceof KubeError && error.status === 404) return false;
      throw error;
    }
  }

  /** Looked at anew while there is no watch, or it has a problem: Multus comes and goes. */
  async #watched(): Promise<Collection<FoundAttachment> | undefined> {
    if (this.#found !== undefined && this.#found.problem === undefined) return this.#found;
    const there = await this.#hasMultus();
    if (!there) {
      this.#found?.[Symbol.dispose]();
      this.#found = undefined;
    } else if (!this.#disposed)
      this.#found ??= Collection.start({
        ...{ access: this.#options.access, path: ALL_ATTACHMENTS },
        ...{ most: MOST_ATTACHMENTS, parse: parseAttachment },
        onChange: () => this.look(),
      });
    return this.#found;
  }

  async #round(found: Collection<FoundAttachment>): Promise<string | undefined> {
    if (found.problem !== undefined) return found.problem;
    const { wanted, problems } = wantedAttachments(this.#options.tenants());
    const all = [...problems];
    for (const attachment of wanted.values())
      all.push(...(await this.#make(attachment, found.cache.get(attachmentKey(attachment)))));
    for (const one of [...found.cache.all()])
      if (one.ours && !wanted.has(attachmentKey(one))) all.push(...(await this.#remove(one)));
    return all.length < 2 ? all[0] : `${all[0]} (and ${all.length - 1} more)`;
  }

  async #make(wanted: Attachment, found: FoundAttachment | undefined): Promise<string[]> {
    const { namespace, name, config } = wanted;
    const body = attachmentManifest(wanted);
    if (found === undefined)
      return await this.#write({ verb: "create", path: attachmentPath(namespace), body });
    if (!found.ours)
      return [
        `NetworkAttachmentDefinition ${namespace}/${name} is not ours; rename it, or the Subnet that it is in the way of`,
      ];
    if (found.config === config) return [];
    return await this.#write({
      verb: "merge",
      path: attachmentPath(namespace, name),
      body: { spec: { config } },
    });
  }

  /** Only this very one: another may have its name by now. */
  async #remove({ namespace, name, uid }: FoundAttachment): Promise<string[]> {
    const body = { apiVersion: "v1", kind: "DeleteOptions", preconditions: { uid } };
    return await this.#write({ verb: "delete", path: attachmentPath(namespace, name), body });
  }

  /** What the API refuses of one is a problem of that one; a namespace that is not there (404) may come, and the watch tells of others' writes (409). */
  async #write(change: Parameters<typeof kubeWrite>[1]): Promise<string[]> {
    if (!this.#options.mayWrite()) return [];
    try {
      await kubeWrite(this.#options.access, change);
    } catch (error) {
      if (!refusesObject(error)) throw error;
      if (error.status !== 404 && error.status !== 409) return [error.message];
    }
    return [];
  }

  [Symbol.dispose](): void {
    this.#disposed = true;
    this.#timer?.[Symbol.dispose]();
    this.#later?.[Symbol.dispose]();
    this.#found?.[Symbol.dispose]();
  }
}
