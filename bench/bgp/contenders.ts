/** Routers under test: ours, and those of Debian's packages, unpacked and not installed; all as route reflectors with the same clients. */
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { fetchPackages, SuiteError } from "../../tools/debian-suite.ts";
import { ASN, type LoadName } from "./load.ts";

/** Reflection is what a router is to do. */
export interface Reflection {
  readonly address: string;
  readonly clients: readonly string[];
  readonly load: LoadName;
}

/** Contender is a router that can be started. */
export interface Contender {
  readonly name: string;
  /** Writes its files into a folder and returns its command; a text says why it cannot run here. */
  prepare(folder: string, reflection: Reflection): readonly string[] | string;
  /** It has no EVPN, or is known to take very long. */
  readonly not?: readonly LoadName[];
}

const LIBRARIES = "libc6 libc-ares2 libcrypt1 libjson-c5 liblzma5 libprotobuf-c1 libunwind8".split(" ");

const packages = {
  "frr-8.4": [
    "bookworm",
    "frr libc-ares2 libcap2 libelf1 libjson-c5 libpam0g libpcre2-8-0 libprotobuf-c1 librtr0 libsystemd0 libyang2 libzmq5".split(
      " ",
    ),
  ],
  "frr-10.3": ["trixie", ["frr", "liblua5.3-0", "libyang3", ...LIBRARIES]],
  "bird-2.20": [
    "sid",
    "bird2 libc6 libgcc-s1 libgcrypt20 libgpg-error0 libreadline8t64 libssh-4 libssl3t64 libtinfo6 libzstd1 zlib1g".split(
      " ",
    ),
  ],
  "gobgp-4.8": ["sid", ["gobgpd"]],
} as const;

type PackageName = keyof typeof packages;

function unpacked(name: PackageName): string | { readonly root: string } {
  const [suite, list] = packages[name];
  try {
    return { root: fetchPackages(suite, list) };
  } catch (error) {
    if (error instanceof SuiteError) return error.message;
    throw error;
  }
}

/** A program of unpacked packages, with their loader where they bring a C library. */
function program(root: string, path: string): string[] {
  const libraries = ["usr/lib", "lib"].flatMap((folder) =>
    (existsSync(`${root}/${folder}`) ? readdirSync(`${root}/${folder}`) : [])
      .filter((name) => name.endsWith("-linux-gnu"))
      .flatMap((name) => [`${root}/${folder}/${name}`, `${root}/${folder}/${name}/frr`]),
  );
  const loader = `${root}/usr/lib64/ld-linux-x86-64.so.2`;
  return existsSync(loader)
    ? [loader, "--library-path", libraries.join(":"), `${root}/${path}`]
    : ["env", `LD_LIBRARY_PATH=${libraries.join(":")}`, `${root}/${path}`];
}

function frr(name: PackageName): Contender {
  return {
    name,
    prepare(folder, { clients, load, address }) {
      const found = unpacked(name);
      if (typeof found === "string") return found;
      const family = load === "evpn" ? "l2vpn evpn" : "ipv4 unicast";
      const lines = [
        `router bgp ${ASN}`,
        ` bgp router-id ${address}`,
        ` bgp cluster-id ${address}`,
        // The datacenter profile's 3/9 s drop sessions when the machine is busy.
        " timers bgp 60 180",
        " no bgp default ipv4-unicast",
        " neighbor clients peer-group",
        ` neighbor clients remote-as ${ASN}`,
        " neighbor clients passive",
        ...clients.map((client) => ` neighbor ${client} peer-group clients`),
        ` address-family ${family}`,
        "  neighbor clients activate",
        "  neighbor clients route-reflector-client",
      ];
      writeFileSync(`${folder}/frr.conf`, `${lines.join("\n")}\n`);
      writeFileSync(`${folder}/group`, `${readFileSync("/etc/group", "utf8")}frrvty:x:64999:root\n`);
      const script = 'mount --bind "$0/group" /etc/group && exec "$@"';
      return [
        ...["unshare", "--mount", "--propagation", "private", "sh", "-c", script, folder],
        ...program(found.root, "usr/lib/frr/bgpd"),
        ...["-Z", "-P", "0", "-u", "root", "-g", "root", "-f", `${folder}/frr.conf`],
        ...["-i", `${folder}/bgpd.pid`, "--vty_socket", folder],
      ];
    },
  };
}

const ours: Contender = {
  name: "ours",
  prepare(folder, { clients, load, address }) {
    const executable = process.env["CAUSEWAY_EXECUTABLE"] ?? `${import.meta.dir}/../../dist/causeway`;
    const family = load === "evpn" ? "l2vpn-evpn" : "ipv4-unicast";
    const lines = [
      "apiVersion: causeway.network/v1alpha1",
      "kind: BgpRouter",
      "metadata: {name: reflector}",
      "spec:",
      `  asn: ${ASN}`,
      `  routerId: ${address}`,
      "  groups:",
      `    clients: {asn: internal, passive: true, hold: 180s, routeReflectorClient: true, families: {${family}: {}}}`,
      "  neighbors:",
      ...clients.map((client) => `    - {address: ${client}, group: clients}`),
    ];
    writeFileSync(`${folder}/bgp.yaml`, `${lines.join("\n")}\n`);
    return [executable, "bgp", "run", `${folder}/bgp.yaml`, "--folder", folder];
  },
};

const bird: Contender = {
  name: "bird-2.20",
  prepare(folder, { clients, load, address }) {
    const found = unpacked("bird-2.20");
    if (typeof found === "string") return found;
    const channel =
      load === "evpn"
        ? "evpn { table evpntab; import all; export all; };"
        : "ipv4 { import all; export all; };";
    const lines = [
      `router id ${address};`,
      "protocol device { }",
      ...(load === "evpn" ? ["evpn table evpntab;"] : []),
      ...clients.map(
        (client, i) =>
          `protocol bgp c${i} { local ${address} as ${ASN}; neighbor ${client} as ${ASN}; rr client; rr cluster id ${address}; passive; hold time 180; ${channel} }`,
      ),
    ];
    writeFileSync(`${folder}/bird.conf`, `${lines.join("\n")}\n`);
    return [
      ...program(found.root, "usr/sbin/bird"),
      "-f",
      "-c",
      `${folder}/bird.conf`,
      "-s",
      `${folder}/bird.ctl`,
    ];
  },
};

const gobgp: Contender = {
  name: "gobgp-4.8",
  prepare(folder, { clients, load, address }) {
    const found = unpacked("gobgp-4.8");
    if (typeof found === "string") return found;
    const family = load === "evpn" ? "l2vpn-evpn" : "ipv4-unicast";
    const neighbors = clients.map(
      (client) => `[[neighbors]]
  [neighbors.config]
    neighbor-address = "${client}"
    peer-as = ${ASN}
  [neighbors.timers.config]
    hold-time = 180
  [neighbors.transport.config]
    passive-mode = true
  [neighbors.route-reflector.config]
    route-reflector-client = true
    route-reflector-cluster-id = "${address}"
  [[neighbors.afi-safis]]
    [neighbors.afi-safis.config]
      afi-safi-name = "${family}"
`,
    );
    const text = `[global.config]\n  as = ${ASN}\n  router-id = "${address}"\n${neighbors.join("")}`;
    writeFileSync(`${folder}/gobgpd.toml`, text);
    return [...program(found.root, "usr/bin/gobgpd"), "-t", "toml", "-f", `${folder}/gobgpd.toml`];
  },
};

/** contenders are all of them, ours first. */
export const contenders: readonly Contender[] = [ours, frr("frr-8.4"), frr("frr-10.3"), bird, gobgp];

/** fetchContenders unpacks what the named contenders need, while the network is there; one that cannot be had says so when it is its turn. */
export function fetchContenders(names: readonly string[]): void {
  for (const name of Object.keys(packages) as PackageName[]) if (names.includes(name)) unpacked(name);
}

/** prepared makes a contender's folder and its command. */
export function prepared(
  contender: Contender,
  folder: string,
  reflection: Reflection,
): readonly string[] | string {
  mkdirSync(folder, { recursive: true });
  return contender.prepare(folder, reflection);
}
