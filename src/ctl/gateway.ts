/** `causeway gateway`: the process of a site gateway, and what it tells beside its configuration. Loads little: it carries packets. */
import { forbidCoreDumps, randomBytes } from "../sys/mod.ts";
import { type Command, type Given, UsageError } from "./command.ts";
import { printText } from "./output.ts";

const PATH = "causeway gateway run";
const PSK_BYTES = 32;
/** Rings of 256 frames, as veth has, are full then at 256,000 packets in a second. */
const MOST_TIMEOUT_NS = 1_000_000;
const folder = {
  folder: { about: "where sockets are; default /run/causeway/gateway", value: "DIR" },
} as const;

function cpusOf(given: Given): number[] {
  const list = given.value("cpu");
  if (list === undefined) return [];
  if (!/^\d{1,4}(,\d{1,4})*$/.test(list))
    throw new UsageError(PATH, `--cpu takes numbers such as 2,3, not "${list}"`);
  return list.split(",").map(Number);
}

function timeoutOf(given: Given): number | undefined {
  const text = given.value("gro-flush-timeout");
  if (text !== undefined && (!/^\d{1,7}$/.test(text) || Number(text) > MOST_TIMEOUT_NS))
    throw new UsageError(
      PATH,
      `--gro-flush-timeout is 0 to ${MOST_TIMEOUT_NS} nanoseconds, such as 100000, not "${text}"`,
    );
  return text === undefined ? undefined : Number(text);
}

function pathOf(given: Given, option: string): string | undefined {
  const path = given.value(option);
  if (path !== undefined && !path.startsWith("/"))
    throw new UsageError(PATH, `--${option} is an absolute path, not "${path}"`);
  return path;
}

const run: Command = {
  name: "run",
  about: "Run a site gateway, until it is ended",
  more: `Keeps its configuration, and takes changes of it by causeway config. What cannot
work as things are, such as a missing interface, is the status of its route or
queue, and is tried again. SIGTERM ends it for a restart; SIGINT (Ctrl-C) tells
other gateways that it ends. Interfaces are its own while it runs: packets go by
AF_XDP, past the kernel; where that cannot be used, by packet sockets, which are
slower. get-state, top and the log say so. With --xdp such a queue is down. With
backend kernel in its configuration they stay the host's. While packets come the
kernel looks for them by AF_XDP every 100 µs (Linux 6.13), or as often as
--gro-flush-timeout says, in nanoseconds; 0: at each packet.
With --manifests its configuration is the Gateway of that name in a file or a
folder, with the Routes that name it; files are followed, and causeway config
only reads. What is wrong there changes nothing, and stands in get-state, top
and the log.`,
  options: {
    name: { about: "its name for causeway config and top; the Gateway's", value: "NAME" },
    manifests: { about: "its Gateway and Routes: a file or folder, followed", value: "PATH" },
    node: { about: "this node in spec.node; default the machine's name", value: "NAME" },
    vni: { about: "number of its VPC, as the agent gives it", value: "VNI" },
    xdp: { about: "only AF_XDP: no packet sockets where it cannot be used" },
    cpu: { about: "processors of the queues, such as 2,3", value: "LIST", short: "c" },
    "gro-flush-timeout": {
      about: "time between polls under load; default 100000",
      value: "NS",
    },
    config: { about: "begin with this; default what was set last", value: "FILE" },
    state: {
      about: "what it keeps; default in /var/lib/causeway/gateway",
      value: "DIR",
    },
    libraries: { about: "where ipsec-mb lies, beside the system's", value: "DIR", many: true },
    ...folder,
  },
  examples: [
    "causeway gateway run --name paris --xdp --cpu 2,3",
    "causeway gateway run --name paris --config /etc/causeway/paris.conf",
    "causeway gateway run --name paris --manifests /etc/causeway/manifests",
  ],
  async run(given) {
    const name = given.value("name");
    const [manifests, node] = [pathOf(given, "manifests"), given.value("node")];
    if (name === undefined && manifests === undefined)
      throw new UsageError(PATH, "--name is missing: causeway config finds it by that");
    const [state, sockets] = [pathOf(given, "state"), pathOf(given, "folder")];
    const configFile = given.value("config");
    if (manifests !== undefined && configFile !== undefined)
      throw new UsageError(PATH, "--config and --manifests are both the configuration; give one of them");
    if (manifests === undefined && node !== undefined)
      throw new UsageError(
        PATH,
        "--node says whose manifests are meant; give --manifests too, or leave it out",
      );
    const vni = given.value("vni");
    const groFlushTimeoutNs = timeoutOf(given);
    if (vni !== undefined && (manifests === undefined || !/^[1-9]\d{0,7}$/.test(vni)))
      throw new UsageError(PATH, "--vni is a number that the agent gives, beside --manifests");
    const { isGatewayName, runGateway } = await import("../gatewayd/mod.ts");
    if (name !== undefined && !isGatewayName(name))
      throw new UsageError(PATH, `--name "${name}" has to be 1 to 63 letters, digits, _ . -`);
    forbidCoreDumps();
    return runGateway({
      ...(name === undefined ? {} : { name }),
      ...(manifests === undefined ? {} : { manifests }),
      ...(node === undefined ? {} : { node }),
      ...(vni === undefined ? {} : { vni: Number(vni) }),
      requireXdp: given.flag("xdp"),
      ...(groFlushTimeoutNs === undefined ? {} : { groFlushTimeoutNs }),
      cpus: cpusOf(given),
      libraries: given.values("libraries"),
      ...(configFile === undefined ? {} : { configFile }),
      ...(state === undefined ? {} : { state }),
      ...(sockets === undefined ? {} : { folder: sockets }),
    });
  },
};

const metrics: Command = {
  name: "metrics",
  about: "Print counts, as Prometheus reads them",
  more: "For the textfile collector of node_exporter, or what else runs programs.",
  positionals: ["NAME"],
  options: folder,
  examples: ["causeway gateway metrics paris > /var/lib/prometheus/node-exporter/paris.prom"],
  async run(given) {
    return tell(given, "metrics");
  },
};

const publicKey: Command = {
  name: "public-key",
  about: "Print what other gateways write as public-key of their route to it",
  positionals: ["NAME"],
  options: folder,
  examples: ["causeway gateway public-key paris"],
  async run(given) {
    return tell(given, "public-key");
  },
};

async function tell(given: Given, op: "metrics" | "public-key"): Promise<number> {
  const { GatewayClient } = await import("./gateway-client.ts");
  using client = GatewayClient.open(given, `causeway gateway ${op}`);
  const answer = client.ask({ op });
  if ("text" in answer) printText(answer.text);
  return 0;
}

const keygen: Command = {
  name: "keygen",
  about: "Print a new pre-shared key, for both ends of a route",
  examples: ["(umask 077; causeway gateway keygen > /etc/causeway/tokyo.psk)"],
  async run() {
    printText(`${Buffer.from(randomBytes(PSK_BYTES)).toString("hex")}\n`);
    return 0;
  },
};

/** gateway is the command. */
export const gateway: Command = {
  name: "gateway",
  about: "Join sites over IPsec: run a gateway; see also config and top",
  commands: [run, metrics, publicKey, keygen],
};
