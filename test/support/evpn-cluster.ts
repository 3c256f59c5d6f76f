/**
 * A cluster of processes that speak EVPN as nodes do, in namespaces on one wire.
 *
 * ```
 *  a 10.90.0.1 ─┐
 *  b 10.90.0.2 ─┼─ bridge       each: the cluster's router, BFD in a process of its own
 *  c 10.90.0.3 ─┘
 * ```
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { EVPN } from "../../src/bgp/wire/mod.ts";
import { type Netns, processesInNetns } from "../../src/sys/mod.ts";
import type { MemberOrder, MemberSpec, MemberState } from "./evpn-orders.ts";
import { Scratch } from "./scratch.ts";

/** Guards against hanging only, and is far less than a hold time: 90 s. */
const DEADLINE_MS = 45_000;

/** until waits for something to become true, and names it if it does not. */
export async function until(what: string, holds: () => Promise<boolean>): Promise<void> {
  for (const end = performance.now() + DEADLINE_MS; !(await holds()); await Bun.sleep(20))
    if (performance.now() > end) throw new Error(`waited in vain: ${what}`);
}

/** Member is one process. */
export class Member {
  readonly name: string;
  readonly address: string;
  readonly netns: Netns;
  readonly #spec: MemberSpec;
  #process: Bun.Subprocess<"pipe", "pipe", "inherit"> | undefined;
  #answers: AsyncIterator<string> | undefined;
  #turn: Promise<unknown> = Promise.resolve();

  constructor(spec: MemberSpec, address: string, netns: Netns) {
    this.name = spec.self;
    this.address = address;
    this.netns = netns;
    this.#spec = spec;
  }

  /** start begins the process. */
  start(): void {
    this.netns.run(() => {
      this.#process = Bun.spawn(
        [process.execPath, "run", `${import.meta.dir}/evpn-member.ts`, JSON.stringify(this.#spec)],
        { stdin: "pipe", stdout: "pipe", stderr: "inherit" },
      );
    });
    this.#answers = lines((this.#process as Bun.Subprocess<"pipe", "pipe", "inherit">).stdout);
  }

  /** order has it do something, and returns its state after that. */
  order(order: MemberOrder): Promise<MemberState> {
    const asked = this.#turn.then(async () => {
      this.#process?.stdin.write(`${JSON.stringify(order)}\n`);
      this.#process?.stdin.flush();
      const answer = await this.#answers?.next();
      if (answer === undefined || answer.done === true) throw new Error(`${this.name} does not answer`);
      return JSON.parse(answer.value) as MemberState;
    });
    this.#turn = asked.catch(() => {});
    return asked;
  }

  state(): Promise<MemberState> {
    return this.order({ do: "state" });
  }

  /** kill ends the speaker without a word; BFD's process goes on. */
  async kill(): Promise<void> {
    this.#process?.kill("SIGKILL");
    await this.#process?.exited;
    this.#turn = Promise.resolve();
  }

  /** die ends all that runs in the namespace. */
  async die(): Promise<void> {
    for (const pid of processesInNetns(new Set([this.netns.inode])))
      try {
        process.kill(pid, "SIGKILL");
      } catch {
        // It ended with its parent.
      }
    await this.#process?.exited;
    this.#turn = Promise.resolve();
  }

  /** sees waits until its data plane would have exactly this. */
  async sees(...remotes: readonly string[]): Promise<void> {
    const wanted = [...remotes].sort().join("\n");
    let last = "";
    try {
      await until(`${this.name} sees`, async () => {
        last = (await this.state()).remotes.join("\n");
        return last === wanted;
      });
    } catch (error) {
      throw new Error(`${this.name} sees\n${last}\nand not\n${wanted}`, { cause: error });
    }
  }

  /** meets waits until it has sessions with these. */
  async meets(...others: readonly Member[]): Promise<void> {
    for (const { name, address } of others)
      await until(`${this.name} meets ${name}`, async () => {
        const { sessions, bfd } = await this.state();
        return sessions[address] === "up" && bfd[address] === "up";
      });
  }
}

/** EvpnCluster owns namespaces and processes. */
export class EvpnCluster implements AsyncDisposable {
  readonly scratch = new Scratch();
  readonly #folder = mkdtempSync(`${tmpdir()}/causeway-evpn-`);
  readonly #members: Member[] = [];

  /** `names` are nodes, in the order of their addresses; those of `hubs` reflect, unless `reflectors` do. */
  constructor(options: {
    readonly names: readonly string[];
    readonly hubs: readonly string[];
    readonly reflectors?: readonly string[];
  }) {
    const { names, hubs, reflectors } = options;
    const { scratch } = this;
    scratch.text("ip link add wire type bridge mcast_snooping 0");
    scratch.text("ip link set wire up");
    const nodes = names.map((name, i) => ({ name, hub: hubs.includes(name), overlay4: `10.90.0.${i + 1}` }));
    for (const [i, { name, overlay4 }] of nodes.entries()) {
      const folder = `${this.#folder}/${name}`;
      const spec = {
        self: name,
        folder,
        nodes,
        evpnFamily: EVPN,
        ...(reflectors === undefined ? {} : { reflectors }),
      };
      this.#members.push(new Member(spec, overlay4, this.box(i + 1)));
    }
  }

  /** box makes a namespace with the address 10.90.0.HOST on the wire; its link outside is `pHOST`. */
  box(host: number): Netns {
    const { scratch } = this;
    const netns = scratch.another();
    scratch.text(`ip link add p${host} type veth peer name eth0 netns ${netns.path}`);
    scratch.text(`ip link set p${host} master wire up`);
    for (const command of ["link set lo up", "link set eth0 up", `address add 10.90.0.${host}/16 dev eth0`])
      scratch.text(`ip ${command}`, netns);
    return netns;
  }

  /** member returns one by its name. */
  member(name: string): Member {
    return this.#members.find((one) => one.name === name) as Member;
  }

  /** cut takes a member off the wire. */
  cut(name: string): void {
    this.scratch.text(`ip link set p${this.#members.findIndex((one) => one.name === name) + 1} down`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const member of this.#members) await member.die();
    this.scratch[Symbol.dispose]();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

async function* lines(stream: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const chunk of stream) {
    const parts = (rest + decoder.decode(chunk, { stream: true })).split("\n");
    rest = parts.pop() ?? "";
    yield* parts;
  }
}
