/** Frames of the gateway's own on one side: answers, errors and questions. They are counted as all that leaves there. */
import type { InterfaceCounters } from "./counters.ts";
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
    if (!this.port.send(at, bytes)) {
      this.#counters.txdrop++;
      return false;
    }
    this.#counters.txpackets++;
    this.#counters.txbytes += bytes;
    return true;
  }
}
