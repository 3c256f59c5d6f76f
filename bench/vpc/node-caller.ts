/** NodeCaller: the outside of node-calls.ts. */
import { fileURLToPath } from "node:url";
import type { Lab } from "../../src/lab/mod.ts";
import { linesOf } from "../lines.ts";

/** Call is one of the plugin. */
export interface Call {
  readonly command: "ADD" | "DEL";
  /** Also the container's id and the namespace's name. */
  readonly pod: string;
  readonly ifname: string;
  readonly config: { readonly type: string; readonly [field: string]: unknown };
}

/** Called is what came of it. */
export interface Called {
  /** From the start of the plugin's process to its end. */
  readonly ms: number;
  readonly error?: string;
  readonly result?: { readonly ips?: readonly { readonly address: string }[] };
}

/** Answered is a call that succeeded. */
export interface Answered {
  readonly ms: number;
  /** The first of its addresses; empty after DEL. */
  readonly address: string;
}

/** The network that a pod is attached to: a Subnet, or the node's default one. */
export type Network = { readonly subnet: string } | "default";

const program = fileURLToPath(new URL("./node-calls.ts", import.meta.url));

/** NodeCaller owns a process in a node. */
export class NodeCaller implements Disposable {
  readonly #process: Bun.Subprocess<"pipe", "pipe", "inherit">;
  readonly #lines: AsyncIterator<string>;

  constructor(lab: Lab, node: string) {
    const argv = lab.command(node, [process.execPath, program]);
    this.#process = Bun.spawn(argv, { stdin: "pipe", stdout: "pipe", stderr: "inherit" });
    this.#lines = linesOf(this.#process.stdout);
  }

  add(pod: string, network: Network): Promise<Answered> {
    return this.#call("ADD", pod, network);
  }

  delete(pod: string, network: Network): Promise<Answered> {
    return this.#call("DEL", pod, network);
  }

  async #call(command: Call["command"], pod: string, network: Network): Promise<Answered> {
    const config = { cniVersion: "1.0.0", name: "causeway", type: "causeway" };
    const call: Call =
      network === "default"
        ? { command, pod, ifname: "eth0", config }
        : { command, pod, ifname: "net1", config: { ...config, name: network.subnet, ...network } };
    this.#process.stdin.write(`${JSON.stringify(call)}\n`);
    await this.#process.stdin.flush();
    const { value, done } = await this.#lines.next();
    if (done === true) throw new Error("the caller in the node ended");
    const { ms, error, result } = JSON.parse(value) as Called;
    if (error !== undefined) throw new Error(error);
    return { ms, address: result?.ips?.[0]?.address.split("/")[0] ?? "" };
  }

  [Symbol.dispose](): void {
    this.#process.kill();
  }
}
