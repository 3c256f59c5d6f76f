/** What comes in on a gateway's control socket, before anything is done with it: whoever may connect may have sent anything. */
import { z } from "zod";
import { type ConfigRequest, formats } from "../gateway/mod.ts";
import type { GatewayRequest, ListenLine } from "./control-protocol.ts";
import { spans } from "./history.ts";

/** MOST_STEPS of the history are asked for at once: all that a span has. */
const MOST_STEPS = 3600;

const path = z.string();
const value = z.string();
const print = z
  .object({ format: z.enum(formats).exactOptional(), printDefault: z.boolean().exactOptional() })
  .exactOptional();

const configRequest: z.ZodType<ConfigRequest> = z.discriminatedUnion("verb", [
  z.object({ verb: z.enum(["get", "get-state"]), path, print }),
  z.object({ verb: z.enum(["set", "add"]), path, value }),
  z.object({ verb: z.literal("remove"), path }),
  z.object({ verb: z.literal("load"), value }),
]);

const request: z.ZodType<GatewayRequest> = z.discriminatedUnion("op", [
  z.object({ op: z.literal("config"), request: configRequest }),
  z.object({ op: z.literal("listen") }),
  z.object({
    op: z.literal("top"),
    span: z.enum(spans).exactOptional(),
    most: z.int().min(0).max(MOST_STEPS).exactOptional(),
  }),
  z.object({ op: z.literal("metrics") }),
  z.object({ op: z.literal("public-key") }),
]);

const listenLine: z.ZodType<ListenLine> = z.union([
  z.object({ end: z.literal(true) }),
  z.object({ more: z.string() }),
]);

/** Says which field it is, and nothing that was sent: that may hold a key, and so may a parser's message. */
function read<T>(line: string, schema: z.ZodType<T>): T {
  let data: unknown;
  try {
    data = JSON.parse(line);
  } catch {
    throw new Error("The request is no JSON; use a command line of the gateway's version");
  }
  const { data: found, error } = schema.safeParse(data);
  if (error === undefined) return found;
  const field = error.issues[0]?.path.join(".") ?? "";
  throw new Error(
    `The request${field === "" ? "" : `'s ${field}`} does not fit this gateway; use a command line of its version`,
  );
}

/** parseRequest reads a request; throws which field of it is wrong. */
export function parseRequest(line: string): GatewayRequest {
  return read(line, request);
}

/** parseListenLine reads what follows a `listen`; throws which field of it is wrong. */
export function parseListenLine(line: string): ListenLine {
  return read(line, listenLine);
}
