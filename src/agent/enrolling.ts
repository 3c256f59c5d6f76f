/** How a machine that belongs to no mesh registers through a token: a tunnel for one use of it, by UDP or by TLS, and nothing else. */
import type { Engine } from "../engine/mod.ts";
import { enrol, type Enrolled, type EnrolWay, type Newcomer, type Token, type TokenUse } from "../hub/mod.ts";
import { newcomerObjects, tunnelMtu } from "../mesh/mod.ts";
import type { Endpoint } from "../net/mod.ts";
import { resolveInTurn } from "./endpoint.ts";
import { TlsJoining } from "./tls-joining.ts";
import type { TlsWish } from "./tls-wish.ts";
import type { TunnelHolder } from "./tunnel-holder.ts";

/** The MTU while a node registers: what every IPv6 path carries. */
const NEWCOMER_MTU_BYTES = tunnelMtu({ underlayBytes: 1280, outerFamily: 6 });

/** Where a node listens while it registers: the default of what it will listen on, so that its NAT sees one port from the start. */
const NEWCOMER_PORT = 51820;

/** EnrollingOptions are the parts that it is done with. */
export interface EnrollingOptions {
  readonly engine: Engine;
  readonly tunnel: TunnelHolder;
  readonly tls: TlsWish;
  readonly newcomer: Newcomer;
  readonly progress: (text: string) => void;
}

/**
 * enrolHere registers this machine. The tunnel stays, and so does the TLS connection if it went through one: the member that this machine
 * is from then on takes both over.
 */
export async function enrolHere(token: Token, options: EnrollingOptions): Promise<Enrolled> {
  const { engine, tunnel: holder, newcomer, progress } = options;
  const tunnel = await holder.open({ relays: token.role === "hub" });
  // Hubs reach each other by UDP.
  const tls: TlsWish = token.role === "hub" ? { mode: "never" } : options.tls;
  using joining = new TlsJoining(tls, NEWCOMER_PORT);
  const setUse = async (use: TokenUse, way: EnrolWay): Promise<string | undefined> => {
    const { hub, turn } = way;
    let hubEndpoint: Endpoint;
    try {
      hubEndpoint =
        way.tls === undefined ? await resolveInTurn(hub.endpoints, turn) : await joining.open(way);
    } catch (error) {
      // Where names mean nothing the proxy knows them.
      if (tls.mode === "never") throw error;
      return (error as Error).message;
    }
    const objects = newcomerObjects({
      enrol6: token.enrol6,
      use,
      hubKey: hub.key,
      hubEndpoint,
      tunnelLink: tunnel.linkType,
      listenPort: NEWCOMER_PORT,
      mtuBytes: NEWCOMER_MTU_BYTES,
    });
    engine.set("newcomer", objects);
    const { failed } = engine.apply("newcomer");
    if (failed[0] !== undefined)
      throw new Error(`Cannot set up the tunnel: ${failed[0].key}: ${failed[0].reason}`);
    joining.using = way.tls !== undefined;
    return undefined;
  };
  try {
    const enrolled = await enrol({ token, newcomer, tls: tls.mode, setUse, progress });
    // The membership's own scopes take over in the apply that follows.
    engine.remove("newcomer");
    if (!joining.using) await joining.destroy();
    return enrolled;
  } catch (error) {
    engine.remove("newcomer");
    engine.apply();
    await holder.destroy();
    await joining.destroy();
    throw error;
  }
}
