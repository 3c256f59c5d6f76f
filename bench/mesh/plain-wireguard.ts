/** Plain WireGuard on a machine of a laboratory: wireguard-go, set up as people do it, with wg(8) and ip(8). */
import { readFileSync } from "node:fs";
import { formatIp, parseIp, PrivateKey } from "../../src/net/mod.ts";
import type { Lab } from "../../src/lab/mod.ts";
import { processesInNetns } from "../../src/sys/mod.ts";

const LINK = "wg0";
const PORT = 51820;
const KEEPALIVE_SECONDS = 25;

/** PlainPeer is another such machine, as this one is told of it. */
export interface PlainPeer {
  readonly other: PlainNode;
  /** What goes to it; default its address. */
  readonly allowed?: string;
  /** Whether this one is to call it. */
  readonly call: boolean;
}

/** PlainNode is one machine. */
export class PlainNode {
  readonly name: string;
  readonly inside: string;
  readonly key = PrivateKey.random();
  readonly #lab: Lab;

  constructor(lab: Lab, name: string, number: number) {
    this.#lab = lab;
    this.name = name;
    this.inside = formatIp(parseIp(`10.222.0.${number}`));
  }

  /** start begins the process, as soon as one that was killed has left its link; it knows nobody. */
  async start(): Promise<void> {
    await this.#run(
      `mkdir -p /run/wireguard; i=0
until rm -f /run/wireguard/${LINK}.sock; wireguard-go ${LINK} >/dev/null 2>&1; do
  i=$((i+1)); [ $i -lt 200 ] || { echo "wireguard-go does not start" >&2; exit 1; }
  sleep 0.02
done`,
    );
  }

  /** command returns the shell's words that set the device up; `peers` are told in it. */
  command(peers: readonly PlainPeer[]): string {
    const words = peers.map(({ other, allowed = `${other.inside}/32`, call }) => {
      const endpoint = call
        ? ` endpoint ${this.#lab.address(other.name)}:${PORT} persistent-keepalive ${KEEPALIVE_SECONDS}`
        : "";
      return ` peer ${other.key.publicKey} allowed-ips ${allowed}${endpoint}`;
    });
    return `wg set ${LINK} listen-port ${PORT} private-key /dev/stdin${words.join("")} <<END
${this.key.toFile().trim()}
END
ip addr replace ${this.inside}/24 dev ${LINK}; ip link set ${LINK} mtu 1420 up; sysctl -qw net.ipv4.ip_forward=1`;
  }

  /** set sets the device up. */
  async set(peers: readonly PlainPeer[]): Promise<void> {
    await this.#run(this.command(peers));
  }

  /** kill ends the process. */
  kill(): void {
    using netns = this.#lab.netns(this.name);
    for (const pid of processesInNetns(new Set([netns.inode])))
      if (readFileSync(`/proc/${pid}/comm`, "utf8").startsWith("wireguard-go")) process.kill(pid, "SIGKILL");
  }

  async #run(script: string): Promise<void> {
    const done = await this.#lab.exec(this.name, ["sh", "-ec", script]);
    if (done.status !== 0) throw new Error(`${this.name}: ${done.stderr.trim()}`);
  }
}
