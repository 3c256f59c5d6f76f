/** Devices as they report themselves: without secrets to everybody, with them to the one who may have them. */
import {
  type DeviceState,
  type PeerState as PeerReport,
  type Prefix,
  type PublicKey,
  Secret,
} from "../../net/mod.ts";
import type { PeerState } from "./peer-state.ts";

/** DeviceSecrets are what a report leaves out. */
export interface DeviceSecrets {
  readonly privateKey?: Secret;
  readonly fwmark: number;
  readonly presharedKeys: ReadonlyMap<PublicKey, Secret>;
}

/** describeDevice returns a device as wg(8) shows it. */
export function describeDevice(device: {
  readonly publicKey: PublicKey | undefined;
  readonly formerPublicKey: PublicKey | undefined;
  readonly listenPort: number;
  readonly peers: Iterable<PeerState>;
  readonly allowedIps: ReadonlyMap<number, readonly Prefix[]>;
}): DeviceState {
  const { publicKey, formerPublicKey, listenPort, peers, allowedIps } = device;
  return {
    ...(publicKey === undefined ? {} : { publicKey }),
    ...(formerPublicKey === undefined ? {} : { formerPublicKey }),
    listenPort,
    peers: [...peers].map((state) => ({
      ...describePeer(state),
      allowedIps: allowedIps.get(state.identity.number) ?? [],
    })),
  };
}

/** describePeer returns all but its allowed IPs. */
export function describePeer(state: PeerState): Omit<PeerReport, "allowedIps"> {
  const { identity, endpoint, persistentMs, psk, lastHandshakeMs, traffic } = state;
  return {
    publicKey: identity.publicKey,
    ...(endpoint === undefined ? {} : { endpoint }),
    ...(persistentMs === 0 ? {} : { keepaliveSeconds: persistentMs / 1000 }),
    presharedKey: isSet(psk),
    ...(lastHandshakeMs === undefined ? {} : { lastHandshakeMs }),
    ...(state.former === true ? { former: true } : {}),
    ...(state.moving === true ? { moving: true } : {}),
    rxBytes: traffic[0] as number,
    txBytes: traffic[1] as number,
  };
}

/** secretsOf returns copies of a device's secrets. */
export function secretsOf(device: {
  readonly privateKey: Secret | undefined;
  readonly fwmark: number;
  readonly peers: Iterable<PeerState>;
}): DeviceSecrets {
  const { privateKey, fwmark, peers } = device;
  const presharedKeys = new Map<PublicKey, Secret>();
  for (const { identity, psk } of peers)
    if (psk !== undefined && isSet(psk)) presharedKeys.set(identity.publicKey, new Secret(psk.reveal()));
  return {
    fwmark,
    presharedKeys,
    ...(privateKey === undefined ? {} : { privateKey: new Secret(privateKey.reveal()) }),
  };
}

/** A key of zeros is none (whitepaper, section 5.4.3). */
function isSet(psk: Secret | undefined): boolean {
  return psk?.reveal().some((byte) => byte !== 0) ?? false;
}
