/** The relay's XDP program and the kernel's forwarding on frames as a driver has them: in batches, and not on their sender's processor time. */
import { fileURLToPath } from "node:url";
import { sleep } from "../../src/sys/mod.ts";
import { must } from "../tunnel/cable.ts";
import { Line, LINE } from "./line.ts";

const DRAIN_MS = 50;
/** What comes is counted by its interface, and goes no further; but for neighbours. */
const DROP = [
  "add table netdev sink",
  "add chain netdev sink in { type filter hook ingress device eth0 priority 0; policy accept; }",
  "add rule netdev sink in meta l4proto udp drop",
];

/** Frames is a line whose middle makes frames by itself. */
export class Frames implements Disposable {
  readonly #line = new Line();

  constructor() {
    const { middle, far } = this.#line;
    must(middle, ..."sysctl -qw net.ipv4.ip_forward=1".split(" "));
    // Queues that frames can come by, and be sent to.
    must(middle, ..."ethtool -K near0 gro on".split(" "));
    must(far, ..."ethtool -K eth0 gro on".split(" "));
    for (const command of DROP) must(far, "nft", command);
    // Both need the neighbour.
    for (const address of [LINE.near, LINE.far]) must(middle, "ping", "-n", "-c", "1", address);
  }

  #link(netns: Line["far"], ...more: readonly string[]) {
    return JSON.parse(must(netns, "ip", ...more, "-j", "link", "show", "eth0"))[0];
  }

  get #received(): number {
    return this.#link(this.#line.far, "-s").stats64.rx.packets as number;
  }

  /** run returns how many datagrams a second arrived: by the program (`relay`), or by the network behind one that passes all (`pass`). */
  async run(
    kind: "relay" | "pass",
    { bytes, seconds }: { readonly bytes: number; readonly seconds: number },
  ): Promise<number> {
    const { near, middle } = this.#line;
    const program = fileURLToPath(new URL("./generate-frames.ts", import.meta.url));
    const words = [kind, "near0", this.#link(near).address as string, bytes, seconds].map(String);
    const before = this.#received;
    const { child } = middle.run(() => ({
      child: Bun.spawn([process.execPath, program, ...words], { stdout: "pipe", stderr: "inherit" }),
    }));
    const said = JSON.parse(await child.stdout.text()) as { readonly seconds: number };
    await sleep(DRAIN_MS);
    return (this.#received - before) / said.seconds;
  }

  [Symbol.dispose](): void {
    this.#line[Symbol.dispose]();
  }
}
