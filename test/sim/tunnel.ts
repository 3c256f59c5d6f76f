/** What a WireGuard device is to the simulation: the model (model-wireguard.ts) or the real core (real-wireguard.ts). */
import type { Endpoint } from "../../src/net/mod.ts";

/** WireguardDatagram is what relays and peers read; `body` is the implementation's own. */
export interface WireguardDatagram {
  readonly kind: "wireguard";
  /** 1 initiation, 2 response, 4 data. */
  readonly type: 1 | 2 | 4;
  readonly sender?: number;
  readonly receiver?: number;
  /** Of an initiation: for whom it is (its mac1). */
  readonly for?: string;
  readonly body: unknown;
}

/** Reading is what the device tells of a peer. */
export interface Reading {
  readonly rxBytes: number;
  readonly txBytes: number;
  readonly handshakeAgeMs?: number;
  readonly endpoint?: Endpoint;
}

/** TunnelHost is what the device asks of its surroundings. */
export interface TunnelHost {
  readonly name: string;
  nowMs(): number;
  /** Below the limit. */
  below(limit: number): number;
  send(to: Endpoint, datagram: WireguardDatagram, bytes: number): void;
  /** Calls `due` at or soon after that time. */
  wake(atMs: number): void;
  deliver(peer: string, payload: number): void;
}

/** SimTunnel is one device. */
export interface SimTunnel {
  /** What LadderUse says. */
  set(
    peer: string,
    use: { readonly endpoint?: Endpoint; readonly keepaliveSeconds?: number; readonly generation: number },
  ): void;
  send(peer: string, payload: number, bytes: number): void;
  receive(datagram: WireguardDatagram, bytes: number, from: Endpoint): void;
  due(): void;
  read(peer: string): Reading | undefined;
}
