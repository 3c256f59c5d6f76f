/**
 * The responder of vita-ske. It has one state: a nonce, an ephemeral key and an SPI that are made ahead and used by the first proposal that
 * is authentic. Knocks change nothing and are all answered with the same nonce.
 */
import { newKey, readFirst, writeSecond } from "../../noise/mod.ts";
import { LEAST_SPI } from "../../tunnel/esp/mod.ts";
import type { AgreedPair } from "../agreed.ts";
import { AEAD_NAME, encodeDatagram, NONCE_BYTES, type Ske5Message, VERSION } from "./datagram.ts";
import { payloadOf, spiOf } from "./initiator.ts";
import { prologueOf, splitKeys } from "./keys.ts";
import {
  count,
  type ResponderState,
  type Ske5Around,
  type Ske5Effect,
  type Ske5State,
  type Ske5Step,
} from "./state.ts";

type MessageOf<K extends Ske5Message["kind"]> = Extract<Ske5Message, { readonly kind: K }>;

function made({ primitives, spis }: Ske5Around): ResponderState | undefined {
  const spi = spis.take(1);
  if (spi === undefined) return undefined;
  return { nonce: primitives.random(NONCE_BYTES), ephemeral: newKey(primitives), spi };
}

/** knocked offers a challenge. */
export function knocked(state: Ske5State, around: Ske5Around): Ske5Step {
  // Whose knock it was does not matter: all are answered alike, and the answer goes to the gateway.
  if (!around.allow("knock")) return [state, [count("protocol-errors")]];
  const responder = state.responder ?? made(around);
  if (responder === undefined) return [state, [{ kind: "full" }]];
  const datagram = encodeDatagram({
    routeSpi: around.route.routeSpi,
    message: { kind: "challenge", version: VERSION, aead: AEAD_NAME, nonce: responder.nonce },
  });
  const effects: Ske5Effect[] = [{ kind: "send", datagram }, count("challenges-offered")];
  return [state.responder === responder ? state : { ...state, responder }, effects];
}

/** proposed ends an exchange with an agreement, if the proposal is an authentic answer to our challenge. */
export function proposed(state: Ske5State, message: MessageOf<"proposal">, around: Ske5Around): Ske5Step {
  const { responder } = state;
  // Nobody was challenged: there is no nonce that the proposal could be for.
  if (responder === undefined) return [state, [count("authentication-errors")]];
  const { route, primitives } = around;
  const { routeSpi } = route;
  const { nonce } = responder;
  const prologue = prologueOf({ routeSpi, initiator: route.remote, responder: route.local, nonce });
  const party = { primitives, prologue, psk: route.psk.reveal() };
  const heard = readFirst(party, { ephemeral: message.ephemeral, payload: message.sealed });
  if (heard === undefined) return [state, [count("authentication-errors")]];
  using _ = heard;
  const spi = spiOf(heard.payload);
  if (spi < LEAST_SPI) return [state, [count("parameter-errors")]];
  if (!around.allow("handshake")) return [state, [count("protocol-errors")]];
  const written = writeSecond(heard, { ephemeral: responder.ephemeral, payload: payloadOf(responder.spi) });
  if (written === undefined) return [state, [count("public-key-errors")]];
  const keys = splitKeys(primitives, heard.symmetric);
  responder.ephemeral[Symbol.dispose]();
  const common = { queue: route.queue, algorithm: "aes-128-gcm", extended: true } as const;
  const pair: AgreedPair = {
    inbound: [{ ...common, spi: responder.spi, keyMaterial: keys.toResponder }],
    outbound: [{ ...common, spi, keyMaterial: keys.toInitiator }],
  };
  const datagram = encodeDatagram({
    routeSpi,
    message: {
      kind: "agreement",
      ephemeral: new Uint8Array(written.ephemeral),
      sealed: new Uint8Array(written.payload),
    },
  });
  return [
    { initiator: state.initiator },
    [{ kind: "agreed", role: "responder", pair }, { kind: "send", datagram }, count("keypairs-offered")],
  ];
}

/** forget ends the state that was made ahead. */
export function forget(state: Ske5State, { spis }: Pick<Ske5Around, "spis">): Ske5State {
  if (state.responder === undefined) return state;
  state.responder.ephemeral[Symbol.dispose]();
  spis.release(state.responder.spi, 1);
  return { initiator: state.initiator };
}
