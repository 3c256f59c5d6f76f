/**
 * What Wireshark's dissector reads in the messages that our encoders write: an opinion that does not come from us. Random OPENs and UPDATEs, each a TCP
 * segment of a capture file; no packet is sent.
 */
import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { formatIp, formatMac } from "../../src/net/mod.ts";
import {
  encodeMessage,
  encodeOpen,
  encodeRd,
  EVPN,
  IPV6_UNICAST,
  MESSAGE,
  type NextHop,
  type Nlri,
  type PathAttributes,
  printEsi,
} from "../../src/bgp/wire/mod.ts";
import { fetchPackages, SuiteError } from "../../tools/debian-suite.ts";
import {
  randomAttributes,
  randomCapabilities,
  randomHost,
  randomNlri,
  updateOf,
} from "../support/bgp-random.ts";
import { toHex } from "../support/bgp-bytes.ts";
import { newSeed, Random } from "../support/random.ts";

const PACKAGES = [
  ..."tshark wireshark-common libwireshark-data libwireshark16 libwiretap13 libwsutil14".split(" "),
  ..."libc-ares2 liblua5.2-0 libsmi2ldbl libsnappy1v5".split(" "),
];

/** Where Debian's tshark lies unpacked, or why there is none that starts. */
function tshark(): { readonly root: string } | { readonly lacks: string } {
  try {
    const root = fetchPackages("bookworm", PACKAGES);
    const { success, stderr } = run(root, ["--version"]);
    return success ? { root } : { lacks: `tshark: ${stderr.trim().split("\n").at(-1)}` };
  } catch (error) {
    if (error instanceof SuiteError) return { lacks: error.message };
    throw error;
  }
}

const folder = mkdtempSync(join(tmpdir(), "causeway-bgp-"));
afterAll(() => rmSync(folder, { recursive: true }));

function run(root: string, argv: readonly string[]) {
  const done = Bun.spawnSync([join(root, "usr/bin/tshark"), ...argv], {
    env: {
      PATH: process.env["PATH"] ?? "",
      HOME: folder,
      LD_LIBRARY_PATH: join(root, "usr/lib/x86_64-linux-gnu"),
      WIRESHARK_DATA_DIR: join(root, "usr/share/wireshark"),
    },
    stdout: "pipe",
    stderr: "pipe",
  });
  return { success: done.success, stdout: done.stdout.toString(), stderr: done.stderr.toString() };
}

/** A capture file (libpcap, link type 101: IP) of TCP segments to port 179, each from a port of its own. */
function capture(messages: readonly Uint8Array[]): Buffer {
  const file = Buffer.alloc(24);
  for (const [at, value] of [
    [0, 0xa1b2c3d4],
    [4, 0x00040002],
    [16, 0x0000ffff],
    [20, 101],
  ] as const)
    file.writeUInt32LE(value, at);
  const parts = [file];
  for (const [index, message] of messages.entries()) {
    const length = 40 + message.length;
    const packet = Buffer.alloc(16 + length);
    packet.writeUInt32LE(index, 0);
    packet.writeUInt32LE(length, 8);
    packet.writeUInt32LE(length, 12);
    packet.set(
      [0x45, 0, length >>> 8, length & 0xff, 0, 0, 0x40, 0, 64, 6, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2],
      16,
    );
    packet.writeUInt16BE(10_000 + index, 36);
    packet.writeUInt16BE(179, 38);
    // Data offset 5, flags PSH and ACK.
    packet.set([0x50, 0x18, 0xff, 0xff], 48);
    packet.set(message, 56);
    parts.push(packet);
  }
  return Buffer.concat(parts);
}

/** Values of fields in each packet, in the order of the packet. */
function dissect(
  root: string,
  messages: readonly Uint8Array[],
  fields: readonly string[],
): ReadonlyMap<string, readonly string[]>[] {
  const path = join(folder, "messages.pcap");
  writeFileSync(path, capture(messages));
  const argv = [
    "-r",
    path,
    "-o",
    "bgp.asn_len:4 octet",
    "-T",
    "fields",
    "-E",
    "separator=/t",
    "-E",
    "aggregator=;",
  ];
  const { success, stdout, stderr } = run(root, [...argv, ...fields.flatMap((field) => ["-e", field])]);
  if (!success) throw new Error(stderr);
  const lines = stdout.replace(/\n$/, "").split("\n");
  return lines.map((line) => {
    const columns = line.split("\t");
    return new Map(
      fields.map((field, index) => [
        field,
        columns[index] === "" || columns[index] === undefined ? [] : (columns[index] as string).split(";"),
      ]),
    );
  });
}

const found = tshark();
const root = "root" in found ? found.root : "";
const proven = "root" in found ? test : test.skip;
const title = (name: string, seed: number) => `${name} (${"lacks" in found ? found.lacks : `seed ${seed}`})`;

const P = "bgp.update.path_attribute";
const TROUBLE = ["_ws.malformed", "_ws.expert.message"];

/** What the dissector should say of attributes, by its names. */
function expectedOf(attributes: PathAttributes): Record<string, readonly (string | number)[]> {
  const {
    asPath,
    communities = [],
    clusterList = [],
    largeCommunities = [],
    extendedCommunities = [],
  } = attributes;
  const known = (value: number) => value >= 0xffff0000 || value < 0x00010000;
  const list = <T>(value: T | undefined) => (value === undefined ? [] : [value]);
  const of = <K extends string>(kind: K) => extendedCommunities.filter((one) => one.kind === kind) as never[];
  return {
    [`${P}.origin`]: [["igp", "egp", "incomplete"].indexOf(attributes.origin)],
    [`${P}.as_path_segment.as4`]: asPath.flatMap(({ asns }) => asns),
    [`${P}.multi_exit_disc`]: list(attributes.med),
    [`${P}.local_pref`]: list(attributes.localPreference),
    [`${P}.aggregator_as`]: list(attributes.aggregator?.as),
    [`${P}.aggregator_origin`]:
      attributes.aggregator === undefined ? [] : [formatIp(attributes.aggregator.address)],
    [`${P}.community_value`]: communities.filter((value) => !known(value)).map((value) => value & 0xffff),
    [`${P}.originator_id`]: attributes.originatorId === undefined ? [] : [formatIp(attributes.originatorId)],
    "bgp.path_attribute.cluster_id": clusterList.map(formatIp),
    "bgp.large_communities.ga": largeCommunities.map(({ global }) => global),
    "bgp.large_communities.ldp1": largeCommunities.map(({ local1 }) => local1),
    "bgp.large_communities.ldp2": largeCommunities.map(({ local2 }) => local2),
    "bgp.ext_com_evpn.mmac.seq": of("mac-mobility").map(({ sequence }) => sequence),
    "bgp.ext_com_evpn.esi.router_mac": of("router-mac").map(({ mac }) => formatMac(mac)),
    "bgp.ext_com_evpn.esi.rt": of("es-import").map(({ mac }) => formatMac(mac)),
    "bgp.ext_com.tunnel_type": of("encapsulation").map(({ tunnel }) => tunnel),
  };
}

/** What it should say of EVPN routes; it has originators and addresses in one field. */
function expectedEvpn(routes: readonly Nlri[]): Record<string, readonly (string | number)[]> {
  const each = <T>(pick: (nlri: Nlri) => T | undefined) => routes.flatMap((nlri) => pick(nlri) ?? []);
  const address = (family: 4 | 6) => (nlri: Nlri) => {
    const ip =
      nlri.kind === "mac-ip"
        ? nlri.ip
        : nlri.kind === "ip-prefix"
          ? nlri.prefix
          : "originator" in nlri
            ? nlri.originator
            : undefined;
    return ip?.family === family ? formatIp({ family, value: ip.value }) : undefined;
  };
  const gateway = (family: 4 | 6) => (nlri: Nlri) =>
    nlri.kind === "ip-prefix" && nlri.gateway?.family === family ? formatIp(nlri.gateway) : undefined;
  const types = ["ethernet-auto-discovery", "mac-ip", "inclusive-multicast", "ethernet-segment", "ip-prefix"];
  const e = "bgp.evpn.nlri";
  return {
    [`${e}.rt`]: routes.map(({ kind }) => types.indexOf(kind) + 1),
    [`${e}.etag`]: each((nlri) => ("tag" in nlri ? nlri.tag : undefined)),
    [`${e}.mac_addr`]: each((nlri) => (nlri.kind === "mac-ip" ? formatMac(nlri.mac) : undefined)),
    [`${e}.ip.addr`]: each(address(4)),
    [`${e}.ipv6.addr`]: each(address(6)),
    [`${e}.prefix_len`]: each((nlri) => (nlri.kind === "ip-prefix" ? nlri.prefix.length : undefined)),
    [`${e}.ipv4.gtw_addr`]: each(gateway(4)),
    [`${e}.ipv6.gtw_addr`]: each(gateway(6)),
    [`${e}.esi`]: each((nlri) => ("esi" in nlri && nlri.esi !== undefined ? printEsi(nlri.esi) : undefined)),
    [`${e}.rd`]: each((nlri) => ("rd" in nlri ? toHex(Uint8Array.from(encodeRd(nlri.rd))) : undefined)),
  };
}

function compare(
  messages: readonly Uint8Array[],
  expected: readonly Record<string, readonly (string | number)[]>[],
  note: string,
): void {
  const fields = Object.keys(expected[0] as object);
  const seen = dissect(root, messages, [...fields, ...TROUBLE]);
  expect(seen.length).toBe(messages.length);
  for (const [index, packet] of seen.entries()) {
    const said = Object.fromEntries(fields.map((field) => [field, packet.get(field)]));
    const wanted = Object.fromEntries(
      Object.entries(expected[index] as object).map(([k, v]) => [k, (v as []).map(String)]),
    );
    expect(said, `${note}, packet ${index + 1}`).toEqual(wanted);
    expect(packet.get("_ws.malformed"), `${note}, packet ${index + 1}`).toEqual([]);
  }
}

/** randomAttributes without what the dissector does not know: unknown attributes and sub-TLVs, IPv6 in old fields. */
function familiar(random: Random, family: 4 | 6): PathAttributes & { readonly nextHop: NextHop } {
  const {
    others: _o,
    tunnelEncapsulation: _t,
    ipv6ExtendedCommunities: _i,
    pmsiTunnel,
    ...rest
  } = randomAttributes(random);
  const known = pmsiTunnel?.kind === "ingress-replication" && pmsiTunnel.endpoint.family === 4;
  return { ...rest, ...(known ? { pmsiTunnel } : {}), nextHop: { address: randomHost(random, family) } };
}

const COUNT = 150;

for (const seed of [1, newSeed()]) {
  proven(title("EVPN routes of all types, with attributes", seed), () => {
    const random = new Random(seed);
    const cases = Array.from({ length: COUNT }, () => {
      const attributes = familiar(random, 4);
      const routes = Array.from({ length: 1 + random.below(6) }, () => randomNlri(random, EVPN)).filter(
        ({ kind }) => kind !== "evpn-unknown",
      );
      return { attributes, routes };
    }).filter(({ routes }) => routes.length > 0);
    compare(
      cases.map(({ attributes, routes }) => encodeMessage(MESSAGE.update, updateOf(routes, attributes))),
      cases.map(({ attributes, routes }) => ({
        [`${P}.mp_reach_nlri.next_hop.ipv4`]: [formatIp(attributes.nextHop.address)],
        ...expectedOf(attributes),
        ...expectedEvpn(routes),
      })),
      `seed ${seed}`,
    );
  });

  proven(title("IPv6 prefixes with path attributes", seed), () => {
    const random = new Random(seed);
    const cases = Array.from({ length: COUNT }, () => {
      const attributes = familiar(random, 6);
      // Short prefixes look like path identifiers to the dissector, which guesses whether there are any.
      const routes = Array.from({ length: 1 + random.below(6) }, () =>
        randomNlri(random, IPV6_UNICAST),
      ).filter((nlri) => nlri.kind === "prefix" && nlri.prefix.length >= 48);
      return { attributes, routes };
    }).filter(({ routes }) => routes.length > 0);
    compare(
      cases.map(({ attributes, routes }) => encodeMessage(MESSAGE.update, updateOf(routes, attributes))),
      cases.map(({ attributes, routes }) => ({
        [`${P}.mp_reach_nlri.next_hop.ipv6`]: [formatIp(attributes.nextHop.address)],
        "bgp.mp_reach_nlri_ipv6_prefix": routes.flatMap((nlri) =>
          nlri.kind === "prefix" ? formatIp({ family: 6, value: nlri.prefix.value }) : [],
        ),
        "bgp.prefix_length": routes.flatMap((nlri) => (nlri.kind === "prefix" ? nlri.prefix.length : [])),
        ...expectedOf(attributes),
      })),
      `seed ${seed}`,
    );
  });

  proven(title("OPENs", seed), () => {
    const random = new Random(seed);
    const opens = Array.from({ length: COUNT }, () => ({
      as: 1 + random.below(65_535),
      holdSeconds: random.pick([0, 9, 90, 65_535]),
      routerId: randomHost(random, 4),
      capabilities: randomCapabilities(random),
    }));
    compare(
      opens.map(encodeOpen),
      opens.map(({ as, holdSeconds, routerId, capabilities }) => ({
        "bgp.open.myas": [as],
        "bgp.open.holdtime": [holdSeconds],
        "bgp.open.identifier": [formatIp(routerId)],
        "bgp.cap.mp.afi": capabilities.flatMap((one) =>
          one.kind === "multiprotocol" ? one.family >>> 16 : [],
        ),
        "bgp.cap.mp.safi": capabilities.flatMap((one) =>
          one.kind === "multiprotocol" ? one.family & 0xff : [],
        ),
        "bgp.cap.4as": capabilities.flatMap((one) => (one.kind === "as4" ? one.as : [])),
        "bgp.cap.gr.timers.restart_time": capabilities.flatMap((one) =>
          one.kind === "graceful-restart" ? one.restartSeconds : [],
        ),
        "bgp.cap.ap.sendreceive": capabilities.flatMap((one) =>
          one.kind === "add-path" ? one.families.map(() => 2) : [],
        ),
      })),
      `seed ${seed}`,
    );
  });
}
