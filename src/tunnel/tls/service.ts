/** The process `causeway tunnel-tls`: holds the TLS connections of this machine, as hub and as node, and does what its socket is told. */
import { BUILD, every, LineServer, ownPid, readText } from "../../sys/mod.ts";
import {
  type Keep,
  parseProxy,
  type TlsAnswer,
  type TlsConfig,
  type TlsHub,
  type TlsRequest,
  type TlsStatus,
  trustOf,
} from "./config.ts";
import { TlsListener } from "./listener.ts";
import { TlsUplink } from "./uplink.ts";

/** How often files are looked at, and what failed is tried again. */
const LOOK_MS = 5000;

/** A part of what runs, with what it was made of. */
interface Part<T extends Disposable> {
  readonly made: T;
  readonly from: string;
}

/** TlsService does what a configuration says. */
export class TlsService implements Disposable {
  readonly #uplinks = new Map<string, Part<TlsUplink>>();
  readonly #timer: Disposable;
  #listener: Part<TlsListener> | undefined;
  #config: TlsConfig | undefined;
  #keep: Keep = {};
  #problems: readonly string[] = [];
  #work: Promise<void> = Promise.resolve();

  constructor() {
    this.#timer = every(LOOK_MS, () => void this.#again());
  }

  /** configure makes what runs what the configuration says; what is the same goes on untouched. */
  configure(config: TlsConfig, keep: Keep = {}): Promise<TlsStatus> {
    this.#config = config;
    this.#keep = keep;
    return this.#again().then(() => this.status);
  }

  get status(): TlsStatus {
    return {
      build: BUILD,
      pid: ownPid(),
      hubs: [...this.#uplinks.values()].map(({ made }) => made.status),
      ...(this.#listener === undefined ? {} : { listener: this.#listener.made.status }),
      problems: this.#problems,
    };
  }

  /** One at a time. */
  #again(): Promise<void> {
    this.#work = this.#work.then(() => this.#apply());
    return this.#work;
  }

  async #apply(): Promise<void> {
    const config = this.#config;
    if (config === undefined) return;
    const problems: string[] = [];
    const attempt = async (work: () => void | Promise<void>) => {
      try {
        await work();
      } catch (error) {
        problems.push(error instanceof Error ? error.message : String(error));
      }
    };
    await attempt(() => this.#applyListener(config));
    for (const [name, { made }] of this.#uplinks)
      if (!config.hubs.some((hub) => hub.name === name)) {
        made.close();
        this.#uplinks.delete(name);
      }
    for (const hub of config.hubs) await attempt(() => this.#applyHub(hub, config));
    this.#problems = problems;
  }

  #applyListener({ listener, tunnelPort }: TlsConfig): void {
    if (listener === undefined) {
      this.#listener?.made.close();
      this.#listener = undefined;
      return;
    }
    const { port, certificatePath, keyPath } = listener;
    const certificate = content(certificatePath);
    const key = content(keyPath);
    const from = JSON.stringify([port, tunnelPort, certificate, key]);
    if (this.#listener?.from === from) return;
    // The port has to be free; nodes come back at once.
    this.#listener?.made.close();
    this.#listener = undefined;
    this.#listener = { made: TlsListener.start({ port, certificate, key, tunnelPort }), from };
  }

  async #applyHub(hub: TlsHub, { tunnelPort, proxy }: TlsConfig): Promise<void> {
    const trust = trustOf(hub, readText);
    const from = JSON.stringify([hub.host, hub.port, trust, tunnelPort, proxy]);
    const former = this.#uplinks.get(hub.name);
    if (former?.from === from) return;
    const kept = former?.made.status ?? this.#keep[hub.name];
    former?.made.close();
    this.#uplinks.delete(hub.name);
    const made = await TlsUplink.start({
      name: hub.name,
      host: hub.host,
      port: hub.port,
      trust,
      tunnelPort,
      ...(proxy === undefined ? {} : { proxy: parseProxy(proxy) }),
      ...(kept === undefined ? {} : { localPort: kept.localPort, session: kept.session }),
    });
    this.#uplinks.set(hub.name, { made, from });
  }

  [Symbol.dispose](): void {
    this.#timer[Symbol.dispose]();
    this.#listener?.made.close();
    for (const { made } of this.#uplinks.values()) made.close();
  }
}

function content(path: string): string {
  const text = readText(path);
  if (text === undefined) throw new Error(`Cannot read ${path}: there is no such file; TLS needs it`);
  return text;
}

/** serveTls answers on a socket until the process ends; throws if another process answers there. */
export function serveTls(socketPath: string): Disposable {
  const service = new TlsService();
  const server = LineServer.listen(socketPath, {
    mode: 0o600,
    onRequest(line, connection) {
      void answer(service, line).then((result) => connection.reply(JSON.stringify(result)));
    },
  });
  return {
    [Symbol.dispose]() {
      server.close();
      service[Symbol.dispose]();
    },
  };
}

async function answer(service: TlsService, line: string): Promise<TlsAnswer> {
  try {
    const request = JSON.parse(line) as TlsRequest;
    const status =
      request.op === "configure" ? await service.configure(request.config, request.keep) : service.status;
    return { status };
  } catch (error) {
    return { error: error instanceof Error ? error.message : String(error) };
  }
}
