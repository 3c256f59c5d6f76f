/** The relay of a data-plane process, as the agent sets it: one wish, kept, and told again to whoever serves the link next. */
import { errnoName, errnoText, unixRequest } from "../../sys/mod.ts";
import { decodeDataplaneStatus, GET_DATAPLANE } from "../dataplane-status.ts";
import { checkSet, isWhole, UapiError } from "../uapi.ts";
import { changeTo, checkConfig, type RelayConfig } from "./policy.ts";
import { encodeRelay, relayStatus, type RelayStatus } from "./relay-text.ts";

/** RelayControl sets what a tunnel relays between its peers. */
export interface RelayControl {
  /**
   * set makes it so; circuits of nodes that may go on do go on. It holds until the tunnel is closed here, over restarts of the process. Throws if
   * the process does not answer (then it is told when it does), or for what cannot be.
   */
  set(config: RelayConfig): void;
  /** status tells what there is, and what was relayed; undefined while the process does not answer. */
  status(): RelayStatus | undefined;
  /** See DataplaneStatus; absent where the tunnel's own status has it. */
  readonly life?: number | undefined;
}

/** RelayClient talks to the process behind one socket. */
export class RelayClient implements RelayControl {
  readonly #socket: string;
  #wanted: RelayConfig | undefined;
  /** What the process that serves now was told. */
  #told: RelayConfig | undefined;

  constructor(socket: string) {
    this.#socket = socket;
  }

  set(config: RelayConfig): void {
    checkConfig(config);
    this.#wanted = { ...config, classes: new Map(config.classes) };
    this.#tell();
  }

  /** renew tells everything to a process that may know nothing of it. */
  renew(): void {
    this.#told = undefined;
    this.#tell();
  }

  #tell(): void {
    const wanted = this.#wanted;
    if (wanted === undefined) return;
    const text = encodeRelay(changeTo(wanted, this.#told));
    // If that fails nobody knows what it heard.
    this.#told = undefined;
    try {
      checkSet(unixRequest(this.#socket, { text, complete: isWhole }));
    } catch (error) {
      const cause =
        error instanceof UapiError ? `${errnoText(error.errno)} (${errnoName(error.errno)})` : String(error);
      throw new Error(`Cannot set the relay of the data plane at ${this.#socket}: ${cause}`, {
        cause: error,
      });
    }
    this.#told = wanted;
  }

  status(): RelayStatus | undefined {
    try {
      const answer = unixRequest(this.#socket, { text: GET_DATAPLANE, complete: isWhole });
      return relayStatus(decodeDataplaneStatus(answer).counters, answer.split("\n"));
    } catch {
      return undefined;
    }
  }
}
