import { describe, expect, test } from "bun:test";
import { chacha20Poly1305Open, chacha20Poly1305Seal } from "../sys/mod.ts";
import { newSeed, Random } from "../../test/support/random.ts";
import { readInitiation, readPayload, readResponse, writeInitiation, writeResponse } from "./ik-psk2.ts";
import { newKey, systemPrimitives as primitives } from "./primitives.ts";

const hex = (bytes: Uint8Array | undefined) => Buffer.from(bytes ?? []).toString("hex");
const unhex = (text: string) => new Uint8Array(Buffer.from(text, "hex"));
const keyOf = (text: string) => primitives.privateKey(unhex(text));

// https://github.com/haskell-cryptography/cacophony, vectors/cacophony.txt: Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s. Its handshake_hash is
// left out: WireGuard has no use for it, and the file's is not the hash of these messages.
const vector = {
  prologue: "4a6f686e2047616c74",
  psk: "54686973206973206d7920417573747269616e20706572737065637469766521",
  initiatorStatic: "e61ef9919cde45dd5f82166404bd08e38bceb5dfdfded0a34c8df7ed542214d1",
  initiatorEphemeral: "893e28b9dc6ca8d611ab664754b8ceb7bac5117349a4439a6b0569da977c464a",
  responderStatic: "4a3acbfdb163dec651dfa3194dece676d437029c62a408b4c5ea9114246e4893",
  responderPublic: "31e0303fd6418d2f8c0e78b91f22e8caed0fbe48656dcf4767e4834f701b8f62",
  responderEphemeral: "bbdb4cdbd309f1a1f2e1456967fe288cadd6f712d65dc7b7793d5e63da6b375b",
  messages: [
    [
      "4c756477696720766f6e204d69736573",
      "ca35def5ae56cec33dc2036731ab14896bc4c75dbb07a61f879f8e3afa4c7944001e21de9f98ddd8e2ad57527207feb56253c9c94a9e496782ecfcb2a75fbcaf1b52948cc48daefe660c62119ab5000980c84831215f2441eba616548e832985464cf17e51ee93109008399a21f7e13f",
    ],
    [
      "4d757272617920526f746862617264",
      "95ebc60d2b1fa672c1f46a8aa265ef51bfe38e7ccb39ec5be34069f144808843cb765f2caef0751b8f007572dab0322217755c0632f365717edbf34d33e87a",
    ],
    ["462e20412e20486179656b", "8153ca9833bc3c1b91a7e66e5f4d4f5b59bf9e64c2f20d15f0bba7"],
    ["4361726c204d656e676572", "07af0c9c86e1b4e80f36b04ff7688d51141af3debd0332f0a705ef"],
    [
      "4a65616e2d426170746973746520536179",
      "6ab1467c0448cc78394494abaaf23afce0e234315d6e2624dcbfa8a21c1c4d073d",
    ],
    [
      "457567656e2042f6686d20766f6e2042617765726b",
      "dfc346c0d2296ae6cf1acf6f12b8456a1dba228cf8d8b774aacf1c47fc53aa80ebc7a4c292",
    ],
  ],
} as const;

/** Runs the vector: both sides, each reading what the other wrote. */
function play() {
  const prologue = unhex(vector.prologue);
  const psk = unhex(vector.psk);
  const initiator = {
    primitives,
    prologue,
    key: keyOf(vector.initiatorStatic),
    ephemeral: keyOf(vector.initiatorEphemeral),
  };
  const responder = {
    primitives,
    prologue,
    key: keyOf(vector.responderStatic),
    ephemeral: keyOf(vector.responderEphemeral),
  };
  const remote = responder.key.publicKey;
  const staticStatic = initiator.key.agree(remote) as Uint8Array;
  const first = writeInitiation(initiator, { remote, staticStatic, payload: unhex(vector.messages[0][0]) });
  if (first === undefined) throw new Error("no first message");
  const heard = readInitiation(responder, first);
  if (heard === undefined) throw new Error("nobody was heard");
  const theirs = responder.key.agree(heard.remote) as Uint8Array;
  const opened = readPayload(heard, { payload: first.payload, staticStatic: theirs });
  const second = writeResponse(responder, heard, { psk, payload: unhex(vector.messages[1][0]) });
  if (second === undefined) throw new Error("no second message");
  const end = readResponse(initiator, first.sent, { ...second, psk });
  if (end === undefined) throw new Error("the handshake did not end");
  return { initiator, responder, first, heard, opened, second, end };
}

describe("cacophony's vector of IKpsk2", () => {
  test("keys", () => {
    const { responder, initiator, heard } = play();
    expect(hex(responder.key.publicKey)).toBe(vector.responderPublic);
    expect(hex(heard.remote)).toBe(hex(initiator.key.publicKey));
  });

  test("both messages", () => {
    const { first, opened, second, end } = play();
    expect(hex(Buffer.concat([first.ephemeral, first.static, first.payload]))).toBe(vector.messages[0][1]);
    expect(hex(opened)).toBe(vector.messages[0][0]);
    expect(hex(Buffer.concat([second.ephemeral, second.payload]))).toBe(vector.messages[1][1]);
    expect(hex(end.payload)).toBe(vector.messages[1][0]);
  });

  test("the transport, each side's messages opened by the other", () => {
    const { second, end } = play();
    expect([hex(end.keys.send), hex(end.keys.receive)]).toEqual([
      hex(second.keys.receive),
      hex(second.keys.send),
    ]);
    for (const [index, [text, sealed]] of vector.messages.slice(2).entries()) {
      const nonce = new Uint8Array(12);
      nonce[4] = index >> 1;
      const [from, to] = index % 2 === 0 ? [end.keys, second.keys] : [second.keys, end.keys];
      expect(hex(chacha20Poly1305Seal(unhex(text), { key: from.send, nonce }))).toBe(sealed);
      expect(hex(chacha20Poly1305Open(unhex(sealed), { key: to.receive, nonce }))).toBe(text);
    }
  });
});

const seed = newSeed();
describe(`forgeries (seed ${seed})`, () => {
  const random = new Random(seed);
  const flip = (bytes: Uint8Array) => {
    const copy = bytes.slice();
    const at = random.below(copy.length);
    copy[at] = (copy[at] as number) ^ (1 << random.below(8));
    return copy;
  };
  const prologue = primitives.random(20);
  const [a, b] = [newKey(primitives), newKey(primitives)];
  const staticStatic = a.agree(b.publicKey) as Uint8Array;
  const psk = primitives.random(32);
  const payload = primitives.random(12);
  const write = () => {
    const message = writeInitiation(
      { primitives, prologue, key: a },
      { remote: b.publicKey, staticStatic, payload },
    );
    if (message === undefined) throw new Error("no message");
    return message;
  };

  test("an initiation with one bit changed is not believed, whichever bit", () => {
    for (let round = 0; round < 100; round++) {
      const message = write();
      const field = random.pick(["ephemeral", "static", "payload"] as const);
      const forged = { ...message, [field]: flip(message[field]) };
      const heard = readInitiation({ primitives, prologue, key: b }, forged);
      // X25519 ignores the highest bit of a public key; the hash does not.
      expect(field === "payload" ? heard?.remote : heard).toEqual(
        field === "payload" ? a.publicKey : undefined,
      );
      if (heard !== undefined)
        expect(readPayload(heard, { payload: forged.payload, staticStatic })).toBeUndefined();
    }
  });

  test("a forged response is not believed, and the true one still is", () => {
    for (let round = 0; round < 50; round++) {
      const { sent, ...message } = write();
      const heard = readInitiation({ primitives, prologue, key: b }, message);
      if (heard === undefined) throw new Error("nobody was heard");
      expect(readPayload(heard, { payload: message.payload, staticStatic })).toEqual(payload);
      const answer = writeResponse({ primitives, prologue, key: b }, heard, { psk });
      if (answer === undefined) throw new Error("no answer");
      const party = { primitives, prologue, key: a };
      expect(
        readResponse(party, sent, { ...answer, ephemeral: flip(answer.ephemeral), psk }),
      ).toBeUndefined();
      expect(readResponse(party, sent, { ...answer, payload: flip(answer.payload), psk })).toBeUndefined();
      expect(readResponse(party, sent, { ...answer, psk: flip(psk) })).toBeUndefined();
      expect(readResponse(party, sent, { ...answer, psk })?.keys.send).toEqual(answer.keys.receive);
      // The ephemeral key is gone.
      expect(() => readResponse(party, sent, { ...answer, psk })).toThrow("disposed");
    }
  });

  test("keys of low order lead nowhere", () => {
    const low = new Uint8Array(32);
    expect(a.agree(low)).toBeUndefined();
    expect(
      writeInitiation({ primitives, prologue, key: a }, { remote: low, staticStatic, payload }),
    ).toBeUndefined();
    expect(readInitiation({ primitives, prologue, key: b }, { ...write(), ephemeral: low })).toBeUndefined();
    const { sent, ...message } = write();
    const heard = readInitiation({ primitives, prologue, key: b }, message);
    if (heard === undefined) throw new Error("nobody was heard");
    readPayload(heard, { payload: message.payload, staticStatic });
    expect(
      readResponse({ primitives, prologue, key: a }, sent, {
        ephemeral: low,
        payload: new Uint8Array(16),
        psk,
      }),
    ).toBeUndefined();
    expect(
      writeResponse({ primitives, prologue, key: b }, { ...heard, remoteEphemeral: low }, { psk }),
    ).toBeUndefined();
  });
});
