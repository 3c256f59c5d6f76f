/** Contenders: what is measured, each with two ends of its own. They are all up at once, and idle but for the one whose turn it is. */
import type { CableEnd } from "./cable.ts";

/** Contender is a tunnel that works, or a cable. */
export interface Contender extends Disposable {
  readonly near: CableEnd;
  readonly far: CableEnd;
  /** Address of the far end to which traffic goes. */
  readonly to: string;
  /** The processes that move the packets: near, far; none where the kernel does. */
  readonly pids: readonly number[];
}

/** Entry says how a contender is made. */
export interface Entry {
  /** What `--contenders` calls it. */
  readonly name: string;
  /** What tables call it. */
  readonly title: string;
  readonly side: "ours" | "wireguard-go" | "orientation";
  /** A contender that is measured only when it is asked for. */
  readonly onRequest?: true;
  open(): Promise<Contender>;
}
