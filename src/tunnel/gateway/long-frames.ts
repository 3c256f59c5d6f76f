/**
 * Frames from the private side that are longer than the memory of a frame, where the port has their beginnings (FramePort.cuts): who sent them is
 * told the MTU. AF_XDP shows nothing of them; there they are only counted (`rxTooLong`).
 */
import { DONT_FRAGMENT, IP4, IP6 } from "../path/ip-header.ts";
import { ETHER_TYPE, ETHERNET } from "../xdp/ethernet.ts";
import type { GatewayContext } from "./gateway-context.ts";
import type { GatewayRoute } from "./gateway-route.ts";
import { ICMP4, UNREACHABLE4 } from "./icmp4.ts";
import { ICMP6 } from "./icmp6.ts";
import { isSoundHeader4 } from "./ip-forward.ts";

/** refuseLong refuses the frames of the last `receive` of the private port that were too long. */
export function refuseLong(context: GatewayContext): void {
  const { privatePort } = context;
  const { cuts = 0 } = privatePort;
  for (let i = 0; i < cuts; i++) refuse(context, privatePort.cutAt?.(i) as number);
}

function refuse(context: GatewayContext, at: number): void {
  const { view, u8 } = context.arena;
  if (!context.isForPrivate(at)) {
    context.counters.privateInterface.notOurs++;
    return;
  }
  const type = view.getUint16(at + ETHERNET.type);
  const version = (u8[at + ETHERNET.bytes] as number) >>> 4;
  if (type === ETHER_TYPE.ip4 && version === 4) refuse4(context, at);
  else if (type === ETHER_TYPE.ip6 && version === 6) refuse6(context, at);
  else context.counters.privateDispatch.ethertypeErrors++;
}

function refuse4(context: GatewayContext, at: number): void {
  const { arena, book, privateHost, privatePort, nowMs } = context;
  const ip = at + ETHERNET.bytes;
  if (!isSoundHeader4(arena, ip, privatePort.frames.roomBytes - ETHERNET.bytes)) {
    context.counters.outboundTtl.checksumErrors++;
    return;
  }
  const total = arena.view.getUint16(ip + IP4.total);
  const route = tooLong(context, book.four.find(arena.u8, ip + IP4.target), total);
  if (route === undefined || (arena.view.getUint16(ip + IP4.fragment) & DONT_FRAGMENT) === 0) return;
  const error = { type: ICMP4.unreachable, code: UNREACHABLE4.tooBig, word: route.mtuBytes };
  privateHost.refuse(at, total, { family: 4, error, nowMs });
}

function refuse6(context: GatewayContext, at: number): void {
  const { arena, book, privateHost, nowMs } = context;
  const ip = at + ETHERNET.bytes;
  const total = IP6.bytes + arena.view.getUint16(ip + IP6.payload);
  const route = tooLong(context, book.six.find(arena.u8, ip + IP6.target), total);
  if (route === undefined) return;
  const error = { type: ICMP6.tooBig, code: 0, word: route.mtuBytes };
  privateHost.refuse(at, total, { family: 6, error, nowMs });
}

/** The route that a packet is too long for, which is counted; none for a short packet in a long frame. */
function tooLong(context: GatewayContext, index: number, total: number): GatewayRoute | undefined {
  const { privateRouter } = context.counters;
  if (index < 0) {
    privateRouter.routeErrors++;
    return undefined;
  }
  const route = context.book.route(index);
  if (total <= route.mtuBytes) return undefined;
  privateRouter.mtuErrors++;
  route.mtuErrors++;
  return route;
}
