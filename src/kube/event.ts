/** Events (core/v1): what `kubectl describe` shows beneath an object, in words for its user. */
import { wallMs } from "../sys/mod.ts";
import type { KubeAccess } from "./access.ts";
import { kubeWrite } from "./client.ts";

/** KubeEvent is one event of an object that is in no namespace. */
export interface KubeEvent {
  readonly about: {
    readonly apiVersion: string;
    readonly kind: string;
    readonly name: string;
    readonly uid: string;
  };
  /** Default `Warning`: somebody should do something. */
  readonly type?: "Normal" | "Warning";
  /** One word, for programs. */
  readonly reason: string;
  readonly message: string;
  readonly by: string;
}

/** The API server takes 1024 bytes of a message. */
const MOST_MESSAGE = 1000;

/** kubeTime returns the present as metav1.Time has it: RFC 3339, whole seconds. */
export function kubeTime(): string {
  return new Date(wallMs()).toISOString().replace(/\.\d+Z$/, "Z");
}

/** kubeEvent makes an event. Events of what is in no namespace are in `default`. Rejects with a KubeError. */
export async function kubeEvent(access: KubeAccess, event: KubeEvent): Promise<void> {
  const { about, type = "Warning", reason, message, by } = event;
  const now = kubeTime();
  const cut = Buffer.from(message).subarray(0, MOST_MESSAGE).toString("utf8");
  const body = {
    ...{ apiVersion: "v1", kind: "Event", involvedObject: { ...about }, message: cut },
    metadata: { generateName: `${about.name}.`, namespace: "default" },
    ...{ type, reason, count: 1 },
    ...{ firstTimestamp: now, lastTimestamp: now, source: { component: by } },
  };
  await kubeWrite(access, { verb: "create", path: "/api/v1/namespaces/default/events", body });
}
