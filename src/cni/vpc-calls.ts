/**
 * Calls about private networks. They wait, for the register that gives addresses and for the kernel, so those of one attachment take turns,
 * and a runtime hears of lateness before it gives up: what is done later is undone.
 */
import type { Attachment } from "../ipam/mod.ts";
import type { Netns } from "../sys/mod.ts";
import { checkVpc } from "./check-vpc.ts";
import type { PodName } from "./configuration.ts";
import { CniError } from "./error.ts";
import { isObject } from "./json.ts";
import type { PodFacts, PodFactsSource } from "./pod-facts.ts";
import { type AttachedCall, attachmentOf, type NetworkCall } from "./request.ts";
import { formatResult, mergeResults, parseResult, type Result } from "./result.ts";
import { type Turns } from "./turns.ts";
import type { VpcAttached, VpcNetwork, VpcWish } from "./vpc-network.ts";
import { addRoutes, routesOf } from "./vpc-routes.ts";
import { vpcResult } from "./vpc-result.ts";
import { secondaryWish } from "./vpc-wish.ts";

/** VpcCallsOptions say what they work with. */
export interface VpcCallsOptions {
  readonly turns: Turns;
  readonly onProblem?: ((error: Error) => void) | undefined;
}

/** keyOf returns the key that the calls of an attachment take turns by. */
export function keyOf({ network, containerId, ifname }: Attachment): string {
  return `${network}\0${containerId}\0${ifname}`;
}

/** AddOptions are what an ADD needs beside its call. */
export interface AddOptions {
  readonly netns: Netns;
  /** Text that the IPAM plugin wrote. */
  readonly ipamResult: string | undefined;
  readonly isLate: () => boolean;
}

/** VpcCalls answers calls with a VpcNetwork, which is there while the node has joined a mesh. */
export class VpcCalls {
  readonly #options: VpcCallsOptions;
  /** Keys of what could not be undone. */
  readonly unfinished = new Set<string>();
  network: VpcNetwork | undefined;
  facts: PodFactsSource | undefined;

  constructor(options: VpcCallsOptions) {
    this.#options = options;
  }

  /** add attaches a container to the network of its configuration, and returns the result as text. */
  async add(call: AttachedCall, { netns, ipamResult, isLate }: AddOptions): Promise<string> {
    const { configuration } = call;
    const before = configuration.previous && parseResult(configuration.previous);
    const ipam = ipamResult === undefined ? undefined : parseIpam(ipamResult);
    const vpc = configuration.vpc ?? {};
    this.require();
    const facts = await this.factsOf(configuration.pod);
    const wish = secondaryWish(configuration, { ifname: call.ifname, facts, ipam });
    return this.attach(attachmentOf(call), { wish, netns, isLate }, (attached) => {
      const wanted = routesOf(attached, [
        ...(vpc.routes ?? []),
        ...(ipam === undefined ? [] : routesFrom(ipam)),
      ]);
      const made = addRoutes(netns, call.ifname, wanted);
      const ours = vpcResult(call, attached, made);
      return formatResult(before === undefined ? ours : mergeResults(before, ours), configuration.version);
    });
  }

  /** attach attaches a container and does what follows; both or nothing is done. */
  async attach<T>(
    attachment: Attachment,
    how: { readonly wish: VpcWish; readonly netns: Netns; readonly isLate: () => boolean },
    follow: (attached: VpcAttached) => T,
  ): Promise<T> {
    const network = this.require();
    const attached = await network.add(attachment, how.wish, how.netns);
    try {
      // Whoever has given up has been told so; DEL may come, or not.
      if (how.isLate())
        throw new CniError("tryAgain", "Cannot attach the container: the runtime has given up");
      return follow(attached);
    } catch (error) {
      await network.delete(attachment).catch((cause: unknown) => {
        this.unfinished.add(keyOf(attachment));
        this.#options.onProblem?.(new Error("Cannot undo an attachment; DEL will try again", { cause }));
      });
      throw error;
    }
  }

  /** factsOf returns what is known of a pod; undefined where nobody watches pods, or the runtime does not name one. */
  factsOf(pod: PodName | undefined): Promise<PodFacts> | PodFacts | undefined {
    if (pod === undefined || this.facts === undefined) return undefined;
    const { namespace, name, uid } = pod;
    return (
      this.facts.podFacts(namespace, name, uid) ??
      this.facts.find(namespace, name, uid).catch((cause: unknown) => {
        throw new CniError(
          "tryAgain",
          `Cannot attach pod ${namespace}/${name}: which network it belongs to is not known`,
          { details: (cause as Error).message, cause },
        );
      })
    );
  }

  /** check throws a CniError that names what is wrong. */
  async check(call: AttachedCall, netns: Netns): Promise<void> {
    const { previous } = call.configuration;
    if (previous === undefined)
      throw new CniError("badConfiguration", "Cannot check the attachment: prevResult is missing", {
        details: "CHECK needs the result of ADD in prevResult",
      });
    checkVpc({ ifname: call.ifname, previous: parseResult(previous), netns });
    await this.require().check(attachmentOf(call), netns);
  }

  /** stale returns the attachments that a runtime does not know any more, but for those that something is being done about. */
  stale({ configuration: { name, validAttachments } }: NetworkCall): Attachment[] {
    if (validAttachments === undefined) return [];
    const { turns } = this.#options;
    return (this.network?.attachments() ?? []).filter(
      (attachment) =>
        attachment.network === name &&
        !turns.isBusy(keyOf(attachment)) &&
        !validAttachments.some(
          ({ containerId, ifname }) => containerId === attachment.containerId && ifname === attachment.ifname,
        ),
    );
  }

  /** require returns the network; throws code 11 while there is none. */
  require(): VpcNetwork {
    if (this.network !== undefined) return this.network;
    throw new CniError(
      "tryAgain",
      "Cannot attach the container: the node takes part in no VPCs yet; join a mesh with causeway join",
    );
  }
}

function parseIpam(text: string): Result {
  const value: unknown = JSON.parse(text);
  const result = isObject(value) ? parseResult(value) : undefined;
  if (result === undefined || result.addresses.length === 0)
    throw new CniError("badConfiguration", "Cannot use the answer of the IPAM plugin: it has no address", {
      details: text.slice(0, 500),
    });
  return result;
}

/** A route of the IPAM plugin without a gateway leads to the one of its address. */
function routesFrom({ routes, addresses }: Result) {
  return routes.map(({ scope: _, ...route }) => {
    const gateway =
      route.gateway ??
      addresses.find(({ address }) => address.ip.family === route.destination.family)?.gateway;
    return { ...route, ...(gateway !== undefined && { gateway }) };
  });
}
