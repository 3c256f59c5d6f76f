/**
 * The default network of one node: a range of addresses, a bridge, a link for each pod.
 *
 * A call runs to its end without yielding, so calls need no locks, and two of one container cannot meet half-way. What is on disk leads:
 *
 * | moment | on disk | in the kernel | after a crash |
 * |---|---|---|---|
 * | ADD begins | nothing | nothing | – |
 * | addresses reserved | `adding` | nothing, or a part | undone by the next agent |
 * | ADD answers | `ready` | all | goes on |
 * | DEL has removed the link | `ready` | rules, or nothing | the runtime repeats DEL, or it is a tombstone |
 * | DEL answers | nothing | nothing | – |
 */
import type { Engine } from "../engine/mod.ts";
import { type Attachment, PodPoolError } from "../ipam/mod.ts";
import { FlowRemover, LinkRemover, Nftables, Rtnetlink } from "../netlink/mod.ts";
import {
  type Confinement,
  hostLinkOf,
  type NodeFacts,
  nodeObjects,
  podId,
  podObjects,
  podScope,
} from "../pods/mod.ts";
import { macOf } from "./station.ts";
import { bootId, isUnwritable, Netns } from "../sys/mod.ts";
import { attach, type AttachmentTools, detach } from "./attachment.ts";
import { checkAttachment } from "./check.ts";
import type { Dns } from "./configuration.ts";
import { CniError } from "./error.ts";
import { forgetFlows, forgetStrays } from "./flows.ts";
import { containerNetns } from "./netns.ts";
import { claimHostPorts } from "./port-mapping.ts";
import { requireDistinct } from "./primary.ts";
import { type AttachedCall, attachmentOf, type NetworkCall, type Passed } from "./request.ts";
import { dnsOf } from "./resolv-conf.ts";
import { formatResult, mergeResults, parseResult, type Result } from "./result.ts";
import { PodStore, type StoredPod } from "./store.ts";
import { successOf } from "./success.ts";
import type { VpcAttached } from "./vpc-network.ts";

/** DefaultNetworkOptions say where it works. */
export interface DefaultNetworkOptions {
  /** Engine of the node's namespace. */
  readonly engine: Engine;
  /** Folder of the pods' database. */
  readonly folder: string;
  /** Engine scopes that all pods depend on: forwarding, masquerading. STATUS and CHECK tell what is wrong with them. Default `pods`. */
  readonly dataPath?: readonly string[];
  /** The node's namespace; default that of the process. */
  readonly netns?: Netns;
  /** Told what went wrong without being the caller's fault. */
  readonly onProblem?: (error: Error) => void;
}

/** Prepared is what an ADD has found out before anything is done. */
export interface Prepared {
  readonly mtuBytes: number;
  /** Result of the plugins before us. */
  readonly before: Result | undefined;
  readonly dns: Dns | undefined;
  readonly netns: Netns;
}

/** Primary is the private network that a pod is in before all, and what it may reach by the default one. */
export interface Primary {
  readonly confined: Confinement;
  readonly attached: VpcAttached;
}

/** DefaultNetwork owns the pods' database and what the kernel has of each pod. */
export class DefaultNetwork implements Disposable {
  readonly #options: DefaultNetworkOptions;
  readonly #store: PodStore;
  readonly #tools: AttachmentTools;
  readonly #flows: FlowRemover | undefined;
  readonly #home: number;
  #nftables: Nftables | undefined;
  #node: NodeFacts | undefined;
  /** Why the last write failed; STATUS says so until one succeeds. */
  #diskProblem: string | undefined;

  private constructor(options: DefaultNetworkOptions, store: PodStore) {
    this.#options = options;
    this.#store = store;
    const { engine, netns } = options;
    const route = Rtnetlink.open(netns === undefined ? {} : { netns });
    this.#tools = { engine, route, remover: LinkRemover.open({ route, netns }) };
    this.#flows = FlowRemover.open({ netns, onProblem: options.onProblem });
    using own = Netns.current();
    this.#home = (netns ?? own).inode;
  }

  /**
   * open takes up where the last agent stopped: half-made attachments are undone, the others become desired state as they are, without
   * touching their traffic. One whose link is gone (somebody removed its namespace) waits for DEL or GC.
   */
  static open(options: DefaultNetworkOptions): DefaultNetwork {
    const store = PodStore.open(options.folder, { bootId: bootId() });
    let service: DefaultNetwork | undefined;
    try {
      service = new DefaultNetwork(options, store);
      service.#restore();
      return service;
    } catch (error) {
      (service ?? store).close();
      throw error;
    }
  }

  /** setNode tells the node's ranges and MTU, which make scope `pods`; undefined while the node has joined no mesh. */
  setNode(node: NodeFacts | undefined): void {
    this.#node = node !== undefined && node.ranges.length > 0 ? node : undefined;
    if (this.#node === undefined) this.#options.engine.remove("pods");
    else this.#options.engine.set("pods", nodeObjects(this.#node));
  }

  /** count returns how many pods are attached. */
  get count(): number {
    return this.#store.count;
  }

  /** get returns an attachment as it is stored. */
  get(attachment: Attachment): StoredPod | undefined {
    return this.#store.get(attachment);
  }

  /** explain returns what the runtime is told of an error. */
  explain(error: unknown): CniError {
    if (error instanceof CniError) return error;
    if (error instanceof PodPoolError)
      return new CniError(poolCodes[error.reason], error.message, { cause: error });
    const cause = error instanceof Error ? error : new Error(String(error));
    this.#options.onProblem?.(cause);
    if (!isUnwritable(cause)) return new CniError("kernel", cause.message, { cause });
    this.#diskProblem = cause.message;
    return unwritable("Cannot serve the call", cause.message);
  }

  /** add attaches a container and returns the result as text; all of it or nothing is done. */
  add(call: AttachedCall, passed: Passed): string {
    const { netns, ...ready } = this.prepare(call, passed);
    using inside = netns;
    return this.attach(call, { ...ready, netns: inside });
  }

  /** prepare checks what can be checked before anything is done, and opens the container's namespace, which is the caller's to close. */
  prepare(call: AttachedCall, passed: Passed): Prepared {
    const node = this.#requireNode();
    const { configuration } = call;
    const mtuBytes = allowedMtu(configuration.mtuBytes ?? node.mtuBytes, node);
    const before = configuration.previous && parseResult(configuration.previous);
    const dns = dnsOf(configuration);
    return { mtuBytes, before, dns, netns: this.netnsOf(call, passed) };
  }

  /** attach does what has been prepared; `primary` is the private network that the pod is in before all. */
  attach(call: AttachedCall, { mtuBytes, before, dns, netns }: Prepared, primary?: Primary): string {
    const node = this.#requireNode();
    const { configuration } = call;
    const attachment = attachmentOf(call);
    // Calls do not overlap: what is still `adding` could not be undone before.
    if (this.#store.get(attachment)?.state === "adding") this.delete(attachment);
    const hostPorts =
      configuration.hostPorts &&
      claimHostPorts(configuration.hostPorts, { attachment, node, pods: this.#store.withExtras() });
    const pod = this.#store.add(attachment, (pool) => {
      const addresses = pool.allocate(attachment, {
        ranges: node.ranges,
        requested: configuration.addresses,
        ...(primary && { avoid: primary.attached.addresses.map(({ ip }) => ip) }),
      });
      const mac = macOf(configuration.mac, { addresses, node, store: this.#store });
      const { bridgePort, bandwidth } = configuration;
      return {
        ...{ addresses, mac, mtuBytes, netns: call.netns },
        ...(hostPorts && { hostPorts }),
        ...(bridgePort && { bridgePort }),
        ...(bandwidth && { bandwidth }),
        ...(primary && { confined: primary.confined }),
      };
    });
    this.#flows?.settle(pod.addresses);
    try {
      if (primary !== undefined) requireDistinct(pod, primary.attached);
      const routes = attach(pod, netns, node, { ...this.#tools, wishes: configuration });
      forgetStrays(pod, { netns: this.#options.netns, route: this.#tools.route });
      const ours = successOf({ pod, node, routes, dns, primary: primary?.attached });
      // Before ADD counts as done: an old version that cannot express the result fails it.
      const output = formatResult(
        before === undefined ? ours : mergeResults(before, ours),
        configuration.version,
      );
      this.#store.setReady(attachment);
      this.#diskProblem = undefined;
      return output;
    } catch (error) {
      this.#undo(pod);
      throw error;
    }
  }

  /** Undoing may fail as well; then the row stays `adding`, so that DEL or the next agent finishes it. */
  #undo(pod: StoredPod): void {
    try {
      detach(pod.id, pod, this.#tools);
      this.#store.remove(pod);
    } catch (error) {
      this.#options.onProblem?.(
        new Error(`Cannot undo attachment ${pod.id}; DEL will try again`, { cause: error }),
      );
    }
  }

  /** delete removes an attachment, if it is there. The addresses are released last: until then nobody else can have them. */
  delete(attachment: Attachment): void {
    const pod = this.#store.get(attachment);
    detach(podId(attachment), pod, this.#tools);
    this.#store.remove(attachment);
    this.#diskProblem = undefined;
    if (pod !== undefined) forgetFlows(pod, this.#flows);
  }

  /** check throws a CniError that names what is wrong with an attachment. */
  check(call: AttachedCall, open: () => Netns): void {
    const node = this.#requireNode();
    if (call.configuration.previous === undefined)
      throw new CniError("badConfiguration", "Cannot check the attachment: prevResult is missing", {
        details: "CHECK needs the result of ADD in prevResult",
      });
    using netns = open();
    const attachment = attachmentOf(call);
    const pod = this.#store.get(attachment);
    if (pod?.state !== "ready" || pod.addresses.length === 0)
      throw new CniError("containerUnknown", `Cannot check ${call.ifname}: no address is reserved for it`, {
        details: `CNI_CONTAINERID is ${JSON.stringify(call.containerId)}, network is ${JSON.stringify(call.configuration.name)}`,
      });
    this.#nftables ??= Nftables.open(this.#options.netns === undefined ? {} : { netns: this.#options.netns });
    const previous = parseResult(call.configuration.previous);
    const sockets = { route: this.#tools.route, nftables: this.#nftables };
    checkAttachment({ pod, node, previous, netns, wishes: call.configuration, ...sockets });
    this.#checkDataPath();
  }

  get #dataPath(): readonly string[] {
    return this.#options.dataPath ?? ["pods"];
  }

  /** What somebody removed is made anew within moments; until then it is not there. */
  #checkDataPath(): void {
    const { engine } = this.#options;
    const steps = this.#dataPath.flatMap((scope) => engine.plan(scope).steps);
    if (steps.length === 0) return;
    throw new CniError(
      "checkFailed",
      "Cannot confirm the attachment: the node's part is not as it should be",
      {
        details: `to be done: ${steps.map(({ action, key }) => `${action} ${key}`).join("; ")}`,
      },
    );
  }

  /** status throws why no pod can be attached. From memory, since kubelet asks every few seconds; `replay` may free addresses. */
  status(replay: () => void): void {
    const node = this.#node;
    if (node === undefined) throw new CniError("notAvailable", NOT_JOINED);
    if (this.#diskProblem !== undefined) this.#tryToWrite(this.#diskProblem);
    const { engine } = this.#options;
    const failed = this.#dataPath
      .flatMap((scope) => engine.status(scope))
      .filter(({ state }) => state === "failed");
    if (failed.length > 0)
      throw new CniError("notAvailableAndLimited", "Cannot attach pods: the pod network is not in order", {
        details: failed.map(({ key, reason }) => `${key}: ${reason ?? "failed"}`).join("; "),
      });
    // A DEL that was written down may be what frees an address, and no ADD comes to replay it where STATUS fails.
    if (this.#isExhausted(node)) replay();
    if (this.#isExhausted(node))
      throw new CniError(
        "notAvailable",
        "Cannot attach pods: all addresses of the node are in use; delete pods",
        {
          details: `${this.#store.count} pods are attached`,
        },
      );
  }

  /** No ADD comes to find out that there is room again where STATUS fails. */
  #tryToWrite(problem: string): void {
    try {
      this.#store.probe();
      this.#diskProblem = undefined;
    } catch (error) {
      if (!isUnwritable(error)) throw error;
      throw unwritable("Cannot attach pods", problem, "notAvailable");
    }
  }

  #isExhausted({ ranges }: NodeFacts): boolean {
    return ranges.some((range) => this.#store.pool.free(range) <= 0n);
  }

  /** stale returns what a runtime does not know any more. Without a list nothing is: libcni leaves it out when it was told nothing. */
  stale({ configuration: { name, validAttachments } }: NetworkCall): StoredPod[] {
    if (validAttachments === undefined) return [];
    return this.#store
      .all()
      .filter(
        (pod) =>
          pod.network === name &&
          !validAttachments.some(
            ({ containerId, ifname }) => containerId === pod.containerId && ifname === pod.ifname,
          ),
      );
  }

  /** netnsOf opens the container's namespace; code 8 for what is none. */
  netnsOf({ netns }: AttachedCall, passed: Passed): Netns {
    return containerNetns({ path: netns, home: this.#home, ...passed });
  }

  #requireNode(): NodeFacts {
    if (this.#node === undefined) throw new CniError("tryAgain", NOT_JOINED);
    return this.#node;
  }

  #restore(): void {
    for (const pod of this.#store.all()) {
      if (pod.state === "adding") this.#undo(pod);
      else if (this.#tools.route.link(hostLinkOf(pod.id)) !== undefined)
        this.#options.engine.set(podScope(pod.id), podObjects(pod));
    }
  }

  /** close ends the work; pods and their rules stay as they are. */
  close(): void {
    this.#nftables?.close();
    this.#flows?.close();
    this.#tools.remover.close();
    this.#tools.route.close();
    this.#store.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

function unwritable(action: string, problem: string, code: "io" | "notAvailable" = "io"): CniError {
  return new CniError(
    code,
    `${action}: the pods' database cannot be written; make room in /var/lib/causeway`,
    {
      details: problem,
    },
  );
}

const NOT_JOINED = "Cannot attach pods: the node has no pod range yet; join a mesh with causeway join";

const poolCodes = {
  exhausted: "tryAgain",
  taken: "addressRefused",
  outside: "addressRefused",
  "already-allocated": "alreadyAttached",
} as const;

/** RFC 8200, section 5: below 1280 bytes a link cannot carry IPv6, and the kernel switches it off. */
const LEAST_MTU6 = 1280;

function allowedMtu(mtuBytes: number, node: NodeFacts): number {
  const problem =
    mtuBytes > node.mtuBytes
      ? `the node's tunnel carries ${node.mtuBytes}`
      : mtuBytes < LEAST_MTU6 && node.ranges.some(({ family }) => family === 6)
        ? `IPv6 needs ${LEAST_MTU6}`
        : undefined;
  if (problem === undefined) return mtuBytes;
  throw new CniError("badConfiguration", `Cannot use an MTU of ${mtuBytes}: ${problem}`, {
    details: `mtu is ${mtuBytes}`,
  });
}
