/**
 * A node as the doctor sees one, without an agent: links, addresses and routes as the mesh makes them, in a namespace; another node behind the
 * tunnel's link, and a pod.
 *
 * ```
 * tunnel 10.90.0.3, 10.244.2.5 ── cw0  node 10.90.0.2  cw-pods ── pod 10.244.1.5
 * ```
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import type { Check, Diagnosis } from "../../src/doctor/mod.ts";
import { type Netns, type ProcessResult, run, runSync } from "../../src/sys/mod.ts";
import { Scratch } from "./scratch.ts";

const PROGRAM = `${import.meta.dir}/doctor-node.ts`;
/** The metric of the routes that stand for the mesh's own networks (mesh/objects.ts). */
const LAST = 0x7fff_ffff;

export class DoctorWorld implements Disposable {
  readonly scratch = new Scratch();
  readonly node = this.scratch.netns;
  readonly tunnel = this.scratch.another();
  readonly pod = this.scratch.another();
  /** The node's state; below it `root`, the files of Kubernetes. */
  readonly state = mkdtempSync(join(tmpdir(), "causeway-doctor-"));
  readonly root = join(this.state, "root");

  constructor() {
    mkdirSync(this.root);
    for (const netns of [this.node, this.tunnel, this.pod]) this.ip("link set lo up", netns);
    this.#join("cw0", this.tunnel);
    this.#join("veth-pod", this.pod);
    for (const line of [
      "link add cw-pods type bridge",
      "link set cw-pods up",
      "link set veth-pod master cw-pods",
      "addr add 10.90.0.2/32 dev cw0",
      "addr add 10.244.1.1/24 dev cw-pods",
      "route add 10.90.0.0/16 dev cw0 src 10.90.0.2",
      "route add 10.244.0.0/16 dev cw0",
      `route add unreachable 10.90.0.0/16 metric ${LAST}`,
      `route add unreachable 10.244.0.0/16 metric ${LAST}`,
    ])
      this.ip(line);
    for (const address of ["10.90.0.3/32", "10.244.2.5/32"])
      this.ip(`addr add ${address} dev eth0`, this.tunnel);
    this.ip("route add default via 10.90.0.2 dev eth0 onlink", this.tunnel);
    this.ip("addr add 10.244.1.5/24 dev eth0", this.pod);
    this.ip("route add default via 10.244.1.1", this.pod);
    this.scratch.text("sysctl -qw net.ipv4.ip_forward=1");
    this.scratch.text("sysctl -qw net.ipv6.conf.all.forwarding=1");
  }

  ip(line: string, netns: Netns = this.node): void {
    this.scratch.text(`ip ${line}`, netns);
  }

  #join(name: string, other: Netns): void {
    const there = `/proc/${process.pid}/fd/${other.fd.number}`;
    this.ip(`link add ${name} type veth peer name eth0 netns ${there}`);
    this.ip(`link set ${name} up`);
    this.ip("link set eth0 up", other);
  }

  /** shell runs lines in the node; it throws with what the first wrong one said. */
  shell(text: string): string {
    const done = runSync(["sh", "-ec", text], { netns: this.node });
    if (done.status !== 0) throw new Error(`${text}: ${done.stderr}`);
    return done.stdout;
  }

  /** put writes a file below `root`. */
  put(path: string, text: string): void {
    const file = join(this.root, path);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, text);
  }

  /** argv is the doctor's program in this node. */
  argv(verb: string, ...words: readonly string[]): string[] {
    return [process.execPath, PROGRAM, this.state, verb, ...words];
  }

  doctor(verb: string, ...words: readonly string[]): Promise<ProcessResult> {
    return run(this.argv(verb, ...words), { netns: this.node });
  }

  /** checks returns what it says, by the names of checks. */
  async checks(verb: "look" | "fix", ...ids: readonly string[]): Promise<Readonly<Record<string, Check>>> {
    const { status, stdout, stderr } = await this.doctor(verb, ...ids);
    if (status !== 0) throw new Error(`doctor ${verb}: ${stderr}`);
    const { checks } = JSON.parse(stdout) as Diagnosis;
    return Object.fromEntries(checks.map((check) => [check.id, check]));
  }

  [Symbol.dispose](): void {
    this.scratch[Symbol.dispose]();
    rmSync(this.state, { recursive: true, force: true });
  }
}
