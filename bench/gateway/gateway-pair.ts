/**
 * Two site gateways as processes on AF_XDP, with a host behind each: the way that a site's packets go.
 *
 * ```
 * host 10.9.1.2 y0 ═ x0 gateway p0 192.0.2.1 ═ 192.0.2.2 p0 gateway x0 ═ y0 10.9.2.2 host
 * ```
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { GatewayAnswer, GatewayRequest } from "../../src/gatewayd/mod.ts";
import {
  createNetns,
  isAlive,
  LineClient,
  Netns,
  removeNetns,
  run,
  signal,
  spawnDetached,
} from "../../src/sys/mod.ts";
import { ipsecMbFolders } from "../../test/support/ipsec-mb.ts";
import { sumInSoftware } from "../../test/support/sum-in-software.ts";
import { type CableEnd, must } from "../tunnel/cable.ts";
import type { Contender } from "../tunnel/contender.ts";

const FOLDER = "/run/causeway-bench";
const SITES = [1, 2] as const;
type SiteNumber = (typeof SITES)[number];
/** A busy machine takes its time. */
const START_LIMIT_MS = 60_000;
const executable =
  process.env.CAUSEWAY_EXECUTABLE ?? fileURLToPath(new URL("../../dist/causeway", import.meta.url));
const psk = Buffer.from(crypto.getRandomValues(new Uint8Array(32))).toString("hex");

interface Site {
  readonly number: SiteNumber;
  readonly host: Netns;
  readonly gate: Netns;
}

/** gatewayConfig returns a gateway's configuration: its route to the other, and what is given beside. */
export function gatewayConfig(number: SiteNumber, more = ""): string {
  const far = 3 - number;
  return `private-interface4 { ifname x0; ip 10.9.${number}.1; nexthop-ip 10.9.${number}.2; }
public-interface4 { ifname p0; ip 192.0.2.${number}; nexthop-ip 192.0.2.${far}; }
mtu 1440;
route { id far; spi 700; net 10.9.${far}.0/24; preshared-key ${psk}; algorithm aes-128-gcm; gateway { ip 192.0.2.${far}; } }
${more}`;
}

/** GatewayPair owns namespaces and processes. */
export class GatewayPair implements Contender {
  readonly near: CableEnd;
  readonly far: CableEnd;
  readonly to: string;
  readonly pids: number[] = [];
  readonly #stack = new DisposableStack();
  readonly #sites: readonly [Site, Site];

  private constructor() {
    this.#sites = [this.#site(1), this.#site(2)];
    const [one, two] = this.#sites;
    this.#join([one.gate, "p0"], [two.gate, "p0"]);
    const end = ({ number, host }: Site): CableEnd => {
      const address = `10.9.${number}.2`;
      return { netns: host, number, outside: address, inside: address };
    };
    [this.near, this.far] = [end(one), end(two)];
    this.to = this.far.inside;
  }

  /** open starts both and waits for the first answer through the tunnel. */
  static async open(): Promise<GatewayPair> {
    const pair = new GatewayPair();
    try {
      for (const site of pair.#sites) pair.#start(site);
      await pair.#answered();
      return pair;
    } catch (error) {
      pair[Symbol.dispose]();
      throw error;
    }
  }

  #netns(name: string): Netns {
    const path = `${FOLDER}/pair-${name}`;
    createNetns(path);
    return this.#stack.adopt(Netns.open(path), (netns) => {
      netns.close();
      removeNetns(path);
    });
  }

  #join([near, name]: readonly [Netns, string], [far, other]: readonly [Netns, string]): void {
    const there = `/proc/${process.pid}/fd/${far.fd.number}`;
    must(near, ..."ip link add".split(" "), name, ..."type veth peer name".split(" "), other, "netns", there);
    must(near, "ip", "link", "set", name, "up");
    must(far, "ip", "link", "set", other, "up");
  }

  #site(number: SiteNumber): Site {
    const [host, gate] = [this.#netns(`host-${number}`), this.#netns(`gate-${number}`)];
    this.#join([gate, "x0"], [host, "y0"]);
    must(host, "ip", "link", "set", "lo", "up");
    must(host, "ip", "addr", "add", `10.9.${number}.2/24`, "dev", "y0");
    const words = `route add 10.9.${3 - number}.0/24 via 10.9.${number}.1 mtu 1440`;
    must(host, "ip", ...words.split(" "));
    // What AF_XDP takes from a cable has whole checksums only.
    sumInSoftware(host, "y0");
    return { number, host, gate };
  }

  #start({ number, gate }: Site): void {
    mkdirSync(FOLDER, { recursive: true });
    const name = `g${number}`;
    const config = `${FOLDER}/${name}.conf`;
    writeFileSync(config, gatewayConfig(number), { mode: 0o600 });
    const where = ["--folder", FOLDER, "--state", `${FOLDER}/${name}`, "--config", config];
    const libraries = ipsecMbFolders().flatMap((folder) => ["--libraries", folder]);
    const argv = [executable, "gateway", "run", "--name", name, "--xdp", ...where, ...libraries];
    const pid = spawnDetached(argv, { netns: gate, cwd: "/", stdoutPath: `${FOLDER}/${name}.log` });
    this.pids.push(pid);
    this.#stack.defer(() => signal(pid, "SIGKILL"));
  }

  async #answered(): Promise<void> {
    const ping = ["ping", "-n", "-c", "1", "-W", "1", this.to];
    for (const end = performance.now() + START_LIMIT_MS; ; await Bun.sleep(100)) {
      if ((await run(ping, { netns: this.near.netns })).status === 0) return;
      if (performance.now() < end && this.pids.every(isAlive)) continue;
      const logs = await Promise.all(SITES.map((number) => Bun.file(`${FOLDER}/g${number}.log`).text()));
      throw new Error(`No packet comes through the gateways: ${logs.join("\n")}`);
    }
  }

  /** change does a verb of `causeway config` at the near gateway, as its command line does; resolves when that has answered. */
  async change(verb: "set" | "add" | "remove", path: string, value?: string): Promise<void> {
    const request = { verb, path, ...(value === undefined ? {} : { value }) };
    const lines: string[] = [];
    const ended = Promise.withResolvers<void>();
    const client = LineClient.connect(`${FOLDER}/g1.sock`, {
      onLine: (line) => lines.push(line),
      onClosed: () => ended.resolve(),
    });
    client.send(JSON.stringify({ op: "config", request } as GatewayRequest));
    await ended.promise;
    const answer: GatewayAnswer = JSON.parse(lines[0] ?? '{"error": "no answer"}');
    if ("error" in answer) throw new Error(answer.error);
  }

  [Symbol.dispose](): void {
    this.#stack[Symbol.dispose]();
  }
}
