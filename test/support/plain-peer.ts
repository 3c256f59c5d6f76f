/**
 * PlainPeer: a machine with wg-quick(8) and nothing of ours, as an external peer of a mesh. Without WireGuard in the kernel it is
 * wireguard-go, which is its own process; the file is the one that `causeway peer add` prints.
 */
import type { Results } from "../../src/agent/mod.ts";
import { peerFile } from "../../src/ctl/peer.ts";
import { PrivateKey } from "../../src/net/mod.ts";
import { formatWgQuick } from "../../src/plain/mod.ts";
import { type Netns, processesInNetns, runSync } from "../../src/sys/mod.ts";
import { lacksTool } from "./scratch.ts";
import { until } from "./tunnel-pair.ts";

/** What is missing for one on this machine; undefined: nothing. */
export const plainPeerLacks: string | undefined = ["wg-quick", "wireguard-go"]
  .map(lacksTool)
  .find((problem) => problem !== undefined);

/** In folders that nobody else sees: the program's socket and the file are nowhere on the machine. */
const UP = [
  "mount -n -t tmpfs peer /run",
  "umask 077",
  "mkdir /run/wireguard",
  "cat > /run/wg0.conf",
  // What it leaves behind must not hold our output open.
  "WG_QUICK_USERSPACE_IMPLEMENTATION=wireguard-go wg-quick up /run/wg0.conf < /dev/null > /run/log 2>&1 || { cat /run/log; exit 1; }",
].join(" && ");

/** PlainPeer is up from `up` to `down`. */
export class PlainPeer {
  readonly netns: Netns;
  readonly publicKey: string;
  readonly #privateKey = PrivateKey.random();
  #file = "";

  constructor(netns: Netns) {
    this.netns = netns;
    this.publicKey = this.#privateKey.publicKey;
  }

  /** up brings the link up with the file for what the hub said when the peer was added. */
  up(added: Results["peer-add"]): void {
    const keys = { publicKey: this.publicKey, privateKey: this.#privateKey };
    this.#file = formatWgQuick(peerFile(added, { keys, keepaliveSeconds: 25, dns: [] }));
    this.#start();
  }

  /** begin ends the link with all its sessions, and brings it up with the same file again. */
  async begin(): Promise<void> {
    await this.down();
    this.#start();
  }

  #start(): void {
    const shell = ["unshare", "--mount", "--propagation", "private", "sh", "-c", UP];
    const done = runSync(shell, { netns: this.netns, input: this.#file });
    if (done.status !== 0) throw new Error(`wg-quick up: ${done.stdout}${done.stderr}`);
  }

  async down(): Promise<void> {
    const processes = () => processesInNetns(new Set([this.netns.inode]));
    for (const pid of processes()) process.kill(pid, "SIGKILL");
    await until("the plain peer is down", () => processes().length === 0);
    // A link of the kernel's is nobody's process.
    runSync(["ip", "link", "delete", "wg0"], { netns: this.netns });
  }
}
