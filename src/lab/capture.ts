/** Records what is on a network of a laboratory, with tcpdump, a witness that is not ours. */
import { readBytes, readText, removeTree, signal } from "../sys/mod.ts";
import { inNode } from "./mounts.ts";
import { type CaptureReport, readCapture } from "./pcap.ts";
import type { Place } from "./place.ts";
import { recorded, startProcess, stopProcess } from "./processes.ts";
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
  const stop = async () => {
    const running = recorded(place, name);
    if (running !== undefined) await catchUp(running.pid, { logPath, link });
    await stopProcess(place, name, { graceMs: 10_000 });
  };
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

/** tcpdump's answer to SIGUSR1. */
const REPORT = /(\d+) packets captured, (\d+) packets received by filter, (\d+) packets dropped by kernel/g;

/** On a busy machine tcpdump may be behind; what it has not read when it ends is lost. Waits until it has all that had passed before. */
async function catchUp(
  pid: number,
  options: { readonly logPath: string; readonly link: string },
): Promise<void> {
  // The kernel shows each packet on loopback twice, of which tcpdump takes one.
  const copies = options.link === "lo" ? 2 : 1;
  let answers = 0;
  let wanted: number | undefined;
  const missing = () => {
    const reports = [...(readText(options.logPath) ?? "").matchAll(REPORT)];
    const [captured = 0, received = 0, dropped = 0] = reports.at(-1)?.slice(1).map(Number) ?? [];
    if (reports.length > answers) {
      wanted ??= (received - dropped) / copies;
      if (captured >= Math.floor(wanted)) return undefined;
    }
    answers = reports.length;
    signal(pid, "SIGUSR1");
    return `${captured} of ${wanted ?? "?"} packets`;
  };
  await until(missing, { what: "tcpdump to have read what passed", deadlineMs: 20_000 });
}
