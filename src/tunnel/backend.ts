/** What every tunnel back-end offers; the shared suite in test/support/backend-suite.ts says what it must do. */
import type { WireguardDevice } from "../net/mod.ts";
import type { Netns } from "../sys/mod.ts";

/** TunnelOptions are common to the back-ends; each uses what concerns it. */
export interface TunnelOptions {
  /** Namespace of the link; default this thread's. */
  readonly netns?: Netns;
  /** File that a user-space program's errors are appended to; default: thrown away. */
  readonly logPath?: string;
  /** Called when the program behind the tunnel ends, and when it runs again. */
  readonly onChange?: (state: TunnelState) => void;
}

/** TunnelState tells whether the tunnel has something that moves its packets. */
export type TunnelState =
  | { readonly kind: "running" }
  /** The program ended; the next attempt is made in so many milliseconds. */
  | { readonly kind: "waiting"; readonly reason: string; readonly nextTryMs: number };

/** Tunnel is one opened link. Disposing closes it. */
export interface Tunnel extends Disposable {
  readonly link: string;
  /** The type that the engine is to make the link as: its own, or one that the back-end makes. */
  readonly linkType: "wireguard" | "external";
  /** What runs it, for people: `kernel 6.1.0`, `wireguard-go 0.0.20220316`. */
  readonly provider: string;
  readonly device: WireguardDevice;
  readonly state: TunnelState;
  /** close lets go of the tunnel; its traffic goes on, and a later `open` takes it over. */
  close(): void;
  /** destroy ends what the back-end made. A link that the engine made is the engine's to remove. */
  destroy(): Promise<void>;
}

/** TunnelBackend is one way of running WireGuard. */
export interface TunnelBackend {
  readonly name: "kernel" | "user";
  readonly provider: string;
  readonly linkType: "wireguard" | "external";
  /** open starts the tunnel of a link, or takes over one that runs; ready for `device` when it resolves. */
  open(link: string, options?: TunnelOptions): Promise<Tunnel>;
}
