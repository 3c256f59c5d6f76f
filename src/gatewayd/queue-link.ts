/** What the main thread and the thread of a queue tell each other. Values go as copies; the thread wipes its copy of a key. */
import type { Fd, ThreadPort } from "../sys/mod.ts";
import type {
  ExchangePorts,
  GatewayNews,
  GatewayOrder,
  GatewayReport,
  QueueDriver,
  QueueInterface,
  SideConfiguration,
} from "../tunnel/gateway/mod.ts";

/** QueueStart is what the thread is handed. */
export interface QueueStart {
  readonly port: ThreadPort;
  /** Descriptor that becomes readable when something was posted; the thread's. */
  readonly waker: ReturnType<Fd["release"]>;
  readonly cpu?: number;
  /** Folders in which AEAD libraries may lie beside the system's own. */
  readonly folders: readonly string[];
  readonly driver: QueueDriver;
  /** Descriptor of what other queues hand over; the back-end's. */
  readonly inbox: number;
  readonly privateInterface: Omit<QueueInterface, "netns">;
  readonly publicInterface: Omit<QueueInterface, "netns">;
  readonly private: SideConfiguration;
  readonly public: SideConfiguration;
  readonly frameBytes: 2048 | 4096;
  readonly mtuBytes: number;
  readonly tfc: boolean;
  readonly ports: ExchangePorts;
  readonly asksPrivate: boolean;
}

/** ToQueue is said to the thread. Moments in orders and reports are of `boottimeMs`: threads have clocks of their own. */
export type ToQueue =
  | { readonly kind: "obey"; readonly id: number; readonly order: GatewayOrder }
  /** The route's packets are handed over to the queue that reads the other end of `socket`; without one they leave by this queue again. */
  | { readonly kind: "detour"; readonly id: number; readonly route: string; readonly socket?: number }
  /** From now on it is on that processor, if one is said, and has these ports. */
  | { readonly kind: "adapt"; readonly id: number; readonly cpu?: number; readonly ports: ExchangePorts }
  | { readonly kind: "report"; readonly id: number }
  | { readonly kind: "stop" };

/** FromQueue is what the thread says. */
export type FromQueue =
  /** It has its sockets, by descriptor, and begins. */
  | {
      readonly kind: "ready";
      readonly privateSocket: number;
      readonly publicSocket: number;
      readonly aead: string;
    }
  | { readonly kind: "obeyed"; readonly id: number }
  | { readonly kind: "refused"; readonly id: number; readonly reason: string }
  | { readonly kind: "report"; readonly id: number; readonly report: GatewayReport }
  | { readonly kind: "news"; readonly news: GatewayNews }
  | QueueEnd;

/** QueueEnd: nothing is left of the thread; without a reason because it was told to stop. */
export interface QueueEnd {
  readonly kind: "ended";
  readonly reason?: string;
  /** The reason is that AF_XDP cannot be used. */
  readonly lacksXdp?: true;
}
