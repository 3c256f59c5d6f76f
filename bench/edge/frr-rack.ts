/**
 * The same node with FRR in the place of our agent, configured as an operator does it by hand: for each domain a VRF, a bridge, a VXLAN link and
 * a veth by one `ip -batch`, then its part of the configuration by one `vtysh -f`. It needs VRFs.
 *
 * ```
 *  host: host<vni> ═ pe<vni> ─ vrf<vni> ─ br<vni> ─ vx<vni> ─ eth1 ═════ tor
 * ```
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { type Netns, runSync } from "../../src/sys/mod.ts";
import { SmallMesh } from "../../test/support/small-mesh.ts";
import { ip } from "../../test/support/tunnel-pair.ts";
import { fetchPackages, FRR_PACKAGES } from "../../tools/debian-suite.ts";
import { announcedOf, ASN, type Bed, edgeOf, HOST_ASN, hostOf, TOR, TOR_ASN, vniOf } from "./bed.ts";
import { Tor } from "./tor.ts";

const FOLDER = "/run/causeway-bench-frr";
const ENDPOINT = "100.65.0.1";
/** Tables of VRFs, one for each domain, beyond those that the kernel has. */
const FIRST_TABLE = 10_000;
/** A command for hundreds of domains in an emulated machine. */
const COMMAND_MS = 1_200_000;

const BASE = `router bgp ${ASN}
 bgp router-id 192.169.200.1
 no bgp default ipv4-unicast
 no bgp ebgp-requires-policy
 no bgp network import-check
 neighbor ${TOR} remote-as ${TOR_ASN}
 neighbor ${TOR} timers connect 1
 address-family ipv4 unicast
  network ${ENDPOINT}/32
  neighbor ${TOR} activate
 exit-address-family
 address-family l2vpn evpn
  neighbor ${TOR} activate
  advertise-all-vni
 exit-address-family
exit
`;

const configOf = (domain: number) => `vrf vrf${vniOf(domain)}
 vni ${vniOf(domain)}
exit-vrf
router bgp ${ASN} vrf vrf${vniOf(domain)}
 bgp router-id 192.169.200.1
 no bgp default ipv4-unicast
 no bgp ebgp-requires-policy
 no bgp network import-check
 neighbor ${hostOf(domain)} remote-as ${HOST_ASN}
 address-family ipv4 unicast
  network ${announcedOf(domain)}
  network ${hostOf(domain)}/32
  neighbor ${hostOf(domain)} activate
 exit-address-family
 address-family l2vpn evpn
  advertise ipv4 unicast
 exit-address-family
exit
`;

/** What no route leads to ends in the VRF, as it does in ours. */
const linksOf = (domain: number, host: Netns) => {
  const [vni, table] = [vniOf(domain), FIRST_TABLE + domain];
  return `link add vrf${vni} type vrf table ${table}
link set vrf${vni} up
route add unreachable default table ${table} metric 4278198272
link add br${vni} type bridge
link set br${vni} addrgenmode none master vrf${vni} up
link add vx${vni} type vxlan id ${vni} local ${ENDPOINT} dstport 4789 nolearning
link set vx${vni} addrgenmode none master br${vni} up
link set dev vx${vni} type bridge_slave learning off neigh_suppress on
link add pe${vni} type veth peer name host${vni} netns /proc/${process.pid}/fd/${host.fd.number}
link set pe${vni} master vrf${vni}
address add ${edgeOf(domain)}/29 dev pe${vni}
link set pe${vni} up
`;
};

const hostLinksOf = (domain: number) =>
  `address add ${hostOf(domain)}/29 dev host${vniOf(domain)}\nlink set host${vniOf(domain)} up\n`;

/** frrRoot returns where FRR is unpacked. Throws SuiteError where it cannot be had. */
export function frrRoot(): string {
  return fetchPackages("bookworm", FRR_PACKAGES);
}

/** FrrRack owns the node, the daemons and their folder. */
export class FrrRack implements Bed {
  readonly tor: Tor;
  readonly host: Netns;
  readonly #mesh: SmallMesh;
  readonly #node: Netns;
  readonly #root: string;
  readonly #daemons: readonly Bun.Subprocess[];

  private constructor(mesh: SmallMesh, root: string) {
    this.#mesh = mesh;
    this.#root = root;
    this.#node = mesh.netns("frr");
    this.host = mesh.netns("host");
    const log = () =>
      ["zebra", "bgpd"].map((name) => readFileSync(`${FOLDER}/${name}.log`, "utf8")).join("\n");
    this.tor = new Tor({ netns: mesh.netns("tor"), node: this.#node, log });
    for (const netns of [this.#node, this.host]) ip(netns, "link set lo up");
    ip(this.#node, `address add ${ENDPOINT}/32 dev lo`);
    this.#command(["sysctl", "-qw", "net.ipv4.ip_forward=1"], this.#node);
    mkdirSync(FOLDER, { recursive: true });
    writeFileSync(`${FOLDER}/vtysh.conf`, "username root nopassword\n");
    // FRR looks for a group that only its installation makes.
    writeFileSync(`${FOLDER}/group`, `${readFileSync("/etc/group", "utf8")}frrvty:x:64999:root\n`);
    writeFileSync(`${FOLDER}/base.conf`, BASE);
    this.#daemons = ["zebra", "bgpd"].map((name) => this.#start(name));
  }

  static async open(root: string): Promise<FrrRack> {
    const rack = new FrrRack(await SmallMesh.open([], []), root);
    for (let tries = 0; rack.#tryVtysh(["-c", "show bgp summary json"]).status !== 0; tries++) {
      if (tries > 1_000) throw new Error("FRR does not answer");
      await Bun.sleep(50);
    }
    rack.#vtysh("base.conf");
    await rack.tor.connected();
    return rack;
  }

  get processes(): readonly number[] {
    return this.#daemons.map(({ pid }) => pid);
  }

  linkOf(domain: number): string {
    return `host${vniOf(domain)}`;
  }

  async add(domains: readonly number[]): Promise<void> {
    this.#batch(this.#node, domains.map((domain) => linksOf(domain, this.host)).join(""));
    this.#batch(this.host, domains.map(hostLinksOf).join(""));
    writeFileSync(`${FOLDER}/more.conf`, domains.map(configOf).join(""));
    this.#vtysh("more.conf");
    await this.tor.heard(domains);
  }

  #program(path: string): string[] {
    const root = this.#root;
    const libraries = ["usr/lib", "lib"].flatMap((folder) =>
      (existsSync(`${root}/${folder}`) ? readdirSync(`${root}/${folder}`) : [])
        .filter((name) => name.endsWith("-linux-gnu"))
        .flatMap((name) => [`${root}/${folder}/${name}`, `${root}/${folder}/${name}/frr`]),
    );
    return ["env", `LD_LIBRARY_PATH=${libraries.join(":")}`, `${root}/${path}`];
  }

  #start(name: string): Bun.Subprocess {
    const script = 'mount --bind "$0/group" /etc/group && exec "$@"';
    const argv = [
      ...["unshare", "--mount", "--propagation", "private", "sh", "-c", script, FOLDER],
      ...this.#program(`usr/lib/frr/${name}`),
      ...["-u", "root", "-g", "root", "-f", "/dev/null", "-i", `${FOLDER}/${name}.pid`],
      ...["-z", `${FOLDER}/zserv.api`, "--vty_socket", FOLDER, "-P", "0", "--log", "stdout"],
    ];
    const log = Bun.file(`${FOLDER}/${name}.log`);
    const { daemon } = this.#node.run(() => ({
      daemon: Bun.spawn(argv, { stdin: "ignore", stdout: log, stderr: log }),
    }));
    return daemon;
  }

  #tryVtysh(words: readonly string[]) {
    const argv = [
      ...this.#program("usr/bin/vtysh"),
      "--vty_socket",
      FOLDER,
      "--config_dir",
      FOLDER,
      ...words,
    ];
    return runSync(argv, { netns: this.#node, timeoutMs: COMMAND_MS });
  }

  #vtysh(file: string): void {
    const { status, stdout, stderr } = this.#tryVtysh(["-f", `${FOLDER}/${file}`]);
    if (status !== 0) throw new Error(`vtysh -f ${file}: ${stderr}${stdout}`);
  }

  #batch(netns: Netns, text: string): void {
    const file = `${FOLDER}/links`;
    writeFileSync(file, text);
    this.#command(["ip", "-batch", file], netns);
  }

  #command(argv: readonly string[], netns: Netns): void {
    const { status, stderr } = runSync(argv, { netns, timeoutMs: COMMAND_MS });
    if (status !== 0) throw new Error(`${argv.join(" ")}: ${stderr}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.tor[Symbol.dispose]();
    for (const daemon of [...this.#daemons].reverse()) {
      daemon.kill("SIGKILL");
      await daemon.exited;
    }
    rmSync(FOLDER, { recursive: true, force: true });
    await this.#mesh[Symbol.asyncDispose]();
  }
}
