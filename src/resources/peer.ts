/**
 * Peer: a machine outside the mesh's nodes, such as a laptop or a router, with a plain WireGuard configuration. It knows one hub, which
 * carries its traffic: that is decrypted there, while traffic between nodes never is.
 */
import { z } from "zod";
import {
  type Endpoint,
  formatEndpoint,
  formatIp,
  formatPrefix,
  hostPrefix,
  type Ip,
  type Prefix,
  type PublicKey,
} from "../net/mod.ts";
import { type Json, present } from "./canonical.ts";
import {
  endpointSchema,
  ipSchema,
  labelSchema,
  prefixSchema,
  publicKeySchema,
  siteSchema,
} from "./scalars.ts";

/** ExternalPeer is a machine with plain WireGuard, as the resource of kind Peer says it. */
export interface ExternalPeer {
  readonly name: string;
  readonly publicKey: PublicKey;
  /** The hub that carries it, by name. */
  readonly hub: string;
  /** Its addresses; one of them at least. */
  readonly overlay4?: Ip;
  readonly overlay6?: Ip;
  /** Networks behind it. */
  readonly allowed: readonly Prefix[];
  /** Whether there is a pre-shared key; the key is with the hub, and in no resource. */
  readonly presharedKey: boolean;
  /** Where it is called; absent: it calls. */
  readonly endpoint?: Endpoint;
  /** What rules see of it; absent: EXTERNAL_ROLE. */
  readonly role?: string;
  readonly site?: string;
}

/** EXTERNAL_ROLE is what rules see of an external peer that was given no role. */
export const EXTERNAL_ROLE = "external";

/** peerNetworks returns all that is an external peer's own: its addresses, and the networks behind it. */
export function peerNetworks(peer: Pick<ExternalPeer, "overlay4" | "overlay6" | "allowed">): Prefix[] {
  const addresses = [peer.overlay4, peer.overlay6].filter((address) => address !== undefined);
  return [...addresses.map(hostPrefix), ...peer.allowed];
}

/** The fields of `spec`. */
export const peerFields = {
  publicKey: publicKeySchema,
  hub: z.string().min(1).max(253),
  overlay4: ipSchema(4).optional(),
  overlay6: ipSchema(6).optional(),
  allowed: z.array(prefixSchema()).max(64).default([]),
  presharedKey: z
    .boolean({ error: "is not true or false; the key itself is never written here" })
    .default(false),
  endpoint: endpointSchema.optional(),
  role: labelSchema.optional(),
  site: siteSchema.optional(),
} as const;

/** peerFromSpec joins name and spec, and reports a peer without an address. */
export function peerFromSpec(
  name: string,
  spec: z.output<z.ZodObject<typeof peerFields>>,
  report: (field: string, value: string, problem: string) => void,
): ExternalPeer {
  if (spec.overlay4 === undefined && spec.overlay6 === undefined)
    report("spec.overlay4", "", "is missing, and overlay6 too; add one of them");
  const fields = { name, ...spec };
  return Object.fromEntries(
    Object.entries(fields).filter(([, value]) => value !== undefined),
  ) as never as ExternalPeer;
}

/** peerSpec returns the fields of `spec` as JSON. */
export function peerSpec(peer: ExternalPeer): { readonly [field: string]: Json } {
  return present({
    publicKey: peer.publicKey,
    hub: peer.hub,
    overlay4: peer.overlay4 && formatIp(peer.overlay4),
    overlay6: peer.overlay6 && formatIp(peer.overlay6),
    allowed: peer.allowed.map(formatPrefix),
    presharedKey: peer.presharedKey,
    endpoint: peer.endpoint && formatEndpoint(peer.endpoint),
    role: peer.role,
    site: peer.site,
  });
}

/** peerExample is a manifest for the documentation, tested to be valid. */
export const peerExample = `apiVersion: causeway.network/v1alpha1
kind: Peer
metadata:
  name: laptop
spec:
  publicKey: HIgo9xNzJMWLKASShiTqIybxZ0U3wGLiUeJ1PKf8ykw=
  hub: hub                    # carries it
  overlay4: 10.90.255.254
  overlay6: fd3a:1c07:5e22::fffe
  allowed: [192.168.7.0/24]   # behind it; default: none
  presharedKey: false         # whether there is one; default
`;
