/**
 * CniService answers the calls of the plugin on one node: those of the default network at once, those of private networks when they are done.
 *
 * Calls about one attachment come one after the other, in the order in which they came; those about different ones do not wait for each other.
 */
import type { Attachment } from "../ipam/mod.ts";
import type { NodeFacts } from "../pods/mod.ts";
import { every, type Fd, type Netns } from "../sys/mod.ts";
import { DefaultNetwork, type DefaultNetworkOptions } from "./default-network.ts";
import { CniError, formatError } from "./error.ts";
import type { PodFactsSource } from "./pod-facts.ts";
import { beside, confinementOf, defaultOf, primaryOf } from "./primary.ts";
import { DELEGATE, type PluginAnswer, type PluginRequest } from "./protocol.ts";
import {
  answerVersion,
  type AttachedCall,
  attachmentOf,
  type CniRequest,
  type DeleteCall,
  type NetworkCall,
  parseRequest,
  type Passed,
} from "./request.ts";
import { replayTombstones, type Tombstone, writeTombstone } from "./tombstone.ts";
import { Turns, withinMs } from "./turns.ts";
import { keyOf, VpcCalls } from "./vpc-calls.ts";
import type { VpcNetwork, VpcWish } from "./vpc-network.ts";
import { primaryWish } from "./vpc-wish.ts";

/** CniServiceOptions say where the service works. */
export interface CniServiceOptions extends DefaultNetworkOptions {
  /** Folder of deletions that came while the agent was away. */
  readonly tombstones: string;
  /** How long a call may take before the runtime is told to try again. Default 25 s, less than the plugin's patience. */
  readonly answerMs?: number;
  /** How often deletions are looked for that a plugin wrote down although the agent was there, or just before it was. Default 10 s. */
  readonly replayMs?: number;
}

const ANSWER_MS = 25_000;
const REPLAY_MS = 10_000;

/** Answer is what the plugin does, or DELEGATE: it is to run the IPAM plugin of the configuration. */
export type Answer = PluginAnswer | typeof DELEGATE;

/** What a call ends with: a text for standard output. */
type Output = string | Promise<string>;

/** CniService is the plugin's other end. */
export class CniService implements Disposable {
  readonly #options: CniServiceOptions;
  readonly #pods: DefaultNetwork;
  readonly #turns = new Turns();
  readonly #vpcs: VpcCalls;
  readonly #replaying: Disposable;

  private constructor(options: CniServiceOptions) {
    this.#options = options;
    this.#pods = DefaultNetwork.open(options);
    this.#vpcs = new VpcCalls({ turns: this.#turns, onProblem: options.onProblem });
    this.#replaying = every(options.replayMs ?? REPLAY_MS, () => this.#replay());
  }

  /** open takes up where the last agent stopped; see DefaultNetwork. */
  static open(options: CniServiceOptions): CniService {
    const service = new CniService(options);
    service.#replay();
    return service;
  }

  /** setNode tells the node's ranges and MTU, which make scope `pods`; undefined while the node has joined no mesh. */
  setNode(node: NodeFacts | undefined): void {
    this.#pods.setNode(node);
  }

  /** setVpcs gives the network that calls about private networks go to; undefined while the node has joined no mesh. */
  setVpcs(network: VpcNetwork | undefined): void {
    this.#vpcs.network = network;
    if (network === undefined) return;
    for (const attachment of network.attachments()) this.#deleteOrphan(attachment);
    this.#replay();
  }

  /** The last agent may have died between the two halves of an ADD. */
  #deleteOrphan(attachment: Attachment): void {
    const owner = defaultOf(attachment);
    if (owner === undefined || this.#turns.isBusy(keyOf(owner)) || this.#pods.get(owner) !== undefined)
      return;
    const done = this.#deleteVpc(attachment);
    if (typeof done !== "string") done.catch((error: Error) => this.#options.onProblem?.(error));
  }

  /** setPodFacts gives what knows of pods' labels and annotations; undefined where nobody watches them, and no annotation counts. */
  setPodFacts(facts: PodFactsSource | undefined): void {
    this.#vpcs.facts = facts;
  }

  /** count returns how many pods are attached to the default network. */
  get count(): number {
    return this.#pods.count;
  }

  /** settled resolves when no call is under way. */
  settled(): Promise<void> {
    return this.#turns.settled();
  }

  /** handle serves one call, at once where nothing waits; the descriptor of CNI_NETNS becomes the service's, and is closed. */
  handle(request: PluginRequest, descriptor?: Fd): Answer | Promise<Answer> {
    const failed = (error: unknown): Answer => ({
      status: 1,
      output: formatError(this.#pods.explain(error), answerVersion(request.stdin)),
    });
    try {
      const output = this.#dispatch(parseRequest(request), { request, descriptor });
      if (typeof output !== "string") return output.then(answerOf, failed).finally(() => descriptor?.close());
      descriptor?.close();
      return answerOf(output);
    } catch (error) {
      descriptor?.close();
      return failed(error);
    }
  }

  #dispatch(call: CniRequest, passed: Passed): Output {
    const wantsIpam = call.configuration.vpc?.ipam !== undefined;
    const { ipamResult } = passed.request;
    switch (call.command) {
      case "ADD":
        if (wantsIpam && ipamResult === undefined) return DELEGATE;
        return this.#add(call, passed);
      case "DEL":
        // An IPAM plugin releases last: until then nobody else can have the address.
        return wantsIpam ? then(this.#delete(call), () => DELEGATE) : this.#delete(call);
      case "CHECK":
        if (wantsIpam && ipamResult === undefined) return DELEGATE;
        return this.#check(call, passed);
      case "STATUS":
        if (wantsIpam && ipamResult === undefined) return DELEGATE;
        return this.#status(call);
      case "GC":
        return wantsIpam ? then(this.#collect(call), () => DELEGATE) : this.#collect(call);
    }
  }

  #add(call: AttachedCall, passed: Passed): Output {
    this.#replay();
    if (call.configuration.vpc === undefined) return this.#addPod(call, passed);
    const { ipamResult } = passed.request;
    return this.#inNetns(call, passed, (netns, isLate) =>
      this.#vpcs.add(call, { netns, ipamResult, isLate }),
    );
  }

  /** What is known of a pod already needs no waiting; most are of the default network alone. */
  #addPod(call: AttachedCall, passed: Passed): Output {
    const { pod } = call.configuration;
    const facts = this.#vpcs.factsOf(pod);
    if (pod === undefined || facts === undefined)
      return this.#turns.run(keyOf(attachmentOf(call)), () => this.#pods.add(call, passed));
    if (facts instanceof Promise) {
      // It is heard when the turn has come.
      facts.catch(() => undefined);
      return this.#addPrimary(call, passed, async () => primaryWish(pod, await facts));
    }
    const wish = primaryWish(pod, facts);
    if (wish !== undefined) return this.#addPrimary(call, passed, () => wish);
    return this.#turns.run(keyOf(attachmentOf(call)), () => this.#pods.add(call, passed));
  }

  /** The private network comes first: what it refuses is refused before the pod has an address here, and what follows does not wait. */
  #addPrimary(
    call: AttachedCall,
    passed: Passed,
    wanted: () => VpcWish | undefined | Promise<VpcWish | undefined>,
  ): Output {
    const prepared = this.#pods.prepare(call, passed);
    const attachment = attachmentOf(call);
    const work = async (isLate: () => boolean) => {
      const wish = await wanted();
      if (wish === undefined) return this.#pods.attach(call, prepared);
      const confined = confinementOf(call.configuration);
      const how = { wish, netns: prepared.netns, isLate };
      return this.#vpcs.attach(primaryOf(attachment), how, (attached) =>
        this.#pods.attach(call, prepared, { confined: beside(confined, attached), attached }),
      );
    };
    return this.#inTime("ADD", async (isLate) => {
      using _ = prepared.netns;
      return await this.#turns.run(keyOf(attachment), () => work(isLate));
    });
  }

  #delete(call: DeleteCall): Output {
    const attachment = attachmentOf(call);
    return call.configuration.vpc === undefined ? this.#deletePod(attachment) : this.#deleteVpc(attachment);
  }

  /** Whether there is a private network as well shows when the turn has come. */
  #deletePod(attachment: Attachment): Output {
    const key = keyOf(attachment);
    const alone = () => {
      this.#pods.delete(attachment);
      return "";
    };
    const work = () =>
      this.#hasPrimary(attachment) ? then(this.#deleteVpc(primaryOf(attachment)), alone) : alone();
    if (!this.#turns.isBusy(key) && !this.#hasPrimary(attachment)) return this.#turns.run(key, alone);
    return this.#inTime("DEL", async () => this.#turns.run(key, work));
  }

  #hasPrimary(attachment: Attachment): boolean {
    const { confined } = this.#pods.get(attachment) ?? {};
    return confined !== undefined || this.#vpcs.unfinished.has(keyOf(primaryOf(attachment)));
  }

  /** Where there is no network yet (the agent has just started, or the node has left) the deletion waits for it. */
  #deleteVpc(attachment: Attachment): Output {
    if (this.#vpcs.network === undefined) {
      writeTombstone(this.#options.tombstones, { ...attachment, vpc: true });
      return "";
    }
    const work = async () => {
      await this.#vpcs.require().delete(attachment);
      this.#vpcs.unfinished.delete(keyOf(attachment));
      return "";
    };
    return this.#inTime("DEL", async () => this.#turns.run(keyOf(attachment), work));
  }

  #check(call: AttachedCall, passed: Passed): Output {
    this.#replay();
    const attachment = attachmentOf(call);
    const isVpc = call.configuration.vpc !== undefined;
    if (!isVpc && !this.#hasPrimary(attachment))
      return this.#turns.run(keyOf(attachment), () => {
        this.#pods.check(call, () => this.#pods.netnsOf(call, passed));
        return "";
      });
    return this.#inNetns(call, passed, async (netns) => {
      if (isVpc) await this.#vpcs.check(call, netns);
      else {
        await this.#vpcs.require().check(primaryOf(attachment), netns);
        this.#pods.check(call, () => netns);
      }
      return "";
    });
  }

  #status(call: NetworkCall): string {
    if (call.configuration.vpc === undefined) this.#pods.status(() => this.#replay());
    else if (this.#vpcs.network === undefined)
      throw new CniError("notAvailable", "Cannot attach containers: the node takes part in no VPCs yet");
    return "";
  }

  #collect(call: NetworkCall): Output {
    this.#replay();
    const isVpc = call.configuration.vpc !== undefined;
    const stale = isVpc ? this.#vpcs.stale(call) : this.#pods.stale(call);
    const failures: string[] = [];
    const waiting: Promise<unknown>[] = [];
    for (const attachment of stale) {
      const note = (error: unknown) =>
        void failures.push(`${attachment.ifname} of ${attachment.containerId}: ${(error as Error).message}`);
      try {
        const done = isVpc ? this.#deleteVpc(attachment) : this.#deletePod(attachment);
        if (typeof done !== "string") waiting.push(done.catch(note));
      } catch (error) {
        note(error);
      }
    }
    const end = () => {
      if (failures.length === 0) return "";
      throw new CniError("kernel", `Cannot remove ${failures.length} of ${stale.length} stale attachments`, {
        details: failures.join("; "),
      });
    };
    return waiting.length === 0 ? end() : Promise.all(waiting).then(end);
  }

  /** The namespace stays open until the work has ended, which may be long after the answer. */
  #inNetns(
    call: AttachedCall,
    passed: Passed,
    work: (netns: Netns, isLate: () => boolean) => Promise<string>,
  ): Promise<string> {
    const netns = this.#pods.netnsOf(call, passed);
    const key = keyOf(attachmentOf(call));
    const inTurn = async (isLate: () => boolean) => {
      using inside = netns;
      return await this.#turns.run(key, () => work(inside, isLate));
    };
    return this.#inTime(call.command, inTurn);
  }

  /** Tells the runtime in time when something takes too long. */
  #inTime(command: string, work: (isLate: () => boolean) => Promise<string>): Promise<string> {
    const ms = this.#options.answerMs ?? ANSWER_MS;
    const late = () =>
      new CniError("tryAgain", `Cannot serve ${command} yet: it has taken ${ms} ms; try again`);
    return withinMs(ms, work, late);
  }

  #replay(): void {
    const report = (error: Error) => this.#options.onProblem?.(error);
    replayTombstones(this.#options.tombstones, (tombstone) => this.#bury(tombstone), report).forEach(report);
  }

  /** What waits for the private networks, or is being done, stays written down. */
  #bury({ vpc, ...attachment }: Tombstone): Promise<unknown> | "later" | undefined {
    if (this.#turns.isBusy(keyOf(attachment))) return "later";
    if (vpc === true && this.#vpcs.network === undefined) return "later";
    const done = vpc === true ? this.#deleteVpc(attachment) : this.#deletePod(attachment);
    return typeof done === "string" ? undefined : done;
  }

  /** close ends the service; pods and their rules stay as they are. */
  close(): void {
    this.#replaying[Symbol.dispose]();
    this.#pods.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

function answerOf(output: string): Answer {
  return output === DELEGATE ? DELEGATE : { status: 0, output };
}

function then(output: Output, work: () => string): Output {
  return typeof output === "string" ? work() : output.then(work);
}
