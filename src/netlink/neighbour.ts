/** Neighbours (ARP and NDP entries). Words of ip-neighbour(8). */
import { formatIp, type Ip, type Mac, macBytes, macFromBytes } from "../net/mod.ts";
import { afOf } from "./family.ts";
import { NEIGH, NTF, NUD, neighbourMessage } from "./neighbour-table.ts";
import { FLAG, message, request, type RouteRequest } from "./request.ts";

/** NUD_… bits by name. */
const states = {
  incomplete: 0x01,
  reachable: 0x02,
  stale: 0x04,
  delay: 0x08,
  probe: 0x10,
  failed: 0x20,
  noarp: NUD.noarp,
  permanent: NUD.permanent,
} as const;

/** NeighbourState is how sure the kernel is of an entry. */
export type NeighbourState = keyof typeof states | "none";

/** NeighbourInfo is an entry as the kernel reports it. */
export interface NeighbourInfo {
  readonly linkIndex: number;
  readonly ip: Ip;
  readonly mac?: Mac;
  readonly state: NeighbourState;
  readonly externLearn: boolean;
  /** An entry of the proxy table. */
  readonly proxy: boolean;
  readonly router: boolean;
  readonly protocol?: number;
}

/** NeighbourChange asks for an entry. */
export interface NeighbourChange {
  readonly linkIndex: number;
  readonly ip: Ip;
  /** Needed but for proxy entries. */
  readonly mac?: Mac;
  /** Learned by a control plane: not timed out, and marked so; else permanent. */
  readonly externLearn?: boolean;
  readonly proxy?: boolean;
  readonly protocol?: number;
}

/** addNeighbour makes an entry; EEXIST if it is there, unless `replace`. */
export function addNeighbour(change: NeighbourChange & { readonly replace?: boolean }): RouteRequest {
  const flags = change.replace === true ? FLAG.create | FLAG.replace : FLAG.create | FLAG.exclusive;
  return request(
    () => `add neighbour ${describe(change)}`,
    message(NEIGH.new, flags, neighbourMessage, {
      header: {
        ...headerOf(change),
        // An entry that is learned by a control plane is valid without being permanent, so that it can be told apart.
        state: change.externLearn === true ? NUD.noarp : NUD.permanent,
      },
      body: {
        destination: change.ip,
        linkAddress: change.mac === undefined ? undefined : macBytes(change.mac),
        protocol: change.protocol,
      },
    }),
  );
}

/** useNeighbour has the kernel ask for an entry that it is not sure of any more, as if a packet went there (NTF_USE, net/core/neighbour.c). */
export function useNeighbour(change: Pick<NeighbourChange, "linkIndex" | "ip">): RouteRequest {
  const { flags, ...header } = headerOf(change);
  return request(
    () => `ask for neighbour ${describe(change)}`,
    message(NEIGH.new, FLAG.create, neighbourMessage, {
      header: { ...header, flags: flags | NTF.use },
      body: { destination: change.ip },
    }),
  );
}

/** deleteNeighbour removes an entry; ENOENT if there is none. */
export function deleteNeighbour(change: Pick<NeighbourChange, "linkIndex" | "ip" | "proxy">): RouteRequest {
  return request(
    () => `delete neighbour ${describe(change)}`,
    message(NEIGH.delete, 0, neighbourMessage, {
      header: headerOf(change),
      body: { destination: change.ip },
    }),
  );
}

function describe(change: Pick<NeighbourChange, "linkIndex" | "ip">): string {
  return `${formatIp(change.ip)} on link ${change.linkIndex}`;
}

function headerOf(change: Pick<NeighbourChange, "linkIndex" | "ip" | "proxy" | "externLearn">) {
  const flags = (change.proxy === true ? NTF.proxy : 0) | (change.externLearn === true ? NTF.externLearn : 0);
  return { family: afOf(change.ip.family), index: change.linkIndex, flags };
}

/** neighbourInfo makes a value of a decoded message of family IPv4 or IPv6. */
export function neighbourInfo({
  header,
  body,
}: ReturnType<typeof neighbourMessage.decode>): NeighbourInfo | undefined {
  if (body.destination === undefined) return undefined;
  return {
    linkIndex: header.index,
    ip: body.destination,
    ...(body.linkAddress?.length === 6 && { mac: macFromBytes(body.linkAddress) }),
    state: stateName(header.state),
    externLearn: (header.flags & NTF.externLearn) !== 0,
    proxy: (header.flags & NTF.proxy) !== 0,
    router: (header.flags & NTF.router) !== 0,
    ...(body.protocol !== undefined && body.protocol !== 0 && { protocol: body.protocol }),
  };
}

const names = new Map(Object.entries(states).map(([name, bit]) => [bit as number, name as NeighbourState]));

function stateName(state: number): NeighbourState {
  return names.get(state) ?? "none";
}
