/**
 * bench cni: attaching and detaching pods, beside Debian's reference plugins `bridge` and `host-local`. Process start to exit, as a
 * container runtime sees it, a fresh namespace for each attachment. Ours is the installed plugin with a real agent, dual stack,
 * and always masquerades; theirs is IPv4, without and with `ipMasq`.
 */
import { fileURLToPath } from "node:url";
import type { Bench, Row } from "./measure.ts";

export const bench: Bench = {
  about: "ADD and DEL of pods, beside the reference plugins bridge and host-local",
  async run() {
    // The plugin's paths are fixed: it runs where /run, /var/lib and the network are private, and everything ends with the driver.
    const driver = Bun.spawn(
      [
        "unshare",
        ...[
          "--net",
          "--mount",
          "--pid",
          "--fork",
          "--kill-child",
          "--mount-proc",
          "--propagation",
          "private",
        ],
        process.execPath,
        fileURLToPath(new URL("./cni-driver.ts", import.meta.url)),
      ],
      { stdout: "pipe", stderr: "inherit" },
    );
    const text = await driver.stdout.text();
    if ((await driver.exited) !== 0) throw new Error(`Cannot measure the plugins: ${text}`);
    return JSON.parse(text) as Row[];
  },
};
