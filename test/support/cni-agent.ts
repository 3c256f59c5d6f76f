/**
 * An agent that only attaches pods: engine and CNI service in the namespaces it is started in. The argument is JSON:
 * `{"ranges": ["10.244.1.0/24"], "mtuBytes": 1420}`, with the ports of the node itself as `ownPorts`, those of services as `services`, and the bodies of further tables
 * as `rulesets`, where a test wants them. Says "ready" on standard output when it answers.
 */
import { CniService, CNI_SOCKET, serveCni, TOMBSTONES } from "../../src/cni/mod.ts";
import { Engine, type Ruleset } from "../../src/engine/mod.ts";
import { parsePrefix } from "../../src/net/mod.ts";
import type { OwnPort } from "../../src/pods/mod.ts";

const {
  ranges,
  mtuBytes,
  ownPorts = [],
  services = [],
  rulesets = [],
} = JSON.parse(process.argv[2] ?? "{}") as {
  ranges: string[];
  mtuBytes: number;
  ownPorts?: OwnPort[];
  services?: string[];
  rulesets?: Ruleset[];
};
const engine = Engine.open();
const service = CniService.open({
  engine,
  folder: "/var/lib/causeway",
  tombstones: TOMBSTONES,
  dataPath: ["pods", "node"],
  onProblem: (error) => console.error(error),
});
service.setNode({ ranges: ranges.map(parsePrefix), mtuBytes, ownPorts, services: services.map(parsePrefix) });
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
