/** A gateway as a process: ready when it says so, gone at SIGTERM and SIGINT. Its configuration and keys outlive it on disk. */
import { type GatewayConfig, instanceOf, readConfig, sameValue } from "../gateway/mod.ts";
import { Monitor, probeEsp, SettingsMonitor } from "../netlink/mod.ts";
import {
  after,
  boottimeMs,
  ensureDirectory,
  every,
  exists,
  exit,
  forbidCoreDumps,
  hostName,
  onBug,
  onSignal,
  readText,
  sleep,
} from "../sys/mod.ts";
import { ControlSocket } from "./control.ts";
import { GATEWAYS, isGatewayName, socketOf } from "./control-protocol.ts";
import { GatewayFiles } from "./files.ts";
import { Gateway } from "./gateway.ts";
import { History, STEP_MS } from "./history.ts";
import { type Log, openLog } from "./log.ts";
import { ManifestSource } from "./manifest-source.ts";
import { totalsOf } from "./top.ts";
import { GATEWAY_FILTER } from "../tunnel/gateway/mod.ts";
import { xdpProblem } from "../tunnel/xdp/mod.ts";
import { isLeftBlocked } from "../tunnel/xfrm/mod.ts";
import type { Tell } from "./back-end.ts";
import { type BackEndFacts, ChosenBackEnd } from "./chosen-back-end.ts";
import { KernelBackEnd, letGo } from "./kernel-back-end.ts";
import { lockInstance, lockState } from "./locks.ts";
import { GRO_FLUSH_TIMEOUT_NS } from "./poll-deferral.ts";
import { XdpBackEnd } from "./xdp-back-end.ts";

/** GatewayRunOptions are what the command line says. */
export interface GatewayRunOptions {
  /** Absent: that of the only Gateway of this node in the manifests. */
  readonly name?: string;
  /** A file or a folder that has the Gateway and its Routes: they are the configuration, and are followed. */
  readonly manifests?: string;
  /** This node's name; default the machine's. */
  readonly node?: string;
  /** VNI of its VPC, whose side the agent has made; only with manifests. */
  readonly vni?: number;
  /** Whether queues that cannot have AF_XDP are down; else they have packet sockets. */
  readonly requireXdp: boolean;
  /** How often the kernel polls interfaces of AF_XDP while packets come; 0: at each packet. Default GRO_FLUSH_TIMEOUT_NS. */
  readonly groFlushTimeoutNs?: number;
  /** Processors of the queues, in order; none: those of the configuration. */
  readonly cpus: readonly number[];
  /** Text that is the configuration at the start, in place of what was set last. */
  readonly configFile?: string;
  /** Where configuration and keys are kept; default /var/lib/causeway/gateway/NAME. */
  readonly state?: string;
  /** Where the socket is; default GATEWAYS. */
  readonly folder?: string;
  /** Folders in which AEAD libraries may lie beside the system's own. */
  readonly libraries: readonly string[];
}

/** Changes that belong together come together. */
const SOON_MS = 50;
/** What could not be is tried again so often, when nothing tells that it could. */
const AGAIN_MS = 2_000;
/** A thread that does not end is not waited for longer. */
const END_MS = 3_000;

/** What this machine is able to; a kernel that has not answered (no memory, no rights) is asked again. */
const machineFacts: BackEndFacts = {
  user: () => xdpProblem(GATEWAY_FILTER),
  kernel: () => {
    const ability = probeEsp({ algorithm: "aes-128-gcm", outer: 4 });
    if (ability.answer === "undecided")
      throw new Error(`the kernel does not say whether it has ESP: ${ability.cause.message}`);
    return ability.answer === "yes" ? undefined : (ability.cause?.message ?? "it has no ESP");
  },
};

/** Reads the configuration of the start; throws where there is none that is right. */
function firstConfig(
  files: GatewayFiles,
  { configFile: path, log, source }: Begin & { readonly log: Log },
): GatewayConfig {
  if (source !== undefined) return source.first(files.config(), log);
  if (path === undefined) return files.config();
  const text = readText(path);
  if (text === undefined)
    throw new Error(`There is no file ${path}; name one that is there, or leave --config out`);
  const { config, warnings } = readConfig(text, files.config());
  for (const { path: at, rule } of warnings)
    log("configuration is likely not meant so", { path: at, reason: rule });
  files.saveConfig(config);
  return config;
}

/** Looks again at what could not be, or cannot any more, when links, addresses or forwarding change, and now and then. */
function watchLinks(gateway: Gateway): Disposable {
  let waiting: Disposable | undefined;
  const look = () => {
    waiting = undefined;
    gateway.look();
  };
  const changed = () => {
    waiting ??= after(SOON_MS, look);
  };
  const monitor = Monitor.open({ groups: ["link", "address"], onEvent: changed, onOverrun: changed });
  const settings = SettingsMonitor.open({ onChange: changed });
  const again = every(AGAIN_MS, look);
  return {
    [Symbol.dispose]: () => {
      for (const one of [waiting, monitor, settings, again]) one?.[Symbol.dispose]();
    },
  };
}

/** A step that cannot be had is left out. */
function keepHistory(gateway: Gateway, history: History, log: Log): Disposable {
  return every(STEP_MS, () => {
    gateway
      .report()
      .then((reports) => history.add(boottimeMs(), totalsOf(gateway.state(reports))))
      .catch((error: Error) => log("a step of the history is missing", { reason: error.message }));
  });
}

/** Begin is what a gateway is begun with. */
interface Begin extends GatewayRunOptions {
  readonly name: string;
  readonly source: ManifestSource | undefined;
}

/** What a gateway's process has. */
interface Running {
  readonly gateway: Gateway;
  /** Ends what serves and looks. */
  readonly serving: Disposable;
  /** Lets others have what only one may have. */
  readonly locks: Disposable;
}

/**
 * Begins in an order in which nothing is written, and nothing of another gateway touched, before it is sure that no other process has this one's
 * state, name or place in the kernel. Throws with nothing left.
 */
function begin(options: Begin, log: Log): Running {
  const { name, cpus, source, folder = GATEWAYS } = options;
  const state = options.state ?? `/var/lib/causeway/gateway/${name}`;
  using locks = new DisposableStack();
  using serving = new DisposableStack();
  locks.use(lockState(state, name));
  if (!exists(folder)) ensureDirectory(folder, 0o755);
  const control = serving.use(new ControlSocket(socketOf(name, folder)));
  const files = new GatewayFiles(state);
  const config = firstConfig(files, { ...options, log });
  const instance = instanceOf(name);
  const backEnd = (tell: Tell) =>
    new ChosenBackEnd({
      tell,
      facts: machineFacts,
      make: {
        kernel: (hear, before) => new KernelBackEnd({ tell: hear, instance, before, ifId: options.vni }),
        user: (hear) =>
          new XdpBackEnd({
            tell: hear,
            folders: options.libraries,
            requireXdp: options.requireXdp,
            groFlushTimeoutNs: options.groFlushTimeoutNs ?? GRO_FLUSH_TIMEOUT_NS,
          }),
      },
      lock: () => lockInstance(name, instance),
      isLeft: () => isLeftBlocked({ instance }),
      letGo: () => letGo({ instance }),
    });
  using begun = new DisposableStack();
  const gateway = begun.use(new Gateway({ files, log, backEnd, cpus, vni: options.vni }, config));
  const history = new History();
  serving.use(watchLinks(gateway));
  serving.use(keepHistory(gateway, history, log));
  if (source !== undefined) {
    // What cannot begin has not replaced what could.
    if (!sameValue(config, files.config())) files.saveConfig(config);
    serving.use(source).follow(gateway, log);
  }
  control.serve({ name, gateway, history, log, ...(source === undefined ? {} : { source }) });
  begun.move();
  return { gateway, serving: serving.move(), locks: locks.move() };
}

/** runGateway serves until SIGTERM, after which a restart goes on, or SIGINT, which tells other gateways goodbye. Throws where it cannot begin. */
export async function runGateway(options: GatewayRunOptions): Promise<never> {
  const { manifests: path, node = hostName(), name: wish, folder = GATEWAYS } = options;
  const source =
    path === undefined
      ? undefined
      : new ManifestSource({
          ...{ path, node, hasVpc: options.vni !== undefined },
          ...(wish === undefined ? {} : { name: wish }),
        });
  const name = source?.gateway ?? wish;
  if (name === undefined) throw new Error("A gateway without manifests has no name; give one by --name");
  if (!isGatewayName(name))
    throw new Error(`The Gateway "${name}" cannot be run: a name has 1 to 63 letters, digits, _ . -`);
  const log = openLog(name);
  forbidCoreDumps();
  onBug((error) => {
    log("the gateway ends because of a bug", {
      reason: error instanceof Error ? (error.stack ?? error.message) : String(error),
    });
    exit(70);
  });
  const { gateway, serving, locks } = begin({ ...options, name, source }, log);
  const end = Promise.withResolvers<string>();
  using _ = onSignal(["SIGTERM", "SIGINT"], end.resolve);
  log("gateway is ready", { path: socketOf(name, folder) });
  const signal = await end.promise;
  serving[Symbol.dispose]();
  await Promise.race([gateway.close(signal === "SIGINT"), sleep(END_MS)]);
  locks[Symbol.dispose]();
  log("gateway has ended", { by: signal });
  return exit(0);
}
