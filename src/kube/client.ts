/** Requests to the API: list, watch, get. */
import { httpsGet, HttpsError, httpsStream } from "../sys/mod.ts";
import type { KubeAccess } from "./access.ts";

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
  const fix =
    status === 401 || status === 403
      ? "; bind the ClusterRole of deploy/kube-reader.yaml to this identity"
      : "";
  throw new KubeError(said(`it answers with status ${status}${fix}`), { status });
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
