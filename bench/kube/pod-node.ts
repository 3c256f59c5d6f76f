/**
 * What an agent knows of the pods of its node, as its agent has it (PodWatch). At each line, the name of a pod in the namespace `ns0`, it looks for
 * that one and says when it knew it; first it says how many it knows, as soon as everything is listed.
 */
import { PodWatch } from "../../src/kube/pod-watch.ts";

/** PodNodeInput is what it is told. */
export interface PodNodeInput {
  readonly node: string;
  readonly server: string;
  readonly ca: string;
  readonly token: string;
}

const { node, server, ca, token } = JSON.parse(process.argv[2] as string) as PodNodeInput;
const say = (what: unknown) => process.stdout.write(`${JSON.stringify(what)}\n`);

using watch = PodWatch.start({ access: { server, tls: { ca }, token: () => token }, node });
while (watch.status.problem !== undefined) await Bun.sleep(1);
say(watch.status.pods);
for await (const line of console) {
  while (watch.podFacts("ns0", line) === undefined) await Bun.sleep(0.2);
  say(performance.timeOrigin + performance.now());
}
