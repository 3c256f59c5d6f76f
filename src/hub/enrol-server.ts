/** The hub's side of one newcomer's connection: a state machine without socket, clock or file. */
import type { Ip, PrivateKey } from "../net/mod.ts";
import type { Json } from "../resources/mod.ts";
import { ENROL_VERSION, registerMessage, registerRequest } from "./enrol-protocol.ts";
import { proofHolds } from "./proof.ts";
import { Refusal } from "./refusal.ts";
import type { Registration } from "./register.ts";
import type { StateMessage } from "./signed-state.ts";

/** EnrolSession is where one connection is. The nonce is good for one request. */
export type EnrolSession =
  | { readonly kind: "waiting"; readonly address: Ip; readonly nonce: Uint8Array }
  | { readonly kind: "deciding" }
  | { readonly kind: "ended" };

/** EnrolEvent is what happened on the connection, or what the register said. */
export type EnrolEvent =
  | { readonly kind: "line"; readonly text: string }
  | {
      readonly kind: "registered";
      readonly name: string;
      readonly state: StateMessage;
      /** Sealed; for a hub. */
      readonly secret?: string;
    }
  | { readonly kind: "refused"; readonly refusal: Refusal };

/** EnrolEffect is to be carried out in order. `register` is answered by an event. */
export type EnrolEffect =
  | { readonly kind: "send"; readonly message: unknown }
  /** `hubKey`: the one of the hub's that the newcomer knows. */
  | { readonly kind: "register"; readonly registration: Registration; readonly hubKey: PrivateKey }
  | { readonly kind: "close" };

type Step = readonly [EnrolSession, readonly EnrolEffect[]];

/** startEnrol begins with a fresh nonce. */
export function startEnrol(address: Ip, nonce: Uint8Array): Step {
  const message = { type: "nonce", nonce: Buffer.from(nonce).toString("base64") };
  return [{ kind: "waiting", address, nonce }, [{ kind: "send", message }]];
}

/** stepEnrol takes one event. `hubKeys`: those that the hub answers to, the present one first. */
export function stepEnrol(session: EnrolSession, event: EnrolEvent, hubKeys: readonly PrivateKey[]): Step {
  switch (event.kind) {
    case "line":
      return session.kind === "waiting" ? onLine(session, event.text, hubKeys) : [session, []];
    case "registered":
      if (session.kind !== "deciding") return [session, []];
      return end({
        type: "welcome",
        name: event.name,
        state: event.state,
        ...(event.secret === undefined ? {} : { secret: event.secret }),
      });
    case "refused":
      return session.kind === "ended" ? [session, []] : refuse(event.refusal);
  }
}

function onLine(
  session: EnrolSession & { kind: "waiting" },
  text: string,
  hubKeys: readonly PrivateKey[],
): Step {
  const { address, nonce } = session;
  try {
    const message = registerMessage.parse(JSON.parse(text));
    const version = message.request.version;
    if (typeof version === "number" && version > ENROL_VERSION)
      return refuse(new Refusal("bad-request", "This hub is older than the newcomer; update the hub"));
    const request = registerRequest.parse(message.request);
    const input = { nonce, address, request: message.request as Json };
    const hubKey = hubKeys.find((own) => proofHolds({ own, peer: request.publicKey }, input, message.proof));
    if (hubKey === undefined)
      return refuse(new Refusal("bad-proof", "The proof does not fit the key; join again"));
    const registration: Registration = {
      address,
      publicKey: request.publicKey,
      name: request.name,
      endpoints: request.endpoints,
      ...(request.site === undefined ? {} : { site: request.site }),
    };
    return [{ kind: "deciding" }, [{ kind: "register", registration, hubKey }]];
  } catch {
    return refuse(
      new Refusal(
        "bad-request",
        "The request cannot be understood; install the same version of causeway as the hub's",
      ),
    );
  }
}

function refuse(refusal: Refusal): Step {
  const { code, message, freeUses } = refusal;
  return end({ type: "refused", code, message, ...(freeUses === undefined ? {} : { freeUses }) });
}

function end(message: unknown): Step {
  return [{ kind: "ended" }, [{ kind: "send", message }, { kind: "close" }]];
}
