/** Lab: a laboratory that is up, and everything that can be done with it. */
import { formatIp } from "../net/mod.ts";
import { Conntrack } from "../netlink/mod.ts";
import {
  ensureDirectory,
  environmentVariable,
  inParallel,
  listDirectory,
  Netns,
  type ProcessResult,
  removeTree,
  run,
} from "../sys/mod.ts";
import { type Capture, startCapture } from "./capture.ts";
import { findExecutable } from "./executable.ts";
import {
  causeway,
  causewayJson,
  killAgent,
  makeMesh,
  type MeshContext,
  peersOf,
  startAgent,
  statusOf,
  type Watch,
  waitForMesh,
} from "./mesh.ts";
import { bootAnew, inNode, makeMounts, removeMounts, VOLATILE_FOLDERS } from "./mounts.ts";
import { flushedMappings } from "./nat.ts";
import { applyRules, makeBox, makeNetwork, removeBox } from "./network.ts";
import { labNames, LAB_ROOT, Place } from "./place.ts";
import { parseLab } from "./plan.ts";
import { addPod, checkPod, deletePod, dropPod, type Pod, readPod, type Wish } from "./pod.ts";
import { startPortMapping } from "./port-mapping.ts";
import { clearNamespaces, recorded, stopEverything } from "./processes.ts";
import { type PortAnswers, scan } from "./scan.ts";
import { askSpeaker, startSpeaker, stopSpeaker } from "./speaker.ts";
import {
  agentNodes,
  type Box,
  isNat,
  isNode,
  isSpeaker,
  type NodeBox,
  podNames,
  type SpeakerBox,
  type Topology,
} from "./topology.ts";
import { throwIfStopped } from "./wait.ts";
import { wiringOf } from "./wiring.ts";

/** UpOptions say how a laboratory is brought up. */
export interface UpOptions extends Watch {
  /** Folder of laboratories; default `LAB_ROOT`. */
  readonly root?: string;
  /** The causeway executable that nodes run; default: found. */
  readonly executable?: string;
  /** Leave what was made when bringing up fails. */
  readonly keep?: boolean;
  /** Make the network only: no agents, no pods. */
  readonly networkOnly?: boolean;
}

/** Lab is a laboratory that is up. Its parts outlive this object; `down` ends them. */
export class Lab {
  readonly topology: Topology;
  readonly place: Place;
  readonly #executable: string;

  private constructor(topology: Topology, place: Place, executable: string) {
    this.topology = topology;
    this.place = place;
    this.#executable = executable;
  }

  /** up makes the laboratory that a manifest describes. When it fails, all is taken down again, unless `keep` is set. */
  static async up(manifest: string, options: UpOptions = {}): Promise<Lab> {
    const topology = parseLab(manifest);
    const place = new Place(topology.name, options.root);
    if (place.taken)
      throw new Error(
        `Lab ${topology.name} is up already, or left over; take it away with: causeway lab down ${topology.name}`,
      );
    const runs = options.networkOnly !== true;
    const runsAgents = runs && agentNodes(topology).length > 0;
    const speakers = runs ? topology.boxes.filter(isSpeaker) : [];
    const runsOurs = runsAgents || speakers.some(({ daemon }) => daemon === "causeway");
    const executable = runsOurs ? findExecutable(options.executable) : "";
    const lab = new Lab(topology, place, executable);
    try {
      place.make({ manifest, executable });
      lab.#makeMachines(options);
      for (const box of topology.boxes) if (isNat(box) && box.portMapping) await startPortMapping(place, box);
      await inParallel(speakers, 4, (speaker) => startSpeaker(place, speaker, executable));
      if (runsAgents) await lab.#makeCluster(options);
      return lab;
    } catch (error) {
      if (options.keep !== true) await lab.down();
      throw error;
    }
  }

  /** open finds a laboratory that is up; without a name, the only one. */
  static open(name?: string, options: { readonly root?: string } = {}): Lab {
    const names = labNames(options.root);
    if (name === undefined && names.length !== 1)
      throw new Error(
        names.length === 0
          ? "No lab is up; bring one up with: causeway lab up FILE"
          : `Several labs are up (${names.join(", ")}); name one with --lab`,
      );
    const place = new Place(name ?? (names[0] as string), options.root);
    const record = place.record();
    if (record === undefined)
      throw new Error(`Lab ${place.name} is not up${names.length > 0 ? `; up are ${names.join(", ")}` : ""}`);
    return new Lab(parseLab(record.manifest), place, record.executable);
  }

  /** remove takes away a laboratory by name, or what a failure or a reboot left of it; false if there is nothing. */
  static async remove(name: string, options: { readonly root?: string } = {}): Promise<boolean> {
    const place = new Place(name, options.root);
    if (!place.taken) return false;
    await stopEverything(place);
    place.remove();
    return true;
  }

  #makeMachines(options: UpOptions): void {
    const { networks, boxes } = this.topology;
    const pathOf = (name: string) => this.place.netns(name);
    makeNetwork(wiringOf(this.topology), pathOf);
    for (const node of boxes.filter(isNode)) {
      ensureDirectory(this.place.state(node.name));
      makeMounts(this.place, node.name);
    }
    options.onProgress?.(`${networks.length} networks and ${boxes.length} machines are wired`);
    throwIfStopped(options.signal);
  }

  async #makeCluster(options: UpOptions): Promise<void> {
    await makeMesh(this.#context, options);
    const nodes = agentNodes(this.topology);
    const made = await inParallel(nodes, 4, (node) => this.addPods(node.name));
    throwIfStopped(options.signal);
    options.onProgress?.(`${made.flat().length} pods are attached`);
  }

  get #context(): MeshContext {
    return { place: this.place, topology: this.topology, executable: this.#executable };
  }

  get name(): string {
    return this.topology.name;
  }

  /** box returns a box by name; throws with the names that exist. */
  box(name: string): Box {
    const box = this.topology.boxes.find((candidate) => candidate.name === name);
    if (box !== undefined) return box;
    const names = this.topology.boxes.map((candidate) => candidate.name);
    throw new Error(`Lab ${this.name} has no ${name}; it has ${names.join(", ")}`);
  }

  #node(name: string): NodeBox {
    const box = this.box(name);
    if (!isNode(box)) throw new Error(`${name} is not a node but a ${box.kind}`);
    return box;
  }

  /** netns opens the network namespace of a network, a box or a pod. */
  netns(name: string): Netns {
    return Netns.open(this.place.netns(name));
  }

  /** pods returns the pods that are attached, sorted by name. */
  pods(): Pod[] {
    return listDirectory(`${this.place.folder}/pods`)
      .map((file) => readPod(this.place, file.slice(0, -".json".length)))
      .filter((pod) => pod !== undefined);
  }

  /** pod returns an attached pod; throws when it is not there. */
  pod(name: string): Pod {
    const pod = readPod(this.place, name);
    if (pod === undefined)
      throw new Error(
        `There is no pod ${name}; there are ${this.pods()
          .map((p) => p.name)
          .join(", ")}`,
      );
    return pod;
  }

  /** The node of a pod; throws with the names of all places where something can run. */
  #nodeOfPod(name: string): string {
    const pods = this.pods();
    const pod = pods.find((candidate) => candidate.name === name);
    if (pod !== undefined) return pod.node;
    const names = [...this.topology.boxes, ...pods].map((place) => place.name);
    throw new Error(`Lab ${this.name} has no ${name}; it has ${names.join(", ")}`);
  }

  /**
   * command returns the command line that runs another in a node, a pod, any other box, or a network. The program
   * `causeway` is the one that the nodes run.
   */
  command(target: string, command: readonly string[]): string[] {
    const argv = command[0] === "causeway" ? [this.#program(), ...command.slice(1)] : command;
    if (this.topology.networks.some((network) => network.name === target))
      return inNode(this.place, { netns: target }, argv);
    const box = this.topology.boxes.find((candidate) => candidate.name === target);
    const node = box === undefined ? this.#nodeOfPod(target) : isNode(box) ? box.name : undefined;
    return inNode(this.place, { netns: target, ...(node === undefined ? {} : { node }) }, argv);
  }

  /** interactive is `command` for people: a shell that they start finds `causeway` in its PATH too. */
  interactive(target: string, command: readonly string[]): string[] {
    const program = this.#program();
    const path = `${program.slice(0, program.lastIndexOf("/"))}:${environmentVariable("PATH") ?? ""}`;
    const argv = command[0] === "causeway" ? [program, ...command.slice(1)] : command;
    return this.command(target, ["env", `PATH=${path}`, ...argv]);
  }

  /** Where no agent was started with the laboratory, people start them by hand. */
  #program(): string {
    return this.#executable === "" ? findExecutable() : this.#executable;
  }

  /** exec runs a program in a node, a pod or any other box, to its end. */
  exec(
    target: string,
    argv: readonly string[],
    options: { readonly input?: string; readonly timeoutMs?: number } = {},
  ): Promise<ProcessResult> {
    return run(this.command(target, argv), options);
  }

  /** causeway runs our command line in a node. */
  causeway(node: string, args: readonly string[], input?: string): Promise<ProcessResult> {
    return causeway(this.#context, this.#node(node).name, args, input);
  }

  /** causewayJson runs our command line in a node with `--json`, and throws when it fails. */
  causewayJson<T>(node: string, args: readonly string[], input?: string): Promise<T> {
    return causewayJson(this.#context, this.#node(node).name, args, input);
  }

  /** status returns what a node's agent says of itself; undefined when it does not answer. */
  status(node: string): ReturnType<typeof statusOf> {
    return statusOf(this.#context, this.#node(node).name);
  }

  /** peers returns what a node's agent says of the others. */
  peers(node: string): ReturnType<typeof peersOf> {
    return peersOf(this.#context, this.#node(node).name);
  }

  /** settled waits until the named nodes (default all) reach each other. */
  settled(options: Watch & { readonly nodes?: readonly string[] } = {}): Promise<void> {
    return waitForMesh(this.#context, options);
  }

  #speaker(name: string): SpeakerBox {
    const box = this.box(name);
    if (!isSpeaker(box)) throw new Error(`${name} does not speak BGP; it is a ${box.kind}`);
    return box;
  }

  /** ask asks a speaker with its own client: `vtysh -c`, `gobgp`, `birdc`, `causeway bgp`; returns what it printed, throws when it fails. */
  async ask(name: string, ...words: string[]): Promise<string> {
    const question = { words, executable: this.#executable };
    const { status, stdout, stderr } = await askSpeaker(this.place, this.#speaker(name), question);
    if (status !== 0) throw new Error(`${name}: ${words.join("; ")}: ${stderr.trim() || stdout.trim()}`);
    return stdout;
  }

  /** startSpeaker starts a speaker's daemons that do not run, with another configuration if one is given. */
  async startSpeaker(name: string, options: { readonly config?: string } = {}): Promise<void> {
    const box = this.#speaker(name);
    const config = options.config ?? box.config;
    await startSpeaker(this.place, { ...box, config }, this.#executable);
  }

  /** stopSpeaker ends a speaker's daemons without warning, or with SIGTERM if `gently`. What they made in the kernel stays. */
  stopSpeaker(name: string, options: { readonly gently?: boolean } = {}): Promise<void> {
    return stopSpeaker(this.place, this.#speaker(name), { executable: this.#executable, ...options });
  }

  /** agentPid returns the process id of a node's agent, or undefined. */
  agentPid(node: string): number | undefined {
    return recorded(this.place, `agent-${node}`)?.pid;
  }

  /** startAgent starts a node's agent and waits until it answers. */
  startAgent(node: string): Promise<void> {
    return startAgent(this.#context, this.#node(node).name);
  }

  /** killAgent ends a node's agent without warning, or with SIGTERM if `gently`. What it made stays. */
  killAgent(node: string, options: { readonly gently?: boolean } = {}): Promise<void> {
    return killAgent(this.#context, this.#node(node).name, options);
  }

  /**
   * reboot does to a node what a power failure does: everything that runs in it ends, its namespaces and /run are lost,
   * its disk stays, its kernel names another boot. Then the agent is started, if there was one. Pods are not attached again.
   */
  async reboot(name: string): Promise<void> {
    const node = this.#node(name);
    const pods = this.pods().filter((pod) => pod.node === name);
    await this.killAgent(name);
    await clearNamespaces(this.place, [name, ...pods.map((pod) => pod.name)]);
    for (const pod of pods) await dropPod(this.place, pod.name);
    const wiring = wiringOf(this.topology);
    const box = wiring.boxes.find((candidate) => candidate.name === name);
    if (box === undefined) return;
    const pathOf = (namespace: string) => this.place.netns(namespace);
    removeMounts(this.place, name);
    removeBox(box, pathOf);
    for (const folder of VOLATILE_FOLDERS) removeTree(`${this.place.state(name)}/${folder}`);
    makeBox(wiring, box, pathOf);
    bootAnew(this.place, name);
    makeMounts(this.place, name);
    if (node.role !== "none" && this.#executable !== "") await this.startAgent(name);
  }

  /** addPods attaches the pods of a node that are not there; returns all of them. */
  async addPods(name: string): Promise<Pod[]> {
    return inParallel(
      podNames(this.#node(name)),
      2,
      async (pod) => readPod(this.place, pod) ?? (await addPod(this.place, { node: name, pod })),
    );
  }

  /** addPod attaches one more pod (of the cluster's namespace `lab`, or another) to a node's default network, or to these networks. */
  addPod(
    node: string,
    pod: string,
    networks?: readonly Wish[],
    { namespace }: { readonly namespace?: string } = {},
  ): Promise<Pod> {
    const more = { ...(networks && { networks }), ...(namespace !== undefined && { namespace }) };
    return addPod(this.place, { node: this.#node(node).name, pod, ...more });
  }

  /** checkPod asks the CNI plugin whether a pod is as it made it; throws if not. */
  checkPod(pod: string): Promise<void> {
    return checkPod(this.place, pod);
  }

  /** deletePod detaches a pod and removes it. */
  deletePod(pod: string): Promise<void> {
    return deletePod(this.place, pod);
  }

  /** flushNat makes a NAT box forget every mapping and connection. */
  flushNat(name: string): void {
    const box = this.box(name);
    if (!isNat(box)) throw new Error(`${name} is not a NAT box but a ${box.kind}`);
    using netns = this.netns(name);
    // First the memory, then the connections, which are what it is learned from.
    applyRules(flushedMappings(), netns);
    using conntrack = Conntrack.open({ netns });
    conntrack.flush();
    applyRules(flushedMappings(), netns);
  }

  /** scan tries TCP and UDP ports of an address from a box, as somebody out there would. */
  async scan(
    from: string,
    target: Parameters<typeof scan>[0]["target"],
    ports: readonly number[],
  ): Promise<PortAnswers> {
    using netns = this.netns(from);
    return await scan({ netns, target, ports });
  }

  /** capture records every packet of a network, or of a link in a box or a pod, until it is stopped. */
  capture(where: string, link?: string): Promise<Capture> {
    return startCapture(this.place, where, link);
  }

  /** address returns a box's IPv4 address (of its first network, or of the named one) as text. */
  address(name: string, network?: string): string {
    const { attachments } = this.box(name);
    const attachment = attachments.find(
      (candidate) => network === undefined || candidate.network === network,
    );
    if (attachment === undefined) throw new Error(`${name} is not on network ${network}`);
    return formatIp(attachment.address4.ip);
  }

  /** down ends and removes all of the laboratory. */
  async down(): Promise<void> {
    await Lab.remove(this.name, { root: this.place.folder.slice(0, -this.name.length - 1) || LAB_ROOT });
  }
}
