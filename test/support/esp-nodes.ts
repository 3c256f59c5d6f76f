/** ESP ends for the two namespaces of path-nodes.ts: our process, or the kernel's own ESP where it has one. */
import { libc, type Netns, run, runSync } from "../../src/sys/mod.ts";
import { type EspNodeOptions, type EspNodeReport, NAT_PORT } from "./esp-node.ts";
import { LINK, type PathNode } from "./path-nodes.ts";
import { ip, tool } from "./tunnel-pair.ts";

/** EspAgreement is what both ends know. */
export type EspAgreement = Pick<EspNodeOptions, "udp" | "algorithm" | "extended" | "sent"> & {
  /** Family of the outer packets. */
  readonly outer: 4 | 6;
};

const outerAddress = (node: PathNode, outer: 4 | 6) => (outer === 4 ? node.underlay4 : node.underlay6);

/** Key and salt of what a node sends. */
function keyOf(node: PathNode, algorithm: EspNodeOptions["algorithm"]) {
  const bytes = (algorithm === "aes-128-gcm" ? 16 : 32) + 4;
  return { spi: 0x1000 + node.number, material: Buffer.alloc(bytes, 0x10 + node.number).toString("hex") };
}

/** EspProcess is ours, in a namespace. */
export class EspProcess implements AsyncDisposable {
  readonly #child: Bun.Subprocess<"ignore", "pipe", "pipe">;
  readonly #lines: AsyncIterator<string>;

  private constructor(child: Bun.Subprocess<"ignore", "pipe", "pipe">) {
    this.#child = child;
    this.#lines = lines(child.stdout);
  }

  /** start runs our end in a node's namespace and gives its link the node's addresses. */
  static async start(
    node: PathNode,
    options: EspAgreement & { readonly peer: PathNode } & Pick<
        EspNodeOptions,
        "tfcBytes" | "windowSize" | "folders"
      >,
  ): Promise<EspProcess> {
    const { peer, outer, ...rest } = options;
    const all: EspNodeOptions = {
      ...rest,
      link: LINK,
      local: outerAddress(node, outer),
      remote: outerAddress(peer, outer),
      out: keyOf(node, options.algorithm),
      in: keyOf(peer, options.algorithm),
    };
    const argv = [process.execPath, `${import.meta.dir}/esp-node.ts`, JSON.stringify(all)];
    const { child } = node.netns.run(() => ({
      child: Bun.spawn(argv, { stdin: "ignore", stdout: "pipe", stderr: "pipe" }),
    }));
    const process_ = new EspProcess(child);
    const { value } = await process_.#lines.next();
    if (value !== "ready") throw new Error(`esp-node: ${value ?? ""} ${await child.stderr.text()}`);
    ip(node.netns, `addr add ${node.overlay4}/24 dev ${LINK}`);
    ip(node.netns, `addr add ${node.overlay6}/64 dev ${LINK} nodad`);
    ip(node.netns, `link set ${LINK} mtu 1400 up`);
    return process_;
  }

  /** report asks for the counters. */
  async report(): Promise<EspNodeReport> {
    this.#child.kill("SIGUSR1");
    const { value } = (await this.#lines.next()) as IteratorResult<string>;
    return JSON.parse(value as string) as EspNodeReport;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill("SIGTERM");
    await this.#child.exited;
  }
}

async function* lines(stream: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let text = "";
  for await (const part of stream) {
    text += decoder.decode(part, { stream: true });
    for (let end = text.indexOf("\n"); end >= 0; end = text.indexOf("\n")) {
      yield text.slice(0, end);
      text = text.slice(end + 1);
    }
  }
}

const SOL_UDP = 17;
/** include/uapi/linux/udp.h */
const UDP_ENCAP = 100;
const UDP_ENCAP_ESPINUDP = 2;

/** KernelEsp is the kernel's, in a namespace: associations and policies by ip-xfrm(8). */
export class KernelEsp implements Disposable {
  readonly #netns: Netns;
  #socket: number | undefined;

  constructor(node: PathNode, options: EspAgreement & { readonly peer: PathNode }) {
    const { netns } = node;
    const { peer, outer, algorithm, extended, sent, udp } = options;
    this.#netns = netns;
    for (const [address, gateway, target] of [
      [`${node.overlay4}/32`, peer.underlay4, `${peer.overlay4}/32`],
      [`${node.overlay6}/128`, peer.underlay6, `${peer.overlay6}/128`],
    ] as const) {
      ip(netns, `addr add ${address} dev lo`);
      ip(netns, `route add ${target} via ${gateway} src ${address.replace(/\/.*/, "")}`);
    }
    if (udp === true) this.#listen();
    for (const [from, to] of [
      [node, peer],
      [peer, node],
    ] as const) {
      const { spi, material } = keyOf(from, algorithm);
      const ends = `src ${outerAddress(from, outer)} dst ${outerAddress(to, outer)}`;
      const flags = `flag af-unspec${extended ? " flag esn" : ""}`;
      const words = [
        `xfrm state add ${ends} proto esp spi ${spi} reqid 1 mode tunnel ${flags} replay-window 128`,
        ...(sent === undefined ? [] : [`replay-seq ${sent} replay-oseq ${sent}`]),
        `aead rfc4106(gcm(aes)) 0x${material} 128`,
        ...(udp === true ? [`encap espinudp ${NAT_PORT} ${NAT_PORT} 0.0.0.0`] : []),
      ];
      ip(netns, words.join(" "));
      for (const [source, target] of [
        [from.overlay4, to.overlay4],
        [from.overlay6, to.overlay6],
      ] as const)
        ip(
          netns,
          `xfrm policy add src ${source} dst ${target} dir ${from === node ? "out" : "in"} tmpl ${ends} proto esp reqid 1 mode tunnel`,
        );
    }
  }

  /** The kernel opens ESP in UDP only for a socket that says so. */
  #listen(): void {
    this.#socket = this.#netns.run(() => libc.socket(2, 2 | 0o2000000, 0));
    const address = new Uint8Array(new ArrayBuffer(16));
    address.set([2, 0, NAT_PORT >> 8, NAT_PORT & 255]);
    libc.setsockopt(this.#socket, SOL_UDP, UDP_ENCAP, UDP_ENCAP_ESPINUDP);
    libc.bind(this.#socket, address);
  }

  /** trouble returns what the kernel counted that should be nothing, as text. */
  trouble(): string {
    const text = tool(this.#netns, "ip -s xfrm state");
    const counts = [...text.matchAll(/replay-window (\d+) replay (\d+) failed (\d+)/g)];
    const statistics = tool(this.#netns, "cat /proc/net/xfrm_stat");
    const wrong = statistics.split("\n").filter((line) => /\s[1-9]\d*$/.test(line));
    return [
      ...(counts.length === 2 ? [] : [`no statistics in ${text}`]),
      ...counts.filter((count) => count.slice(1).some((number) => number !== "0")).map(([all]) => all),
      ...wrong,
    ].join("; ");
  }

  [Symbol.dispose](): void {
    if (this.#socket !== undefined) libc.close(this.#socket);
  }
}

/** lacksKernelEsp tells in the kernel's words why it cannot do ESP. */
export function lacksKernelEsp(netns: Netns): string | undefined {
  const words =
    "xfrm state add src 192.0.2.1 dst 192.0.2.2 proto esp spi 0x100 mode tunnel aead rfc4106(gcm(aes))";
  const argv = ["ip", ...words.split(" "), `0x${"11".repeat(20)}`, "128"];
  const done = runSync(argv, { netns });
  if (done.status !== 0) return done.stderr.trim();
  ip(netns, "xfrm state flush");
  return undefined;
}

/**
 * pings tells how many of the first `count` requests, of so many bytes, were answered. With a deadline ping(8) waits for `count` answers; without
 * one it waits twice the longest round trip only, which a busy machine exceeds.
 */
export async function pings(from: PathNode, address: string, bytes: number, count = 3): Promise<number> {
  const argv = ["ping", "-n", "-c", `${count}`, "-i", "0.05", "-w", "10", "-s", `${bytes}`, address];
  const done = await run(argv, { netns: from.netns });
  const answered = new Set([...done.stdout.matchAll(/icmp_seq=(\d+)/g)].map(([, number]) => Number(number)));
  return [...answered].filter((number) => number <= count).length;
}
