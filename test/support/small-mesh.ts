/**
 * A few nodes with real agents on one wire, for a machine where src/lab is too much: a namespace and private folders for each, and no pods.
 *
 * ```
 * hub 10.77.0.1 ═══ wire (bridge) ═══ a 10.77.0.2, b 10.77.0.3 …
 * ```
 */
import { existsSync, readFileSync } from "node:fs";
import type { Request, Results, ShownPeer } from "../../src/agent/mod.ts";
import {
  createNetns,
  ensureDirectory,
  Netns,
  processesInNetns,
  removeNetns,
  removeTree,
  spawnDetached,
} from "../../src/sys/mod.ts";
import { ip, until } from "./tunnel-pair.ts";

/** Folders of an agent, and what they are called in the node's own folder. */
const FOLDERS = { "/run/causeway": "run", "/run/wireguard": "wireguard", "/var/lib/causeway": "state" };
/** Guards against hanging only: a guest without help of its processor is slow. */
const DEADLINE_MS = 200_000;

/** SmallNodeOptions are what the agent is started with. */
export interface SmallNodeOptions {
  readonly name: string;
  readonly agentOptions: readonly string[];
}

/** SmallNode is one machine. */
export interface SmallNode extends SmallNodeOptions {
  readonly netns: Netns;
  readonly folder: string;
  readonly address: string;
}

/** SmallMesh owns the namespaces, the folders and the processes. */
export class SmallMesh implements AsyncDisposable {
  readonly #folder = `/run/causeway-test/${process.pid}-small`;
  readonly #program: readonly string[];
  #wire!: Netns;
  readonly #nodes = new Map<string, SmallNode>();
  readonly #boxes = new Map<string, Netns>();

  private constructor(program: readonly string[]) {
    this.#program = program;
  }

  /** open makes the machines; `program` is the executable, with what stands before its arguments. */
  static async open(program: readonly string[], nodes: readonly SmallNodeOptions[]): Promise<SmallMesh> {
    const mesh = new SmallMesh(program);
    try {
      mesh.#make(nodes);
    } catch (error) {
      await mesh[Symbol.asyncDispose]();
      throw error;
    }
    return mesh;
  }

  #make(nodes: readonly SmallNodeOptions[]): void {
    this.#wire = this.#netns("wire");
    ip(this.#wire, "link add switch type bridge");
    ip(this.#wire, "link set switch up");
    for (const [index, node] of nodes.entries()) {
      const netns = this.#netns(node.name);
      const address = `10.77.0.${index + 1}`;
      const folder = `${this.#folder}/${node.name}.d`;
      this.#nodes.set(node.name, { ...node, netns, folder, address });
      const there = `/proc/${process.pid}/fd/${netns.fd.number}`;
      ip(this.#wire, `link add name to-${node.name} type veth peer name eth0 netns ${there}`);
      ip(this.#wire, `link set dev to-${node.name} master switch up`);
      ip(netns, `addr add ${address}/24 dev eth0`);
      for (const link of ["lo", "eth0"]) ip(netns, `link set ${link} up`);
      for (const name of Object.values(FOLDERS)) ensureDirectory(`${folder}/${name}`);
    }
  }

  /** box makes a machine without an agent, with 10.77.0.HOST on its link `eth0`. */
  box(name: string, host: number): Netns {
    const netns = this.#netns(name);
    this.#boxes.set(name, netns);
    const there = `/proc/${process.pid}/fd/${netns.fd.number}`;
    ip(this.#wire, `link add name to-${name} type veth peer name eth0 netns ${there}`);
    ip(this.#wire, `link set dev to-${name} master switch up`);
    ip(netns, `addr add 10.77.0.${host}/24 dev eth0`);
    for (const link of ["lo", "eth0"]) ip(netns, `link set ${link} up`);
    return netns;
  }

  /** netns makes a namespace that is joined to nothing. */
  netns(name: string): Netns {
    const netns = this.#netns(name);
    this.#boxes.set(name, netns);
    return netns;
  }

  #netns(name: string): Netns {
    const path = `${this.#folder}/${name}`;
    createNetns(path);
    return Netns.open(path);
  }

  /** node returns a machine by name. */
  node(name: string): SmallNode {
    const found = this.#nodes.get(name);
    if (found === undefined) throw new Error(`there is no node ${name}`);
    return found;
  }

  /** start starts a node's agent and waits until it answers. */
  async start(name: string): Promise<void> {
    const { netns, folder, agentOptions } = this.node(name);
    // Private folders over empty ones, so that the machine gets no mount point.
    const binds = Object.entries(FOLDERS).map(
      ([path, own]) => `mkdir -p ${path} && mount -n --bind ${own} ${path}`,
    );
    const script = [
      'cd "$0"',
      "mount -n -t tmpfs node /var/lib",
      // Last of all, for it hides the folder.
      "mount -n -t tmpfs node /run",
      ...binds,
      'exec "$@"',
    ].join(" && ");
    const agent = [...this.#program, "agent", "--port-mapping", "off", ...agentOptions];
    const shell = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, folder, ...agent];
    spawnDetached(shell, { netns, stdoutPath: `${folder}/agent.log` });
    const socket = `${folder}/run/ctl.sock`;
    await this.wait(`the agent of ${name}`, async () => {
      if (!existsSync(socket)) return "no socket";
      return this.ask(name, { op: "status" }).then(
        () => undefined,
        (error: Error) => error.message,
      );
    }).catch((error: Error) => {
      throw new Error(`${error.message}\n${this.log(name)}`);
    });
  }

  /** log returns what a node's agent said so far. */
  log(name: string): string {
    return readFileSync(`${this.node(name).folder}/agent.log`, "utf8");
  }

  /** ask asks a node's agent as the command line does. */
  async ask<R extends Request>(name: string, request: R): Promise<Results[R["op"]]> {
    const { promise, resolve, reject } = Promise.withResolvers<Results[R["op"]]>();
    let text = "";
    const take = () => {
      for (const line of text.split("\n").slice(0, -1)) {
        const answer = JSON.parse(line);
        if ("result" in answer) resolve(answer.result);
        else if ("error" in answer) reject(new Error(`${name}: ${request.op}: ${answer.error.message}`));
      }
    };
    const socket = await Bun.connect({
      unix: `${this.node(name).folder}/run/ctl.sock`,
      socket: {
        data: (_, bytes) => {
          text += new TextDecoder().decode(bytes);
          take();
        },
        close: () => reject(new Error(`${name}: ${request.op}: the agent hung up`)),
        error: (_, error) => reject(error),
      },
    });
    const timer = setTimeout(
      () => reject(new Error(`${name}: ${request.op}: no answer; the agent said:\n${this.log(name)}`)),
      DEADLINE_MS,
    );
    try {
      socket.write(`${JSON.stringify(request)}\n`);
      return await promise;
    } finally {
      clearTimeout(timer);
      socket.end();
    }
  }

  /** peer returns another node as this one reaches it; undefined when it does not know it. */
  async peer(name: string, other: string): Promise<ShownPeer | undefined> {
    return (await this.ask(name, { op: "peers" })).peers.find((one) => one.name === other);
  }

  /** wait looks again and again until nothing is missing. */
  async wait(what: string, missing: () => Promise<string | undefined> | string | undefined): Promise<void> {
    const endMs = performance.now() + DEADLINE_MS;
    for (;;) {
      const text = await missing();
      if (text === undefined) return;
      if (performance.now() > endMs) throw new Error(`waited in vain for ${what}: ${text}`);
      await Bun.sleep(250);
    }
  }

  /** processes returns what runs in a node. */
  processes(name: string): number[] {
    return processesInNetns(new Set([this.node(name).netns.inode]));
  }

  /** kill ends all that runs in a node, as if its power was lost. */
  async kill(name: string): Promise<void> {
    ip(this.#wire, `link set dev to-${name} down`);
    for (const pid of this.processes(name)) process.kill(pid, "SIGKILL");
    await until(`${name} is dead`, () => this.processes(name).length === 0);
    removeTree(`${this.node(name).folder}/run`);
    removeTree(`${this.node(name).folder}/wireguard`);
    for (const own of ["run", "wireguard"]) ensureDirectory(`${this.node(name).folder}/${own}`);
  }

  /** revive plugs a killed node in again and starts its agent. */
  async revive(name: string): Promise<void> {
    ip(this.#wire, `link set dev to-${name} up`);
    await this.start(name);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const name of this.#nodes.keys())
      for (const pid of this.processes(name)) process.kill(pid, "SIGKILL");
    for (const name of this.#nodes.keys())
      await until(`${name} is dead`, () => this.processes(name).length === 0);
    for (const { name, netns } of this.#nodes.values()) {
      netns.close();
      removeNetns(`${this.#folder}/${name}`);
    }
    for (const [name, netns] of this.#boxes) {
      netns.close();
      removeNetns(`${this.#folder}/${name}`);
    }
    this.#wire.close();
    removeNetns(`${this.#folder}/wire`);
    removeTree(this.#folder);
  }
}
