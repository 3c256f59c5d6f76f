/**
 * strongSwan with its ESP in user space (kernel-libipsec): a charon at each end of a cable, unpacked from Debian's packages and not installed. Its
 * paths are fixed when it is built, so each has a mount namespace in which they are as it wants them.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { run, signal, spawnDetached } from "../../src/sys/mod.ts";
import { fetchPackages } from "../../tools/debian-suite.ts";
import { Cable, type CableEnd, must } from "../tunnel/cable.ts";
import type { Contender } from "../tunnel/contender.ts";

const SUITE = "bookworm";
const PACKAGES = [
  ...["strongswan-charon", "strongswan-libcharon", "strongswan-swanctl", "libcharon-extra-plugins"],
  ...["libstrongswan", "libstrongswan-standard-plugins", "libstrongswan-extra-plugins"],
];
/** `openssl` before others that have AES-GCM too, and much slower; and the ESP of user space before the kernel's. */
const PLUGINS = "random nonce openssl kdf pem pkcs1 kernel-libipsec kernel-netlink socket-default vici";
const FOLDER = "/run/causeway-bench";
const START_LIMIT_MS = 60_000;

/** fetchStrongswan brings it, and returns the folder; throws a SuiteError where it cannot be had. */
export const fetchStrongswan = (): string => fetchPackages(SUITE, PACKAGES);

function settings(root: string): string {
  const load = `${root}/usr/sbin/swanctl --load-all --noprompt --file /run/swanctl.conf --uri unix:///run/charon.vici`;
  return `charon {
  load = ${PLUGINS}
  plugins { vici { socket = unix:///run/charon.vici } }
  start-scripts { load = ${load} }
  filelog { stdout { default = 1
    flush_line = yes } }
}
`;
}

function connection({ number, outside, inside }: CableEnd, other: CableEnd, secret: string): string {
  return `connections { bench {
  version = 2
  local_addrs = ${outside}
  remote_addrs = ${other.outside}
  encap = yes
  proposals = aes128-sha256-ecp256
  local { auth = psk
    id = end${number} }
  remote { auth = psk
    id = end${other.number} }
  children { net {
    local_ts = ${inside}/32
    remote_ts = ${other.inside}/32
    esp_proposals = aes128gcm16
    start_action = ${number === 1 ? "start" : "none"}
  } }
} }
secrets { ike-bench { secret = 0x${secret} } }
`;
}

/** openStrongswan starts both ends and waits for the first answer. */
export async function openStrongswan(): Promise<Contender> {
  const root = fetchStrongswan();
  const secret = Buffer.from(crypto.getRandomValues(new Uint8Array(32))).toString("hex");
  const stack = new DisposableStack();
  try {
    const cable = stack.use(new Cable());
    const { near, far } = cable;
    const pids: number[] = [];
    // Who answers first, then who calls.
    for (const [end, other] of [
      [far, near],
      [near, far],
    ] as const) {
      must(end.netns, "ip", "addr", "add", `${end.inside}/32`, "dev", "lo");
      const pid = start(root, end, connection(end, other, secret));
      pids.push(pid);
      stack.defer(() => signal(pid, "SIGKILL"));
    }
    await answered(cable);
    const owned = stack.move();
    return { near, far, to: far.inside, pids, [Symbol.dispose]: () => owned.dispose() };
  } catch (error) {
    stack.dispose();
    throw error;
  }
}

function start(root: string, end: CableEnd, text: string): number {
  const folder = `${FOLDER}/charon-${end.number}`;
  mkdirSync(folder, { recursive: true });
  writeFileSync(`${folder}/strongswan.conf`, settings(root), { mode: 0o600 });
  writeFileSync(`${folder}/swanctl.conf`, text, { mode: 0o600 });
  const script = `mount -t overlay overlay -o "lowerdir=$1/usr/lib:/usr/lib" /usr/lib && mount --bind "$2" /run && exec /usr/lib/ipsec/charon`;
  const place = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh", root, folder];
  return spawnDetached(place, {
    netns: end.netns,
    cwd: "/",
    env: { STRONGSWAN_CONF: "/run/strongswan.conf" },
    stdoutPath: logOf(end),
  });
}

const logOf = ({ number }: CableEnd) => `${FOLDER}/charon-${number}.log`;

async function answered({ near, far }: Cable): Promise<void> {
  const ping = ["ping", "-n", "-c", "1", "-W", "1", "-I", near.inside, far.inside];
  for (const end = performance.now() + START_LIMIT_MS; ; await Bun.sleep(100)) {
    if ((await run(ping, { netns: near.netns })).status === 0) return;
    if (performance.now() < end) continue;
    const logs = await Promise.all([near, far].map((one) => Bun.file(logOf(one)).text()));
    throw new Error(`strongSwan does not come up: ${logs.join("\n").slice(-4000)}`);
  }
}
