/** When a pod first answers another one. */
import type { Netns } from "../../src/sys/mod.ts";

const EVERY_SECONDS = 0.001;
/** Guards against hanging only. */
const DEADLINE_SECONDS = 20;

/** How one looks: with one ping(8), whose kernel asks for the neighbour again only after a second; or with a fresh question each time. */
export type Look = "ping" | "fresh";

/** How long a fresh question waits; so exact is when it was answered. */
const FRESH_SECONDS = 0.02;

function commandOf(look: Look, address: string): string[] {
  if (look === "ping")
    return ["ping", "-n", "-i", `${EVERY_SECONDS}`, "-w", `${DEADLINE_SECONDS}`, "-W", "1", address];
  const once = `ping -n -c1 -W${FRESH_SECONDS} ${address}`;
  return ["timeout", `${DEADLINE_SECONDS}`, "sh", "-c", `until ${once}; do ip neigh flush all; done`];
}

/** firstAnswer pings from a namespace until the first answer; the program is started in it, which takes a millisecond or two. */
export async function firstAnswer(netns: Netns, address: string, look: Look): Promise<void> {
  const argv = commandOf(look, address);
  // A window may not return a promise, which a child has inside.
  const { child } = netns.run(() => ({ child: Bun.spawn(argv, { stdout: "pipe", stderr: "ignore" }) }));
  try {
    let text = "";
    for await (const bytes of child.stdout) {
      text += Buffer.from(bytes).toString();
      if (text.includes("bytes from")) return;
    }
  } finally {
    child.kill();
    await child.exited;
  }
  throw new Error(`${address} does not answer in ${DEADLINE_SECONDS} s`);
}
