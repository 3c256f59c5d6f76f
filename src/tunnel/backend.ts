/** What every tunnel back-end offers; the shared suite in test/support/backend-suite.ts says what it must do. */
import type { WireguardDevice } from "../net/mod.ts";
import type { Netns } from "../sys/mod.ts";
import type { DataplaneStatus } from "./dataplane-status.ts";
import type { ProbeOptions, ProbePort } from "./probe-port.ts";
import type { RelayControl } from "./relay/mod.ts";

/** TunnelOptions are common to the back-ends; each uses what concerns it. */
export interface TunnelOptions {
  /** Namespace of the link; default this thread's. */
  readonly netns?: Netns;
  /** File that a user-space program's errors are appended to; default: thrown away. */
  readonly logPath?: string;
  /** Whether it is to relay, where that takes more than the tunnel itself. */
  readonly relays?: boolean;
  /** Called when the program behind the tunnel ends, and when it runs again. */
  readonly onChange?: (state: TunnelState) => void;
}

/** TunnelState tells whether the tunnel has something that moves its packets. */
export type TunnelState =
  | { readonly kind: "running" }
  /** A process of another build than ours moves the packets, because a successor could not take over; the next attempt follows. */
  | { readonly kind: "outdated"; readonly reason: string; readonly nextTryMs: number }
  /** The program ended; the next attempt is made in so many milliseconds. */
  | { readonly kind: "waiting"; readonly reason: string; readonly nextTryMs: number };

/** Tunnel is one opened link. Disposing closes it. */
export interface Tunnel extends Disposable {
  readonly link: string;
  /** The type that the engine is to make the link as: its own, or one that the back-end makes. */
  readonly linkType: "wireguard" | "external";
  /** What runs it now, for people: `kernel 6.1.0`, `causeway 0.1.0, ChaCha20-Poly1305 by ipsec-mb 2.0.0`. */
  readonly provider: string;
  /** What the process of our own engine says of itself; absent for the other back-ends. */
  readonly dataplane?: DataplaneStatus | undefined;
  readonly device: WireguardDevice;
  /** What it sends on between its peers; absent for back-ends that cannot. */
  readonly relay?: RelayControl | undefined;
  readonly state: TunnelState;
  /** probes opens a way to send and receive datagrams of ours on the tunnel's UDP port; the caller disposes of it. */
  probes(options: ProbeOptions): ProbePort;
  /** close lets go of the tunnel; its traffic goes on, and a later `open` takes it over. */
  close(): void;
  /** destroy ends what the back-end made. A link that the engine made is the engine's to remove. */
  destroy(): Promise<void>;
}

/** backendNames are what back-ends are asked for by: the kernel's WireGuard, our own engine, wireguard-go. */
export const backendNames = ["kernel", "user", "wireguard-go"] as const;

/** BackendName is one of them. */
export type BackendName = (typeof backendNames)[number];

/** TunnelBackend is one way of running WireGuard. */
export interface TunnelBackend {
  readonly name: BackendName;
  /** What it is, before it runs. */
  readonly provider: string;
  readonly linkType: "wireguard" | "external";
  /** open starts the tunnel of a link, or takes over one that runs; ready for `device` when it resolves. */
  open(link: string, options?: TunnelOptions): Promise<Tunnel>;
}
