/** Requests to the API: get, list, watch, and the writes: create, replace, delete, patches and server-side apply. */
import { API_VERSION, type Json } from "../resources/mod.ts";
import { httpsGet, HttpsError, httpsSend, httpsStream } from "../sys/mod.ts";
import type { KubeAccess } from "./access.ts";
import { fieldOf } from "./metadata.ts";

/** A list of some hundred pods, each with all that its users wrote into it. */
const MOST_LIST_BYTES = 64 * 2 ** 20;

/** The largest object that etcd takes has 1.5 MiB; in an event of JSON it may be longer. */
const MOST_OBJECT_BYTES = 8 * 2 ** 20;

const ANSWER_MS = 15_000;

interface KubeErrorOptions {
  readonly status?: number | undefined;
  readonly over?: boolean;
  readonly cause?: unknown;
}

/** KubeError says why the API did not do it. */
export class KubeError extends Error {
  override readonly name = "KubeError";
  readonly status: number | undefined;
  /** A watch that was there has ended, for no reason that is an error. */
  readonly over: boolean;

  constructor(message: string, options: KubeErrorOptions = {}) {
    super(message, { cause: options.cause });
    this.status = options.status;
    this.over = options.over ?? false;
  }
}

/** refusesObject tells an answer that is about one object from trouble with the API, which all others would meet too. */
export function refusesObject(error: unknown): error is KubeError {
  if (!(error instanceof KubeError) || error.status === undefined) return false;
  const { status } = error;
  return status >= 400 && status < 500 && !NOT_OF_OBJECTS.has(status);
}

/** Who we are is not known (401); it took too long (408); there is too much to do (429). */
const NOT_OF_OBJECTS: ReadonlySet<number> = new Set([401, 408, 429]);

/** FIELD_MANAGER is who we are where fields have owners (server-side apply). */
export const FIELD_MANAGER = "causeway";

function asking(access: KubeAccess, path: string) {
  const token = access.token?.();
  return {
    url: `${access.server}${path}`,
    headers: { accept: "application/json", ...(token !== undefined && { authorization: `Bearer ${token}` }) },
    tls: access.tls,
    timeoutMs: ANSWER_MS,
  };
}

/** kubeGet returns the text of an answer; throws KubeError, with the status where the API gave one. */
export async function kubeGet(access: KubeAccess, path: string): Promise<string> {
  const said = (why: string) => `Cannot read ${path} of ${access.server}: ${why}`;
  let answer: { readonly status: number; readonly text: string };
  try {
    answer = await httpsGet({ ...asking(access, path), maxBytes: MOST_LIST_BYTES });
  } catch (cause) {
    throw new KubeError(said((cause as Error).message), { cause });
  }
  const { status, text } = answer;
  if (status === 200) return text;
  const fix = fixOf(status, path);
  throw new KubeError(said(`it answers with status ${status}${fix}`), { status });
}

function fixOf(status: number, path: string): string {
  if (status === 403 && path.includes("/secrets"))
    return "; give this identity the right to this one: causeway kube rights";
  if (status === 401 || status === 403)
    return "; bind the ClusterRole of deploy/kube-reader.yaml (of a controller: of causeway kube manifests) to this identity";
  if (status === 404 && path.startsWith(`/apis/${API_VERSION}/`))
    return "; apply the definitions: causeway kube manifests | kubectl apply --server-side -f -";
  return "";
}

/** KubeWrite is one change of one object. */
export interface KubeWrite {
  readonly verb: keyof typeof verbs;
  readonly path: string;
  readonly body?: Json;
}

const verbs = {
  create: { method: "POST", type: "application/json", does: "create" },
  /** Of an object that was read: refused with 409 if somebody changed it since. */
  replace: { method: "PUT", type: "application/json", does: "change" },
  /** RFC 7386; with the object's resourceVersion in it, refused with 409 if somebody changed it since. */
  merge: { method: "PATCH", type: "application/merge-patch+json", does: "change" },
  /** Server-side apply: creates, or changes the fields that are named and takes them from other managers. */
  apply: { method: "PATCH", type: "application/apply-patch+yaml", does: "apply" },
  delete: { method: "DELETE", type: "application/json", does: "delete" },
} as const;

/** kubeWrite returns the object as it is after a change; throws KubeError, with the status and the words of the API. */
export async function kubeWrite(access: KubeAccess, { verb, path, body }: KubeWrite): Promise<unknown> {
  const { method, type, does } = verbs[verb];
  const { headers, ...asked } = asking(access, path);
  const query = verb === "apply" ? `?fieldManager=${FIELD_MANAGER}&force=true` : "";
  const said = (why: string) => `Cannot ${does} ${path} of ${access.server}: ${why}`;
  let answer: { readonly status: number; readonly text: string };
  try {
    answer = await httpsSend({
      ...asked,
      ...{ method, url: `${asked.url}${query}`, maxBytes: MOST_OBJECT_BYTES },
      headers: { ...headers, "content-type": type },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
  } catch (cause) {
    throw new KubeError(said((cause as Error).message), { cause });
  }
  const { status, text } = answer;
  const value = parsed(text);
  if (status < 300) return value;
  const message = fieldOf(value, "message");
  throw new KubeError(said(typeof message === "string" ? message : `it answers with status ${status}`), {
    status,
  });
}

/** What is no JSON is an error of something between us and the API, which the status tells. */
function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** WatchEvents are what a watch tells. */
export interface WatchEvents {
  readonly opened: () => void;
  readonly line: (text: string) => void;
  /** Once, unless it was disposed before. */
  readonly ended: (error: KubeError) => void;
}

/** kubeWatch streams events. */
export function kubeWatch(access: KubeAccess, path: string, events: WatchEvents): Disposable {
  const ended = (error: HttpsError) =>
    events.ended(
      new KubeError(`Cannot watch ${path} of ${access.server}: ${error.message}`, {
        status: error.status,
        over: error.kind === "ended",
        cause: error,
      }),
    );
  return httpsStream({ ...asking(access, path), maxBytes: MOST_OBJECT_BYTES }, { ...events, ended });
}
