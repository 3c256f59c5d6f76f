/** Records what a container runtime gives to the plugin, by a program in its place that writes everything down and then calls it. */
import { readdirSync, readFileSync } from "node:fs";
import { type Json, PLUGINS, type PrivateNode } from "./private-node.ts";

/** Recorded is one call. */
export interface Recorded {
  readonly environment: Readonly<Record<string, string>>;
  readonly configuration: Json;
}

const FOLDER = "/run/calls";

const RECORDER = `#!/bin/bash
input=$(cat)
call=$(mktemp -d ${FOLDER}/$(date +%s%N)-XXXX)
printf %s "$input" > $call/stdin
env -0 > $call/env
printf %s "$input" | /run/plugins/$(basename "$0")
`;

/** recordCalls returns the calls of `causeway` (not of `loopback`) that were made while `work` ran, oldest first. */
export async function recordCalls(node: PrivateNode, work: () => Promise<void>): Promise<Recorded[]> {
  const { host } = node;
  await host.must(`rm -rf ${FOLDER}; mkdir ${FOLDER} /run/plugins; mv ${PLUGINS}/* /run/plugins/`);
  try {
    await Bun.write(host.path(`${PLUGINS}/causeway`), RECORDER);
    await host.must(`cd ${PLUGINS}; chmod 755 causeway; ln causeway loopback`);
    await work();
  } finally {
    await host.must(`rm ${PLUGINS}/*; mv /run/plugins/* ${PLUGINS}/; rmdir /run/plugins`);
  }
  const read = (name: string, file: string) => readFileSync(host.path(`${FOLDER}/${name}/${file}`), "utf8");
  const calls = readdirSync(host.path(FOLDER))
    .sort()
    .map((name) => ({
      environment: Object.fromEntries(
        read(name, "env")
          .split("\0")
          .filter((line) => line.startsWith("CNI_"))
          .map((line) => [line.slice(0, line.indexOf("=")), line.slice(line.indexOf("=") + 1)]),
      ),
      configuration: JSON.parse(read(name, "stdin") || "null") as Json,
    }));
  return calls.filter(
    ({ environment, configuration }) =>
      environment.CNI_COMMAND === "VERSION" || configuration?.type === "causeway",
  );
}

/** argumentKeys returns the names in CNI_ARGS, sorted: runtimes give them in any order. */
export function argumentKeys(call: Recorded | undefined): string[] {
  const text = call?.environment.CNI_ARGS ?? "";
  return text
    .split(";")
    .filter(Boolean)
    .map((pair) => pair.slice(0, pair.indexOf("=")))
    .sort();
}
