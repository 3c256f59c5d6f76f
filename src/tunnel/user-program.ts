/** What the supervision of a user-space tunnel (user-tunnel.ts) has to know of the program behind it. */
import type { WireguardDevice } from "../net/mod.ts";
import type { Netns } from "../sys/mod.ts";
import type { DataplaneStatus } from "./dataplane-status.ts";
import type { ProbeOptions, ProbeReceiver } from "./probe-port.ts";

/** UserProgram is a program that makes a link of type TUN, moves its packets, and answers on the socket of socketOf. */
export interface UserProgram {
  /** For people, before it runs: `wireguard-go 0.0.20220316`. */
  readonly provider: string;
  /** command returns how it is started; it stays in the foreground. */
  command(link: string): readonly string[];
  /** Variables that it is started with, or with `undefined` without. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** What has to be there, told with the error of a program that ended without saying why. */
  readonly needs: string;
  /** serves tells whether it is this program that answers on a socket. */
  serves(socket: string, pid: number): boolean;
  /** accompany does, while a tunnel is open, what the program itself leaves undone. */
  accompany?(device: WireguardDevice, options: { readonly netns?: Netns }): Disposable;
  /** describe asks the running process what it is; throws when it does not answer. */
  describe?(socket: string): DataplaneStatus;
  /** Whether it tells what changed (device-news.ts). */
  readonly tellsNews?: true;
  /** Whether it relays (relay/mod.ts). */
  readonly relays?: true;
  /** hears receives datagrams of ours from the program that has the port; without it they are received beside it. */
  hears?(socket: string, options: ProbeOptions): ProbeReceiver;
  /**
   * The build that is to run. A process of another build is taken over, without loss, by one that is started as this program with
   * `--take-over`; undefined for a program that cannot, or where any build is right.
   */
  readonly build?: string | undefined;
}
