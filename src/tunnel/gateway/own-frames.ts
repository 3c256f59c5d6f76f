/** Frames of the gateway's own on one side: answers, errors and questions. They are counted as all that leaves there. */
import { groupOf, type InterfaceCounters } from "./counters.ts";
import type { FramePort } from "./frame-port.ts";

/** OwnFrames sends by a port. */
export class OwnFrames {
  readonly port: FramePort;
  readonly #counters: InterfaceCounters;

  constructor(port: FramePort, counters: InterfaceCounters) {
    this.port = port;
    this.#counters = counters;
  }

  /** send sends a frame that was received, or taken, as FramePort.send does. */
  send(at: number, bytes: number): boolean {
    // Once it is sent it is not ours any more.
    const group = groupOf(this.port.frames.arena, at);
    if (!this.port.send(at, bytes)) {
      this.#counters.txdrop++;
      return false;
    }
    this.#counters.txpackets++;
    this.#counters.txbytes += bytes;
    if (group !== undefined) this.#counters[group === "bcast" ? "txbcast" : "txmcast"]++;
    return true;
  }
}
