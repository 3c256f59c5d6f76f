/**
 * As much of the Kubernetes API as a reader meets, over TLS and with a bearer token: lists in pages, field selectors, watches from a version,
 * bookmarks, versions that are too old. A stand-in, because Debian has no kube-apiserver; its answers are those that the API's reference describes.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

interface Stored {
  readonly kind: "pods" | "namespaces" | "secrets";
  readonly key: string;
  readonly object: { metadata: Record<string, unknown>; spec?: { nodeName?: string }; data?: object };
}

interface Watcher {
  readonly kind: string;
  readonly accepts: (entry: Stored) => boolean;
  readonly send: (event: unknown) => void;
  readonly close: () => void;
}

export class KubeApi implements Disposable {
  readonly folder = mkdtempSync(join(tmpdir(), "causeway-kube-"));
  readonly server: Bun.Server<undefined>;
  token = "token-1";
  /** Every request's path and query. */
  readonly asked: string[] = [];
  /** Answers of this status to everything, while it is set. */
  broken: number | undefined;
  /** Secrets (`namespace/name`) that who asks has a right to. */
  readonly readable = new Set<string>();
  #version = 100;
  /** Watches from before this version are refused. */
  #oldest = 0;
  readonly #objects = new Map<string, Stored>();
  readonly #events: { readonly version: number; readonly type: string; readonly entry: Stored }[] = [];
  readonly #watchers = new Set<Watcher>();

  constructor() {
    const made = Bun.spawnSync(
      "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=api -addext subjectAltName=IP:127.0.0.1 -keyout key.pem -out ca.pem".split(
        " ",
      ),
      { cwd: this.folder, stderr: "pipe" },
    );
    if (!made.success) throw new Error(`openssl: ${made.stderr}`);
    const file = (name: string) => Bun.file(join(this.folder, name));
    this.server = Bun.serve({
      ...{ hostname: "127.0.0.1", port: 0, idleTimeout: 0 },
      tls: { cert: file("ca.pem"), key: file("key.pem") },
      fetch: (request) => this.#answer(request),
    });
  }

  get url(): string {
    return `https://127.0.0.1:${this.server.port}`;
  }

  get ca(): Promise<string> {
    return Bun.file(join(this.folder, "ca.pem")).text();
  }

  /** put stores a pod (`namespace/name`) or a namespace, and tells watchers. */
  put(
    key: string,
    more: { labels?: object; annotations?: object; uid?: string } = {},
    node = "worker",
  ): void {
    const [first, second] = key.split("/");
    const kind = second === undefined ? "namespaces" : "pods";
    const before = this.#objects.get(`${kind} ${key}`);
    const names = second === undefined ? { name: first } : { namespace: first, name: second };
    const metadata = { ...names, uid: more.uid ?? key, ...more, resourceVersion: String(++this.#version) };
    const object = { metadata, ...(kind === "pods" && { spec: { nodeName: node } }) };
    const entry: Stored = { kind, key, object };
    this.#objects.set(`${kind} ${key}`, entry);
    this.#tell(before === undefined ? "ADDED" : "MODIFIED", entry);
  }

  /** putSecret stores a Secret (`namespace/name`), and tells watchers. */
  putSecret(key: string, values: Readonly<Record<string, string>>): void {
    const [namespace, name] = key.split("/");
    const before = this.#objects.get(`secrets ${key}`);
    const metadata = { namespace, name, resourceVersion: String(++this.#version) };
    const data = Object.fromEntries(Object.entries(values).map(([entry, text]) => [entry, btoa(text)]));
    const entry: Stored = { kind: "secrets", key, object: { metadata, data } };
    this.#objects.set(`secrets ${key}`, entry);
    this.#tell(before === undefined ? "ADDED" : "MODIFIED", entry);
  }

  remove(key: string, kind: Stored["kind"] = key.includes("/") ? "pods" : "namespaces"): void {
    const name = `${kind} ${key}`;
    const entry = this.#objects.get(name) as Stored;
    this.#objects.delete(name);
    entry.object.metadata["resourceVersion"] = String(++this.#version);
    this.#tell("DELETED", entry);
  }

  /** Changes while nobody watches, older than what the API remembers. */
  quietly(change: () => void): void {
    this.endWatches();
    change();
    this.#oldest = this.#version;
  }

  bookmark(): void {
    const metadata = { resourceVersion: String(++this.#version) };
    for (const { send } of this.#watchers) send({ type: "BOOKMARK", object: { metadata } });
  }

  /** An error inside of a watch that stands already. */
  expireWatches(): void {
    this.#oldest = this.#version;
    for (const { send } of this.#watchers)
      send({ type: "ERROR", object: { kind: "Status", code: 410, message: "too old resource version" } });
  }

  endWatches(): void {
    for (const watcher of this.#watchers) watcher.close();
  }

  get watches(): number {
    return this.#watchers.size;
  }

  #tell(type: string, entry: Stored): void {
    this.#events.push({ version: this.#version, type, entry });
    for (const { kind, accepts, send } of this.#watchers)
      if (kind === entry.kind && accepts(entry)) send({ type, object: entry.object });
  }

  #answer(request: Request): Response {
    const url = new URL(request.url);
    this.asked.push(decodeURIComponent(`${url.pathname}${url.search}`));
    if (request.headers.get("authorization") !== `Bearer ${this.token}`)
      return new Response("", { status: 401 });
    if (this.broken !== undefined) return new Response("", { status: this.broken });
    const one = /^\/api\/v1\/namespaces\/([^/]+)(?:\/pods\/([^/]+))?$/.exec(url.pathname);
    if (one !== null) {
      const found = this.#objects.get(
        one[2] === undefined ? `namespaces ${one[1]}` : `pods ${one[1]}/${one[2]}`,
      );
      return found === undefined ? new Response("", { status: 404 }) : Response.json(found.object);
    }
    const inside = /^\/api\/v1\/namespaces\/([^/]+)\/secrets$/.exec(url.pathname)?.[1];
    if (inside !== undefined) return this.#secrets(inside, url.searchParams);
    const kind = url.pathname.slice("/api/v1/".length);
    const node = /^spec\.nodeName=(.*)$/.exec(url.searchParams.get("fieldSelector") ?? "")?.[1];
    const accepts = ({ object }: Stored) => node === undefined || object.spec?.nodeName === node;
    if (url.searchParams.get("watch") !== "true") return this.#list(kind, accepts, url.searchParams);
    return this.#watch({ kind, accepts }, Number(url.searchParams.get("resourceVersion")));
  }

  /** As the API answers to who may see named ones alone: to a question for one that may be seen, and to no other. */
  #secrets(namespace: string, query: URLSearchParams): Response {
    const name = /^metadata\.name=(.+)$/.exec(query.get("fieldSelector") ?? "")?.[1];
    const key = `${namespace}/${name}`;
    if (name === undefined || !this.readable.has(key)) return new Response("", { status: 403 });
    const accepts = (entry: Stored) => entry.key === key;
    if (query.get("watch") !== "true") return this.#list("secrets", accepts, query);
    return this.#watch({ kind: "secrets", accepts }, Number(query.get("resourceVersion")));
  }

  #list(kind: string, accepts: Watcher["accepts"], query: URLSearchParams): Response {
    const all = [...this.#objects.values()].filter((entry) => entry.kind === kind && accepts(entry));
    const from = Number(query.get("continue") ?? 0);
    const limit = Number(query.get("limit"));
    const more = from + limit < all.length ? { continue: String(from + limit) } : {};
    return Response.json({
      metadata: { resourceVersion: String(this.#version), ...more },
      items: all.slice(from, from + limit).map(({ object }) => object),
    });
  }

  #watch(what: Pick<Watcher, "kind" | "accepts">, from: number): Response {
    if (from < this.#oldest) return new Response("", { status: 410 });
    let watcher: Watcher;
    const stream = new ReadableStream<Uint8Array>({
      start: (controller) => {
        const send = (event: unknown) =>
          controller.enqueue(new TextEncoder().encode(`${JSON.stringify(event)}\n`));
        const close = () => {
          if (this.#watchers.delete(watcher)) controller.close();
        };
        watcher = { ...what, send, close };
        this.#watchers.add(watcher);
        // The API sends the answer's head at once; this server does so with the first bytes of the body.
        send({ type: "BOOKMARK", object: { metadata: { resourceVersion: String(from) } } });
        for (const { version, type, entry } of this.#events)
          if (version > from && entry.kind === what.kind && what.accepts(entry))
            send({ type, object: entry.object });
      },
      cancel: () => void this.#watchers.delete(watcher),
    });
    return new Response(stream, { headers: { "content-type": "application/json" } });
  }

  [Symbol.dispose](): void {
    void this.server.stop(true);
    rmSync(this.folder, { recursive: true, force: true });
  }
}
