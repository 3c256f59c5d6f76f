/** A user-space WireGuard device, reached by its socket. Every call is one connection: nothing to keep, nothing to lose. */
import type { DeviceChange, DeviceState, WireguardDevice } from "../net/mod.ts";
import { errnoName, errnoText, unixRequest } from "../sys/mod.ts";
import { checkSet, decodeGet, encodeSet, GET, isWhole, UapiError } from "./uapi.ts";

/** UapiDevice reads and changes the device behind one socket. */
export class UapiDevice implements WireguardDevice {
  readonly socketPath: string;

  constructor(socketPath: string) {
    this.socketPath = socketPath;
  }

  read(): DeviceState {
    return this.#explain("read", () =>
      decodeGet(unixRequest(this.socketPath, { text: GET, complete: isWhole })),
    );
  }

  change(change: DeviceChange): void {
    // wireguard-go closes and opens its sockets for a port that is the same, too; packets on the way would be lost.
    const same = change.listenPort !== undefined && this.read().listenPort === change.listenPort;
    const { listenPort, ...rest } = change;
    const wanted = listenPort === undefined || same ? rest : { ...rest, listenPort };
    this.#explain("change", () =>
      checkSet(unixRequest(this.socketPath, { text: encodeSet(wanted), complete: isWhole })),
    );
  }

  #explain<T>(action: string, work: () => T): T {
    try {
      return work();
    } catch (error) {
      const cause =
        error instanceof UapiError
          ? `${errnoText(error.errno)} (${errnoName(error.errno)})`
          : error instanceof Error
            ? error.message
            : String(error);
      throw new Error(`Cannot ${action} the WireGuard device at ${this.socketPath}: ${cause}`, {
        cause: error,
      });
    }
  }
}
