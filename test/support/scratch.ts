/** Scratch: throw-away namespaces for one test, with iproute2 as the witness of what is in them. */
import { expect } from "bun:test";
import { existsSync } from "node:fs";
import { addLink, NetlinkError, type NewLink, Rtnetlink } from "../../src/netlink/mod.ts";
import { createNetns, listDirectory, Netns, removeNetns, removeTree, runSync } from "../../src/sys/mod.ts";

/** Json is what the tools print with -j; tests look into it by name. */
export type Json = any;

let serial = 0;

const FOLDER = "/run/causeway-test";

/** Removes what test processes left that were killed before they could: those whose number no process has. */
function sweep(): void {
  for (const name of listDirectory(FOLDER)) {
    const pid = /^(\d+)-scratch-\d+$/.exec(name)?.[1];
    if (pid === undefined || existsSync(`/proc/${pid}`)) continue;
    for (const file of listDirectory(`${FOLDER}/${name}`)) removeNetns(`${FOLDER}/${name}/${file}`);
    removeTree(`${FOLDER}/${name}`);
  }
}

/** Scratch is one namespace, with its socket. Disposing it removes the namespace and all that is in it. */
export class Scratch implements Disposable {
  readonly folder = `${FOLDER}/${process.pid}-scratch-${serial++}`;
  readonly netns: Netns;
  readonly route: Rtnetlink;
  readonly #paths: string[] = [];
  readonly #opened: Disposable[] = [];

  constructor() {
    if (serial === 1) sweep();
    this.netns = this.another();
    this.route = this.#keep(Rtnetlink.open({ netns: this.netns }));
  }

  /** prepared makes a scratch and sets it up; nothing stays when that fails. */
  static prepared<T extends object>(setUp: (scratch: Scratch) => T): Scratch & T {
    const scratch = new Scratch();
    try {
      return Object.assign(scratch, setUp(scratch));
    } catch (error) {
      scratch[Symbol.dispose]();
      throw error;
    }
  }

  #keep<T extends Disposable>(value: T): T {
    this.#opened.push(value);
    return value;
  }

  /** another makes one more namespace. */
  another(): Netns {
    const path = `${this.folder}/${this.#paths.length}`;
    createNetns(path);
    this.#paths.push(path);
    return this.#keep(Netns.open(path));
  }

  /** text runs a program in the namespace and returns what it printed. */
  text(command: string, netns = this.netns): string {
    const done = runSync(command.split(" "), { netns });
    if (done.status !== 0) throw new Error(`${command}: ${done.stderr.trim()}`);
    return done.stdout;
  }

  /** json runs a program in the namespace and returns the JSON that it printed. */
  json(command: string, netns = this.netns): Json {
    const text = this.text(command, netns).trim();
    return text === "" ? [] : JSON.parse(text);
  }

  /** index returns the index of a link that must be there. */
  index(name: string): number {
    const link = this.route.link(name);
    if (link === undefined) throw new Error(`there is no link ${name}`);
    return link.index;
  }

  /** Names of links by index. */
  names(): Map<number, string> {
    return new Map(this.route.links().map((link) => [link.index, link.name]));
  }

  [Symbol.dispose](): void {
    for (const opened of this.#opened.reverse()) opened[Symbol.dispose]();
    for (const path of this.#paths) removeNetns(path);
    removeTree(this.folder);
  }
}

/**
 * expectAgreement compares what we read with what a tool prints. The kernel goes on by itself (carriers, multicast groups), so
 * what we read before and after the tool ran must be the same first.
 */
export function expectAgreement(ours: () => Json[], theirs: () => Json[]): void {
  const sorted = (values: Json[]) => values.map((value) => JSON.stringify(value)).sort();
  for (let tries = 0; tries < 50; tries++) {
    const before = sorted(ours());
    const witness = sorted(theirs());
    if (!Bun.deepEquals(before, sorted(ours()))) continue;
    expect(before.map((text) => JSON.parse(text))).toEqual(witness.map((text) => JSON.parse(text)));
    return;
  }
  throw new Error("the kernel does not come to rest");
}

/** notRoot tells why kernel tests cannot run, if they cannot. */
export const notRoot = process.getuid?.() === 0 ? undefined : "needs root";

/** lacksKind tells in the kernel's words why a link cannot be made here; undefined when it can. */
export function lacksKind(link: NewLink): string | undefined {
  if (notRoot !== undefined) return notRoot;
  using scratch = new Scratch();
  // Not every link can be a parent: the loopback refuses VLANs.
  scratch.route.request(addLink({ name: "base", type: "bridge" }));
  const probe = "parent" in link ? { ...link, parent: scratch.index("base") } : link;
  const [error] = scratch.route.execute([addLink(probe)]);
  return error?.code === "EOPNOTSUPP" ? error.message : undefined;
}

/** lacksTool tells why a program cannot be used. */
export function lacksTool(name: string): string | undefined {
  const found = ["/usr/sbin", "/sbin", "/usr/bin", "/bin"].some((folder) => existsSync(`${folder}/${name}`));
  return found ? undefined : `${name} is not installed`;
}

/** refusal returns the error of a request that must be refused. */
export function refusal(work: () => unknown): NetlinkError {
  try {
    work();
  } catch (error) {
    if (error instanceof NetlinkError) return error;
    throw error;
  }
  throw new Error("the kernel did not refuse");
}
