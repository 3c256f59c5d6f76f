/** Records what is on a network of a laboratory, with tcpdump, a witness that is not ours. */
import { readBytes, readText, removeTree } from "../sys/mod.ts";
import { inNode } from "./mounts.ts";
import { type CaptureReport, readCapture } from "./pcap.ts";
import type { Place } from "./place.ts";
import { startProcess, stopProcess } from "./processes.ts";
import { until } from "./wait.ts";
import { SWITCH } from "./wiring.ts";

/** Capture is a recording that runs. */
export interface Capture extends AsyncDisposable {
  /** The network or the box that it records in. */
  readonly where: string;
  /** File in libpcap's format, kept until the lab is taken down. */
  readonly path: string;
  /** stop ends the recording and reads it; `marker` is looked for in every frame. */
  stop(marker?: string): Promise<CaptureReport>;
}

/** startCapture starts a recording of all packets on a link, by default on the switch of a network. */
export async function startCapture(place: Place, where: string, link = SWITCH): Promise<Capture> {
  const path = `${place.captures}/${where}-${link}.pcap`;
  const name = `capture-${where}-${link}`;
  const logPath = `${place.captures}/${where}-${link}.log`;
  await stopProcess(place, name);
  for (const file of [path, logPath]) removeTree(file);
  // Debian's tcpdump would give up root before it opens the file, which lies in a folder of root's.
  // Immediate mode: a packet is in the file when it has passed, and not up to a second later.
  const options = `-i ${link} -s 0 -B 16384 --immediate-mode -U -Z root -w ${path}`.split(" ");
  startProcess(place, name, { argv: inNode(place, { netns: where }, ["tcpdump", ...options]), logPath });
  const listening = () => {
    const log = readText(logPath) ?? "";
    return log.includes("listening on") ? undefined : log.trim() || "no word yet";
  };
  await until(listening, { what: `tcpdump on ${link} of ${where}`, deadlineMs: 20_000 });
  const stop = () => stopProcess(place, name, { graceMs: 10_000 });
  return {
    where,
    path,
    async stop(marker) {
      await stop();
      return readCapture(readBytes(path), marker);
    },
    [Symbol.asyncDispose]: stop,
  };
}
