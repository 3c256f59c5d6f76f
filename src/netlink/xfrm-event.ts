/** Events of XFRM: what ran out, what is needed, what changed. */
import type { Endpoint, Ip } from "../net/mod.ts";
import type { Reader } from "../wire/mod.ts";
import { decodePolicy, type PolicyInfo, policyInfo } from "./xfrm-policy.ts";
import { decodeSa, type SaId, type SaInfo, saInfo, type XfrmMark } from "./xfrm-sa.ts";
import { addressOf, knownFamily, type Selector, selectorOf } from "./xfrm-selector.ts";
import {
  acquireMessage,
  expireMessage,
  mappingMessage,
  policyExpireMessage,
  policyIdMessage,
  saIdMessage,
  XFRM,
  type XfrmBody,
} from "./xfrm-table.ts";

/** XfrmAcquire says that a packet needs an association that is not there. */
export interface XfrmAcquire {
  /** Outer addresses of the template. */
  readonly source: Ip;
  readonly destination: Ip;
  /** The packet's flow. */
  readonly selector?: Selector;
  readonly policy?: PolicyInfo;
  /** Number of the question: `allocateSpi` and SaChange name it to answer. */
  readonly sequence: number;
  readonly mark?: XfrmMark;
  readonly ifId?: number;
  /** The CPU that has none (Linux 6.13). */
  readonly cpu?: number;
}

/** XfrmEvent is one thing that happened. */
export type XfrmEvent =
  /** At a soft limit the association goes on; at a hard one it was removed. */
  | { readonly kind: "expire"; readonly hard: boolean; readonly sa: SaInfo }
  | { readonly kind: "policy-expire"; readonly hard: boolean; readonly policy: PolicyInfo }
  | { readonly kind: "acquire"; readonly acquire: XfrmAcquire }
  | { readonly kind: "sa"; readonly deleted: boolean; readonly sa: SaInfo }
  | { readonly kind: "policy"; readonly deleted: boolean; readonly policy: PolicyInfo }
  /** All associations, or all policies, were removed at once. */
  | { readonly kind: "flush"; readonly what: "sas" | "policies" }
  /** A good packet of ESP in UDP came from elsewhere: the peer's NAT has changed its mind (RFC 3948, section 3.1). */
  | {
      readonly kind: "mapping";
      readonly id: SaId;
      readonly reqid: number;
      readonly before: Endpoint;
      readonly now: Endpoint;
    };

/** decodeXfrmEvent returns undefined for messages that are about none of these. */
export function decodeXfrmEvent(type: number, reader: Reader): XfrmEvent | undefined {
  switch (type) {
    case XFRM.newSa:
    case XFRM.updateSa:
      return { kind: "sa", deleted: false, sa: decodeSa(reader) };
    case XFRM.deleteSa:
      return deletedSa(saIdMessage.decode(reader).body);
    case XFRM.newPolicy:
    case XFRM.updatePolicy:
      return policyEvent(decodePolicy(reader), (policy) => ({ kind: "policy", deleted: false, policy }));
    case XFRM.deletePolicy:
      return deletedPolicy(policyIdMessage.decode(reader).body);
    case XFRM.expire: {
      const { header, body } = expireMessage.decode(reader);
      return { kind: "expire", hard: header.hard !== 0, sa: saInfo(header.sa, body) };
    }
    case XFRM.policyExpire: {
      const { header, body } = policyExpireMessage.decode(reader);
      const hard = header.hard !== 0;
      return policyEvent(policyInfo(header.policy, body), (policy) => ({
        kind: "policy-expire",
        hard,
        policy,
      }));
    }
    case XFRM.acquire:
      return decodeAcquire(reader);
    case XFRM.mapping:
      return decodeMapping(reader);
    case XFRM.flushSas:
      return { kind: "flush", what: "sas" };
    case XFRM.flushPolicies:
      return { kind: "flush", what: "policies" };
    default:
      return undefined;
  }
}

function policyEvent(
  policy: PolicyInfo | undefined,
  make: (policy: PolicyInfo) => XfrmEvent,
): XfrmEvent | undefined {
  return policy && make(policy);
}

/** What was removed stands in an attribute; its header names it only. */
function deletedSa(body: XfrmBody): XfrmEvent | undefined {
  return body.sa && { kind: "sa", deleted: true, sa: saInfo(body.sa, body) };
}

function deletedPolicy(body: XfrmBody): XfrmEvent | undefined {
  return policyEvent(body.policy && policyInfo(body.policy, body), (policy) => ({
    kind: "policy",
    deleted: true,
    policy,
  }));
}

function decodeAcquire(reader: Reader): XfrmEvent {
  const { header, body } = acquireMessage.decode(reader);
  // The outer family stands nowhere but in the template; the policy's is that of the packet.
  const family = knownFamily(body.templates?.[0]?.family ?? header.selector.family);
  const selector = selectorOf(header.selector);
  const policy = policyInfo(header.policy, body);
  const acquire: XfrmAcquire = {
    source: addressOf(header.saddr, family),
    destination: addressOf(header.id.daddr, family),
    ...(selector && { selector }),
    ...(policy && { policy }),
    sequence: header.sequence,
    ...(body.mark && { mark: body.mark }),
    ...(body.ifId !== undefined && { ifId: body.ifId }),
    ...(body.cpu !== undefined && { cpu: body.cpu }),
  };
  return { kind: "acquire", acquire };
}

function decodeMapping(reader: Reader): XfrmEvent {
  const { header } = mappingMessage.decode(reader);
  const family = knownFamily(header.id.family);
  return {
    kind: "mapping",
    id: { destination: addressOf(header.id.daddr, family), spi: header.id.spi },
    reqid: header.reqid,
    before: { ip: addressOf(header.oldSaddr, family), port: header.oldPort },
    now: { ip: addressOf(header.newSaddr, family), port: header.newPort },
  };
}
