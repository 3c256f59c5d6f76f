/**
 * A gateway's control socket: configuration by Vita's verbs, looks at it, and `listen`. Who may connect may read, and only root may write; no
 * answer holds a secret.
 */
import {
  answerItem,
  type ConfigProblem,
  type ConfigRequest,
  type ConfigStore,
  emptyStream,
  formatConfigProblem,
  type GatewayStateTree,
  type ObjectStream,
  perform,
  splitObjects,
  type StreamItem,
} from "../gateway/mod.ts";
import { boottimeMs, type LineConnection, LineServer } from "../sys/mod.ts";
import { type ConfigSource, SET, withSource } from "./config-source.ts";
import type { GatewayReport } from "../tunnel/gateway/mod.ts";
import type { GatewayAnswer, GatewayRequest, Top } from "./control-protocol.ts";
import { parseListenLine, parseRequest } from "./control-request.ts";
import type { Gateway } from "./gateway.ts";
import type { History, Span } from "./history.ts";
import type { Log } from "./log.ts";
import { metricsText } from "./metrics.ts";
import { topOf } from "./top.ts";

/** A text of MAX_TEXT characters, as JSON. */
const MOST_LINE_BYTES = 16 << 20;
const GROUP = "causeway";
/** Places of a bug that are logged. */
const MOST_PLACES = 6;

/** Served is what a control socket serves. */
export interface Served {
  readonly name: string;
  readonly gateway: Gateway;
  readonly history: History;
  readonly log: Log;
  /** Default: SET. */
  readonly source?: ConfigSource;
}

/** Who is attached by `listen`. */
interface Listener {
  readonly connection: LineConnection;
  readonly name: string;
  stream: ObjectStream;
}

const isReading = ({ verb }: ConfigRequest) => verb === "get" || verb === "get-state";

/** ControlSocket answers one line after the other, all clients in one order. */
export class ControlSocket implements Disposable {
  readonly #begin = Promise.withResolvers<void>();
  readonly #server: LineServer;
  #given: Served | undefined;
  #listener: Listener | undefined;
  #listeners = 0;
  #turn: Promise<void> = this.#begin.promise;

  /** Takes the path; throws where another process answers there. Who connects waits until there is something to serve. */
  constructor(path: string) {
    this.#server = LineServer.listen(path, {
      mode: 0o660,
      group: GROUP,
      maxLineBytes: MOST_LINE_BYTES,
      maxPendingBytes: 2 * MOST_LINE_BYTES,
      onRequest: (line, connection) => {
        const turn = this.#turn.then(() => this.#answer(line, connection));
        // Nothing that somebody sends ends the process.
        this.#turn = turn.catch((error: unknown) => void this.#reasonOf(error));
      },
    });
  }

  /** serve says what is served, once. */
  serve(served: Served): void {
    this.#given = served;
    this.#begin.resolve();
  }

  get #served(): Served {
    if (this.#given === undefined) throw new Error("nothing is served yet");
    return this.#given;
  }

  async #answer(line: string, connection: LineConnection): Promise<void> {
    const say = (answer: GatewayAnswer) => connection.reply(JSON.stringify(answer));
    try {
      if (this.#listener?.connection === connection) await this.#more(this.#listener, line);
      else await this.#request(parseRequest(line), connection, say);
    } catch (error) {
      say({ error: this.#reasonOf(error) });
      connection.end();
    }
  }

  /** A bug is logged by where it is: its message may hold what was sent. */
  #reasonOf(error: unknown): string {
    if (!(error instanceof TypeError || error instanceof RangeError || error instanceof ReferenceError))
      return error instanceof Error ? error.message : String(error);
    const places = (error.stack ?? "").split("\n").filter((line) => /^\s+at /.test(line));
    const reason = [error.name, ...places.slice(0, MOST_PLACES).map((line) => line.trim())].join(" ");
    this.#served.log("a request was not answered because of a bug", { reason });
    return "The gateway could not answer because of a bug; its log says where";
  }

  async #request(
    request: GatewayRequest,
    connection: LineConnection,
    say: (answer: GatewayAnswer) => void,
  ): Promise<void> {
    const { gateway } = this.#served;
    switch (request.op) {
      case "config":
        say(await this.#config(request.request, connection));
        break;
      case "listen":
        return this.#listen(connection);
      case "top":
        say({ top: await this.#top(request.span ?? "2h", request.most ?? 0) });
        break;
      case "metrics": {
        const state = await this.#state();
        say({ text: metricsText(state, await this.#top("2h", 0)) });
        break;
      }
      case "public-key":
        say({ text: `${gateway.privateKey.publicKey}\n` });
    }
    connection.end();
  }

  async #config(request: ConfigRequest, connection: LineConnection): Promise<GatewayAnswer> {
    if (!isReading(request)) mustBeRoot(connection, request.verb);
    const store = await this.#store(request.verb === "get-state");
    const { text, config, warnings } = perform(store, request);
    const idle = this.#keep(config, request.verb);
    return { text, warnings: [...warnings, ...idle].map(formatConfigProblem) };
  }

  /** The store as it is now; states are asked for only where they are wanted. */
  async #store(withState: boolean): Promise<ConfigStore> {
    const state = await this.#state(withState ? undefined : new Map());
    const { gateway, source = SET } = this.#served;
    const { config } = gateway;
    const listener = this.#listener;
    return {
      config,
      refusal: (path) => source.refusal(path),
      state: { "gateway-state": state },
      ...(listener === undefined ? {} : { listener: listener.name }),
    };
  }

  async #state(reports?: ReadonlyMap<number, GatewayReport>): Promise<GatewayStateTree> {
    const { gateway, source = SET } = this.#served;
    return withSource(gateway.state(reports ?? (await gateway.report())), source);
  }

  /** Returns what of it has no effect. */
  #keep(config: Gateway["config"], verb: string): readonly ConfigProblem[] {
    const { gateway, log } = this.#served;
    if (config === gateway.config) return [];
    const idle = gateway.keep(config);
    log("configuration has changed", { by: verb });
    for (const { path, rule } of idle) log("configuration is likely not meant so", { path, reason: rule });
    return idle;
  }

  async #top(span: Span, most: number): Promise<Top> {
    const { gateway, history, name } = this.#served;
    const state = await this.#state();
    const list = history.list(span, boottimeMs(), most);
    return topOf(state, { gateway: name, queues: gateway.queues, history: list });
  }

  #listen(connection: LineConnection): void {
    mustBeRoot(connection, "listen");
    if (this.#listener !== undefined)
      throw new Error(
        "Somebody is attached by listen already; end that first, or change the configuration there",
      );
    const listener = { connection, name: `listener ${++this.#listeners}`, stream: emptyStream };
    this.#listener = listener;
    connection.onClose(() => {
      if (this.#listener === listener) this.#listener = undefined;
    });
  }

  async #more(listener: Listener, line: string): Promise<void> {
    const said = parseListenLine(line);
    if ("end" in said) return listener.connection.end();
    const [stream, items] = splitObjects(listener.stream, said.more);
    listener.stream = stream;
    for (const item of items) await this.#item(listener, item);
  }

  async #item(listener: Listener, item: StreamItem): Promise<void> {
    const { reply, answer } = answerItem(
      await this.#store(item?.includes("get-state") ?? false),
      item,
      listener.name,
    );
    let said = reply;
    try {
      if (answer !== undefined) this.#keep(answer.config, "listen");
    } catch (error) {
      said = { id: reply.id, status: "error", error: this.#reasonOf(error) };
    }
    listener.connection.reply(JSON.stringify({ text: `${JSON.stringify(said)}\n` } satisfies GatewayAnswer));
  }

  [Symbol.dispose](): void {
    this.#server.close();
  }
}

function mustBeRoot({ peer }: LineConnection, verb: string): void {
  if (peer.uid !== 0) throw new Error(`Only root may do that (${verb}); use sudo`);
}
