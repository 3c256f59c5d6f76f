/** A newcomer whose registration was done and whose answer was lost: over a real connection, with a hub that is slow. */
import { expect, test } from "bun:test";
import { parsePrefix, PrivateKey, Secret, SigningSecret } from "../net/mod.ts";
import { enrol } from "./enrol-client.ts";
import { ENROL_VERSION } from "./enrol-protocol.ts";
import type { RefusalCode } from "./refusal.ts";
import type { Token } from "./token.ts";

const token: Token = {
  id: "0123456789",
  mesh: "home",
  endpoints: ["one:51820"],
  hubKey: PrivateKey.random().publicKey,
  hubs: [],
  signingKey: SigningSecret.random().publicKey,
  enrol6: parsePrefix("fd01:2:3:1::/64"),
  seed: new Secret(new Uint8Array(32).fill(7)),
  uses: 3,
  expiresAtMs: Date.now() + 60_000,
};

/** Registers with a hub that answers each request so, and tells through which uses, and how it ended. */
async function asked(answers: readonly (RefusalCode | "silence")[]) {
  const uses: number[] = [];
  const left = [...answers];
  const hub = Bun.listen({
    hostname: "127.0.0.1",
    port: 0,
    socket: {
      open: (socket) =>
        void socket.write(
          `${JSON.stringify({ type: "nonce", nonce: Buffer.alloc(32).toString("base64") })}\n`,
        ),
      data: (socket, bytes) => {
        expect(JSON.parse(bytes.toString()).request.version).toBe(ENROL_VERSION);
        const code = left.shift();
        if (code !== "silence") socket.write(`${JSON.stringify({ type: "refused", code, message: code })}\n`);
      },
    },
  });
  try {
    const end = await enrol({
      token,
      newcomer: { key: PrivateKey.random(), name: "attic", endpoints: [] },
      tryMs: 300,
      service: { address: "127.0.0.1", port: hub.port },
      setUse: (use) => void uses.push(use.number),
    }).then(
      () => "joined",
      (error: Error) => error.message,
    );
    return { uses, end };
  } finally {
    hub.stop(true);
  }
}

test("a key that is registered already, after a use that did not answer: that use is asked again", async () => {
  const { uses, end } = await asked(["silence", "key-exists", "name-taken"]);
  expect(uses.length).toBe(3);
  expect(uses[2]).toBe(uses[0] as number);
  expect(uses[1]).not.toBe(uses[0] as number);
  expect(end).toBe("name-taken");
});

test("a key that is registered already, and never was silence: the machine was cloned", async () => {
  const { uses, end } = await asked(["key-exists"]);
  expect([uses.length, end]).toEqual([1, "key-exists"]);
});
