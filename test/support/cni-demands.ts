/**
 * What the Container Network Interface 1.1.0 demands of a plugin, what its Go library demands besides, where the reference plugins
 * fall short, and what their own tests demand of them. Each has an id, and at least one test against the real plugin and agent whose
 * title begins with it: `A2, K3: what is shown`. `src/cni/conformance-table.test.ts` holds that.
 */

/** Section 1 to 5 of the specification; R: a rule for runtimes, whose breach a plugin should bear. */
const specification = {
  P1: "parameters come from the environment, the configuration from standard input",
  P2: "exit status 0 and a result on standard output, or another status",
  P3: "an error is an object on standard output",
  P4: "an error has cniVersion, code, msg and details",
  P5: "an interface name that cannot be used is an error",
  P6: "what a container's id looks like",
  P7: "what names of networks and plugins look like",
  P8: "calls for different containers may come at once",
  P9: "unknown keys may be refused, `args` never",
  P10: "R: calls of one container do not overlap, GC excludes ADD and DEL",
  P11: "R: runtimeConfig, args and cni.dev/* are the runtime's keys",
  P12: "R: unknown keys come unchanged, capabilities does not come",
  P13: "well-known keys keep their meaning: ipMasq, ipam, dns",
  A1: "ADD makes CNI_IFNAME in CNI_NETNS",
  A2: "an interface of that name is an error",
  A3: "prevResult is passed on, changed or equivalent",
  A4: "ADD prints a result",
  A5: "what was made is undone when ADD fails",
  D1: "DEL removes the interface",
  D2: "any number of DELs succeed",
  D3: "DEL succeeds without namespace, interface or state, and gives the addresses back",
  D4: "DEL succeeds without prevResult",
  D5: "an error of what DEL depends on is its error",
  D6: "R: DEL follows a failed ADD, and may come again",
  K1: "CHECK consults prevResult",
  K2: "CHECK bears what later plugins changed",
  K3: "CHECK finds interfaces, addresses and routes that are missing or wrong",
  K4: "CHECK finds rules, reservations and daemons that are missing",
  K5: "CHECK fails when the container cannot be reached",
  K6: "CHECK works directly after ADD",
  K7: "CHECK includes delegated plugins",
  K8: "CHECK prints nothing when all is well",
  S1: "STATUS: exit status 0 when ADD can be served, else an error",
  S2: "STATUS fails when a daemon is away or addresses are exhausted",
  S3: "STATUS: code 50, or 51 when attached containers are limited as well",
  S4: "nothing relies on STATUS",
  S5: "STATUS includes delegated plugins",
  V1: "VERSION needs CNI_COMMAND only and gives the version it got back",
  G1: "GC removes what is not listed",
  G2: "GC goes on after an error and reports at the end",
  G3: "GC includes delegated plugins",
  G4: "GC: namespaces of stale attachments may be gone",
  G5: "GC prints nothing and gets no container",
  L1: "delegation looks executables up in CNI_PATH",
  L2: "the result of an IPAM plugin has no interfaces",
} as const;

const codes = {
  "code 1": "incompatible version",
  "code 2": "unsupported field; the message names key and value",
  "code 3": "container unknown",
  "code 4": "bad environment variables",
  "code 5": "input or output failed",
  "code 6": "cannot decode",
  "code 7": "invalid configuration",
  "code 8": "invalid network namespace",
  "code 11": "try again later",
  "code 50": "ADD cannot be served",
  "code 51": "ADD cannot be served, and attached containers may be limited",
  "code 100+": "the plugin's own",
} as const;

const results = {
  "2.4 top": "cniVersion, interfaces, ips, routes, dns",
  "2.4 interfaces": "name, mac, mtu, sandbox as in CNI_NETNS; socketPath and pciID of others",
  "2.4 ips": "address, gateway, interface as an index",
  "2.4 routes": "dst, gw; mtu, advmss, priority, table and scope of others",
  "2.4 dns": "nameservers, domain, search, options",
  "2.5": "keys of the list that only runtimes read",
} as const;

/** What users meet in every plugin written in Go. */
const library = {
  "3.1": "missing variables: code 4, all of them named",
  "3.2": "interface names of 1 to 15 bytes without / : and white space; ids of containers",
  "3.3": "bad JSON 6, bad name 7, unknown version 1, unknown command 4",
  "3.4": "no cniVersion means 0.1.0",
  "3.5": "commands are refused with code 1 in versions that do not have them",
  "3.6": "the own namespace is code 8, unless CNI_NETNS_OVERRIDE says otherwise",
  "3.7": "without CNI_COMMAND it says what it is",
  "3.8": "CNI_ARGS: pairs, IgnoreUnknown",
  "3.9": "keys match without regard to case",
  "3.10": "standard output is one JSON document or empty",
  "3.11": "the executable is replaced by rename",
  "3.12": "GC without a list is not GC with an empty one; the list has two names",
  "3.13": "the runtime's whole environment comes along",
  "4": "every version from 0.1.0 to 1.1.0, each in its own form",
} as const;

/** Defects that were seen in the reference plugins. */
const defects = {
  "7.1": "GC does nothing",
  "7.2": "STATUS is well although every address is taken",
  "7.3": "DEL after the namespace is gone leaves rules",
  "7.4": "DEL of an interface that is gone leaves rules",
  "7.5": "two interfaces of a container share their rules",
  "7.6": "a failed ADD leaves the interface, and the next one fails",
  "7.7": "CNI_NETNS that is the own namespace is found out after the work",
  "7.8": "CHECK of a network without IPAM always fails",
  "7.9": "CHECK does not see that rules are gone",
  "7.10": "route attributes are reported and not installed",
  "7.11": "the result lacks the MTU",
  "7.12": "errors lack cniVersion and a code that says something",
  "7.13": "VERSION answers 1.1.0 whatever was given",
  "7.14": "a default route that exists makes ADD fail",
  "7.15": "DEL fails when rules are gone already",
  "7.16": "ADD polls until IPv6 addresses have settled",
} as const;

/** What the tests of the reference's bridge plugin hold. */
const bridge = {
  "8.1.1": "a bridge is made, or taken as it is",
  "8.1.2": "ADD and DEL with a default gateway",
  "8.1.3": "several addresses of a family in old versions",
  "8.1.4": "no addresses at all",
  "8.1.5": "VLANs",
  "8.1.6": "DEL of something never added",
  "8.1.7": "another address on the bridge",
  "8.1.8": "promiscuous mode; the bridge's Ethernet address is stable",
  "8.1.9": "who decides on the Ethernet address",
  "8.1.10": "a failure gives the addresses back",
  "8.1.11": "masquerading",
  "8.1.12": "ADD, CHECK, DEL with prevResult",
  "8.1.13": "rules against a false Ethernet address",
  "8.1.14": "disableContainerInterface",
  "8.1.15": "port isolation",
  "8.1.16": "VLAN values out of range",
} as const;

/** What the tests of the reference's host-local plugin hold. */
const hostLocal = {
  "8.2.1": "one address of each range, recorded, and gone after DEL",
  "8.2.2": "one container, two interfaces, two networks",
  "8.2.3": "a second ADD of the same interface",
  "8.2.4": "records of an older format",
  "8.2.5": "DEL of an unknown container",
  "8.2.6": "white space around ids in records",
  "8.2.7": "nothing on standard error at first use",
  "8.2.8": "requested addresses",
  "8.2.9": "the order of addresses",
  "8.2.10": "ranges in the configuration",
  "8.2.11": "what a range can be",
  "8.2.12": "locks; resolv.conf",
} as const;

/** demands names each with its meaning. */
export const demands: Readonly<Record<string, string>> = {
  ...specification,
  ...codes,
  ...results,
  ...library,
  ...defects,
  ...bridge,
  ...hostLocal,
};
