/** A TCP stream from one namespace to another that arrives whole, or not. */
import type { Netns } from "../../src/sys/mod.ts";

/** Guards against hanging only. */
const PATIENCE_MS = 60_000;
const PORT = 5201;

/** wholeStream sends random bytes and returns whether the same ones came out at the other end. */
export async function wholeStream(
  from: Netns,
  to: { readonly netns: Netns; readonly address: string },
  bytes = 1 << 20,
): Promise<boolean> {
  const { promise: came, resolve } = Promise.withResolvers<string>();
  const hash = new Bun.CryptoHasher("sha256");
  const server = to.netns.run(() =>
    Bun.listen({
      hostname: "::",
      port: PORT,
      socket: {
        data: (_, chunk) => void hash.update(chunk),
        end: (socket) => void (socket.end(), resolve(hash.digest("hex"))),
      },
    }),
  );
  try {
    const sent = new Uint8Array(bytes);
    for (let at = 0; at < bytes; at += 65_536) crypto.getRandomValues(sent.subarray(at, at + 65_536));
    let at = 0;
    const pump = (socket: Bun.Socket) => {
      at += Math.max(0, socket.write(sent.subarray(at)));
      if (at === bytes) socket.end();
    };
    // A window may not return a promise; the socket is made at once.
    const { promise } = from.run(() => ({
      promise: Bun.connect({
        hostname: to.address,
        port: PORT,
        socket: { open: pump, drain: pump, data() {}, error() {} },
      }),
    }));
    const socket = await promise;
    const late = Bun.sleep(PATIENCE_MS).then(() => "late");
    const got = await Promise.race([came, late]);
    socket.terminate();
    return got === new Bun.CryptoHasher("sha256").update(sent).digest("hex");
  } finally {
    server.stop(true);
  }
}
