/**
 * An agent that only attaches pods: engine and CNI service in the namespaces it is started in. The argument is JSON:
 * `{"ranges": ["10.244.1.0/24"], "mtuBytes": 1420}`, with the ports of the node itself as `ownPorts`, those of services as `services`, and the bodies of further tables
 * as `rulesets`, where a test wants them; `vpcs: true` for private networks (veth-vpcs.ts), after `vpcsAfterMs` if that is given; as `podFacts` what is
 * known of pods, by `namespace/name`. Says "ready" on standard output when it answers.
 */
import { CniService, CNI_SOCKET, type PodFacts, serveCni, TOMBSTONES } from "../../src/cni/mod.ts";
import { Engine, type Ruleset } from "../../src/engine/mod.ts";
import { parsePrefix } from "../../src/net/mod.ts";
import type { OwnPort } from "../../src/pods/mod.ts";
import { VethVpcs } from "./veth-vpcs.ts";

const {
  ranges,
  mtuBytes,
  ownPorts = [],
  services = [],
  rulesets = [],
  vpcs = false,
  vpcsAfterMs,
  answerMs,
  replayMs,
  podFacts,
  clusterServices = [],
} = JSON.parse(process.argv[2] ?? "{}") as {
  ranges: string[];
  mtuBytes: number;
  ownPorts?: OwnPort[];
  services?: string[];
  rulesets?: Ruleset[];
  vpcs?: boolean;
  vpcsAfterMs?: number;
  answerMs?: number;
  replayMs?: number;
  podFacts?: Record<string, PodFacts>;
  clusterServices?: { prefix: string; protocol: "tcp" | "udp"; port: number }[];
};
const engine = Engine.open();
const service = CniService.open({
  engine,
  folder: "/var/lib/causeway",
  tombstones: TOMBSTONES,
  dataPath: ["pods", "node"],
  onProblem: (error) => console.error(error),
  ...(answerMs !== undefined && { answerMs }),
  ...(replayMs !== undefined && { replayMs }),
});
if (podFacts !== undefined)
  service.setPodFacts({
    podFacts: (namespace, name) => podFacts[`${namespace}/${name}`],
    find: (namespace, name) => Promise.reject(new Error(`nobody knows ${namespace}/${name}`)),
  });
if (vpcs && vpcsAfterMs === undefined) service.setVpcs(new VethVpcs());
if (vpcs && vpcsAfterMs !== undefined) setTimeout(() => service.setVpcs(new VethVpcs()), vpcsAfterMs);
service.setNode({
  ...{ ranges: ranges.map(parsePrefix), mtuBytes, ownPorts, services: services.map(parsePrefix) },
  clusterServices: clusterServices.map((service) => ({ ...service, prefix: parsePrefix(service.prefix) })),
});
engine.set("node", [
  { kind: "sysctl", path: "net/ipv4/ip_forward", value: "1" },
  { kind: "sysctl", path: "net/ipv6/conf/all/forwarding", value: "1" },
  ...rulesets,
]);
const { applied, failed } = engine.apply({ prune: true });
engine.start();
const server = serveCni(service, CNI_SOCKET);
console.log(JSON.stringify({ ready: true, applied, failed }));
process.on("SIGTERM", () => {
  server.close();
  service.close();
  engine[Symbol.dispose]();
  process.exit(0);
});
