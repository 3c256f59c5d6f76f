/** The socket on which routers are looked at and told what to do: one JSON line asks, lines of JSON answer, the last of them `{"end":true}`. */
import { z } from "zod";
import { parseIp, parseMac, parsePrefix } from "../../net/mod.ts";
import { BUILD, type LineConnection, LineServer, ownPid, soon } from "../../sys/mod.ts";
import { familyFromName, parseAdministered } from "../wire/mod.ts";
import type { Monitor } from "./monitor.ts";
import { type RouteFilter, type RouteStatus, routerStatus, routesOf } from "./show.ts";
import type { Speaker } from "./speaker.ts";

const text = z.string().max(256);

const filterSchema = z.strictObject({
  family: text.optional(),
  prefix: text.optional(),
  longer: z.boolean().optional(),
  evpnType: z.number().optional(),
  rd: text.optional(),
  mac: text.optional(),
  vni: z.number().optional(),
  community: text.optional(),
  neighbor: text.optional(),
  sent: z.boolean().optional(),
  best: z.boolean().optional(),
});

/** bgpRequestSchema reads one line. */
export const bgpRequestSchema = z.discriminatedUnion("op", [
  z.object({ op: z.literal("status") }),
  z.object({ op: z.literal("summary") }),
  z.object({ op: z.literal("routes"), filter: filterSchema, limit: z.number().optional() }),
  z.object({ op: z.literal("monitor") }),
  z.object({ op: z.literal("refresh"), neighbor: text }),
  z.object({ op: z.literal("reset"), neighbor: text }),
]);

/** BgpRequest is one operation. */
export type BgpRequest = z.output<typeof bgpRequestSchema>;

/** Operations that change something: for root, and whoever runs the process. */
const writing: ReadonlySet<BgpRequest["op"]> = new Set(["refresh", "reset"]);

/** How many routes go out before others have their turn. */
const BATCH = 500;

/** BgpServing is what the socket shows. */
export interface BgpServing {
  readonly speakers: () => readonly Speaker[];
  readonly monitor: Monitor;
}

/** serveBgp answers on a socket until it is disposed; throws if another process answers there. */
export function serveBgp(
  path: string,
  serving: BgpServing,
  options: { readonly mode?: number; readonly group?: string } = {},
): Disposable {
  const server = LineServer.listen(path, {
    mode: options.mode ?? 0o600,
    ...(options.group === undefined ? {} : { group: options.group }),
    onRequest(line, connection) {
      try {
        const request = bgpRequestSchema.parse(JSON.parse(line));
        if (writing.has(request.op) && connection.peer.uid !== 0)
          throw new Error(`You may not ask for ${request.op}; become root`);
        answer(request, connection, serving);
      } catch (error) {
        const problem =
          error instanceof z.ZodError ? (error.issues[0]?.message ?? "bad request") : String(error);
        connection.reply(JSON.stringify({ error: problem.replace(/^Error: /, "") }));
        connection.end();
      }
    },
  });
  return { [Symbol.dispose]: () => server.close() };
}

function answer(request: BgpRequest, connection: LineConnection, { speakers, monitor }: BgpServing): void {
  const end = () => {
    connection.reply('{"end":true}');
    connection.end();
  };
  switch (request.op) {
    case "status":
      connection.reply(JSON.stringify({ build: BUILD, pid: ownPid() }));
      return;
    case "summary":
      for (const speaker of speakers()) connection.reply(JSON.stringify({ router: routerStatus(speaker) }));
      return end();
    case "routes":
      return sendRoutes(connection, all(speakers(), filterOf(request.filter)), request.limit, end);
    case "monitor": {
      const stop = monitor.watch((event) => connection.reply(JSON.stringify({ event })));
      connection.onClose(() => stop[Symbol.dispose]());
      return;
    }
    case "refresh":
    case "reset": {
      const { neighbor, op } = request;
      const done = speakers().filter((one) =>
        op === "reset" ? one.reset(neighbor) : one.askAgain(neighbor),
      );
      if (done.length === 0) {
        const names = speakers().flatMap((one) => one.neighbors.map(({ name }) => name));
        throw new Error(
          names.includes(neighbor)
            ? `Neighbor ${neighbor} cannot be asked: its session is not established, or it does not know route refresh; use reset`
            : `There is no neighbor ${neighbor}; there are ${names.join(", ") || "none"}`,
        );
      }
      return end();
    }
  }
}

function* all(speakers: readonly Speaker[], filter: RouteFilter): Generator<RouteStatus | undefined> {
  for (const speaker of speakers) yield* routesOf(speaker, filter);
}

/** Sends routes in batches, so that sessions go on meanwhile; a client that does not read is cut off by the server. */
function sendRoutes(
  connection: LineConnection,
  routes: Generator<RouteStatus | undefined>,
  limit = Number.POSITIVE_INFINITY,
  end: () => void = () => {},
): void {
  let left = limit;
  for (let i = 0; i < BATCH; i++) {
    if (connection.closed) return;
    const next = left > 0 ? routes.next() : { done: true as const, value: undefined };
    if (next.done === true) return end();
    if (next.value === undefined) break;
    left--;
    connection.reply(JSON.stringify({ route: next.value }));
  }
  soon(() => sendRoutes(connection, routes, left, end));
}

function filterOf(given: z.output<typeof filterSchema>): RouteFilter {
  const { family, prefix, mac, rd, ...rest } = given;
  const distinguisher = rd === undefined ? undefined : parseAdministered(rd);
  if (rd !== undefined && distinguisher === undefined)
    throw new Error(`"${rd}" is no route distinguisher; write it like 192.0.2.1:2 or 65001:2`);
  const known = family === undefined ? undefined : familyFromName(family);
  if (family !== undefined && known === undefined)
    throw new Error(`"${family}" is no family; use ipv4-unicast, ipv6-unicast, l2vpn-evpn or route-target`);
  return {
    ...rest,
    ...(known === undefined ? {} : { family: known }),
    ...(mac === undefined ? {} : { mac: parseMac(mac) }),
    ...(distinguisher === undefined ? {} : { rd: distinguisher }),
    ...(prefix === undefined
      ? {}
      : prefix.includes("/")
        ? { prefix: parsePrefix(prefix) }
        : { address: parseIp(prefix) }),
  };
}
