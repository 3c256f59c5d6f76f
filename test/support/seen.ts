/** Whom a far side sees: what answers everybody with the address that he comes from, and those who ask it. */
import type { Netns } from "../../src/sys/mod.ts";
import { until } from "./evpn-cluster.ts";

const PORT = 8080;

/** How long a client waits for an answer. */
const PATIENCE_MS = 4_000;

/** serve answers whoever connects with the address that he comes from, and what is said besides. */
export function serve(netns: Netns, besides = ""): Disposable {
  const server = netns.run(() =>
    Bun.listen({
      ...{ hostname: "::", port: PORT },
      socket: { open: (socket) => void socket.end(socket.remoteAddress + besides), data() {} },
    }),
  );
  return { [Symbol.dispose]: () => server.stop(true) };
}

/** seenBy connects to what serves at an address, and returns whom that saw; nothing where there is no answer. */
export async function seenBy(from: Netns, address: string): Promise<string> {
  const { promise: said, resolve } = Promise.withResolvers<string>();
  let text = "";
  // A window may not return a promise; the socket is made at once.
  const { connecting } = from.run(() => ({
    connecting: Bun.connect({
      ...{ hostname: address, port: PORT },
      socket: {
        data: (_, chunk) => void (text += chunk.toString()),
        close: () => resolve(text),
        error: () => resolve(""),
        connectError: () => resolve(""),
      },
    }),
  }));
  connecting.then(
    (socket) => said.then(() => socket.terminate()),
    () => resolve(""),
  );
  const late = setTimeout(() => resolve(""), PATIENCE_MS);
  const seen = await said;
  clearTimeout(late);
  return seen.replace(/^::ffff:/, "");
}

/** seen waits until what serves at an address is reached, and returns whom it saw. */
export async function seen(from: Netns, address: string): Promise<string> {
  let text = "";
  await until(`${address} is reached`, async () => (text = await seenBy(from, address)) !== "");
  return text;
}
