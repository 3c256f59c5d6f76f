/** A large mesh on one machine: a real hub (agent and data plane), a crowd, and a machine `one` on which a real node can join. */
import { readdirSync, readFileSync, rmSync } from "node:fs";
import { Lab } from "../../src/lab/mod.ts";
import { SYNC_PORT } from "../../src/mesh/mod.ts";
import { parseEndpoint, parseIp, parsePublicKey } from "../../src/net/mod.ts";
import { Netns, processesInNetns } from "../../src/sys/mod.ts";
import { must } from "../tunnel/cable.ts";
import { Crowd } from "./crowd.ts";
import { fillRegister } from "./full-register.ts";
import { cpuSeconds, type MemoryUse, memoryUse, preferSession } from "../tunnel/usage.ts";

/** HUB and ONE are names of machines. */
export const [HUB, ONE] = ["hub", "one"] as const;
const OUTSIDE = "198.18.0.0/16";
const INSIDE = "10.80.0.0/16";
const PORT = 51820;

const manifest = `apiVersion: causeway.network/v1alpha1
kind: Lab
metadata: { name: large }
spec:
  mesh: { overlay4: ${INSIDE}, pods4: 10.128.0.0/9, nodeBits: 14 }
  networks:
    - { name: internet, prefix4: 203.0.113.0/24 }
  nodes:
    - { name: ${HUB}, role: hub, networks: [internet] }
    - { name: ${ONE}, role: none, networks: [internet] }
  hosts:
    - { name: crowd, networks: [internet] }
`;

/** Use is what a node's two processes hold and have used. */
export interface Use {
  readonly agent: MemoryUse;
  readonly dataplane: MemoryUse;
  readonly agentCpuSeconds: number;
  readonly dataplaneCpuSeconds: number;
  /** Of eth0, both directions, link headers included. */
  readonly bytes: number;
  readonly packets: number;
}

/** LargeMesh owns the laboratory and the crowd. */
export class LargeMesh implements AsyncDisposable {
  readonly lab: Lab;
  readonly crowd: Crowd;
  readonly #netns: Netns;

  private constructor(lab: Lab, crowd: Crowd, netns: Netns) {
    this.lab = lab;
    this.crowd = crowd;
    this.#netns = netns;
  }

  /** open brings it up; `topology` is the mesh's. */
  static async open(options: {
    readonly nodes: number;
    readonly executable: string;
    readonly topology: "full-mesh" | "on-demand";
    readonly urgent: boolean;
    readonly say: (text: string) => void;
  }): Promise<LargeMesh> {
    const { nodes, executable, topology, urgent, say } = options;
    const lab = await Lab.up(manifest, { executable });
    await setTopology(lab, topology);
    const status = await lab.status(HUB);
    const self = status?.node;
    if (self === undefined) throw new Error("the hub has no mesh");
    await endProcesses(lab, HUB);
    say(`register of ${nodes} nodes …`);
    const seats = await fillRegister(`${lab.place.state(HUB)}/var-lib`, {
      count: nodes,
      hub: HUB,
      endpointOf: (i) => parseEndpoint(`198.18.${((i + 1) >> 8) & 255}.${(i + 1) & 255}:${PORT}`),
    });
    routeToCrowd(lab, HUB);
    routeToCrowd(lab, ONE);
    const netns = Netns.open(lab.place.netns("crowd"));
    const crowd = new Crowd({
      netns,
      seats,
      hub: {
        name: HUB,
        publicKey: parsePublicKey(self.publicKey),
        endpoint: parseEndpoint(`${lab.address(HUB)}:${PORT}`),
        overlay4: parseIp(self.overlay4),
        syncPort: SYNC_PORT,
      },
      outside: OUTSIDE,
      inside: INSIDE,
    });
    await crowd.listen();
    say("the hub starts …");
    await Promise.all([lab.startAgent(HUB), ...(urgent ? [preferNode(lab, HUB)] : [])]);
    return new LargeMesh(lab, crowd, netns);
  }

  /** use reads what a node's agent and data plane hold and have used until now. */
  use(node: string): Use {
    const [agent, dataplane] = [processOf(this.lab, node, "agent"), processOf(this.lab, node, "dataplane")];
    using netns = this.lab.netns(node);
    const [{ stats64 }] = JSON.parse(must(netns, ..."ip -j -s link show dev eth0".split(" "))) as [LinkShown];
    return {
      agent: memoryUse(agent),
      dataplane: memoryUse(dataplane),
      agentCpuSeconds: cpuSeconds([agent]),
      dataplaneCpuSeconds: cpuSeconds([dataplane]),
      bytes: stats64.rx.bytes + stats64.tx.bytes,
      packets: stats64.rx.packets + stats64.tx.packets,
    };
  }

  /** renew makes a machine as it was before it joined: nothing runs, nothing is on its disk. */
  async renew(node: string): Promise<void> {
    await endProcesses(this.lab, node);
    const folder = `${this.lab.place.state(node)}/var-lib`;
    for (const name of readdirSync(folder)) rmSync(`${folder}/${name}`, { recursive: true });
    await this.lab.reboot(node);
    routeToCrowd(this.lab, node);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.crowd[Symbol.dispose]();
    this.#netns.close();
    await this.lab.down();
  }
}

interface LinkShown {
  readonly stats64: Record<"rx" | "tx", { readonly bytes: number; readonly packets: number }>;
}

/** setTopology changes the mesh's setting at the hub. */
export async function setTopology(lab: Lab, topology: string): Promise<void> {
  const { spec, ...rest } = await lab.causewayJson<{ spec: Record<string, unknown> }>(HUB, ["mesh", "show"]);
  await lab.causewayJson(
    HUB,
    ["mesh", "apply", "-"],
    JSON.stringify({ ...rest, spec: { ...spec, topology } }),
  );
}

function routeToCrowd(lab: Lab, node: string): void {
  using netns = lab.netns(node);
  must(netns, "ip", "route", "add", OUTSIDE, "via", lab.address("crowd"));
}

/** processOf returns the process of a node that runs a command of ours. */
export function processOf(lab: Lab, node: string, command: "agent" | "dataplane"): number {
  const [pid] = processesOf(lab, node).filter(
    (one) => readFileSync(`/proc/${one}/cmdline`, "latin1").split("\0")[1] === command,
  );
  if (pid === undefined) throw new Error(`${node} runs no ${command}`);
  return pid;
}

function processesOf(lab: Lab, node: string): number[] {
  using netns = lab.netns(node);
  return processesInNetns(new Set([netns.inode]));
}

/** preferNode lets a node's processes come before other work on the machine as soon as they run: their start is work too. */
export async function preferNode(lab: Lab, node: string): Promise<void> {
  for (;;) {
    try {
      for (const command of ["agent", "dataplane"] as const) preferSession(processOf(lab, node, command));
      return;
    } catch {
      // They do not run yet.
      await Bun.sleep(20);
    }
  }
}

/** endProcesses ends a node's agent and data plane; what is on disk stays. */
export async function endProcesses(lab: Lab, node: string): Promise<void> {
  await lab.killAgent(node, { gently: true });
  for (const pid of processesOf(lab, node)) process.kill(pid, "SIGKILL");
  while (processesOf(lab, node).length > 0) await Bun.sleep(10);
}
