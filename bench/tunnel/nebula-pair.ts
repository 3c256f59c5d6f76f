/** A pair of nebula nodes with their own certificates, as its quick start has them; only the MTU is everybody's. */
import { mkdirSync, writeFileSync } from "node:fs";
import { signal, spawnDetached } from "../../src/sys/mod.ts";
import { Cable, type CableEnd, must } from "./cable.ts";
import type { Contender } from "./contender.ts";

const FOLDER = "/run/nebula";
const PORT = 4242;

function configuration(end: CableEnd, other: CableEnd): string {
  const everything = [{ port: "any", proto: "any", host: "any" }];
  // YAML includes JSON.
  return JSON.stringify({
    pki: { ca: `${FOLDER}/ca.crt`, cert: `${FOLDER}/${end.number}.crt`, key: `${FOLDER}/${end.number}.key` },
    static_host_map: { [other.inside]: [`${other.outside}:${PORT}`] },
    lighthouse: { am_lighthouse: false, hosts: [] },
    listen: { host: "0.0.0.0", port: PORT },
    tun: { dev: "nebula", mtu: 1420 },
    logging: { level: "error" },
    firewall: { outbound: everything, inbound: everything },
  });
}

/** openNebula starts both nodes with the programs of a folder and waits for the first answer. */
export async function openNebula(programs: string): Promise<Contender> {
  const cable = new Cable();
  const [near, far] = cable.ends;
  mkdirSync(FOLDER, { mode: 0o700, recursive: true });
  const cert = (...args: string[]) => must(undefined, `${programs}/nebula-cert`, ...args);
  const files = (name: string) => ["-out-crt", `${FOLDER}/${name}.crt`, "-out-key", `${FOLDER}/${name}.key`];
  const authority = ["-ca-crt", `${FOLDER}/ca.crt`, "-ca-key", `${FOLDER}/ca.key`];
  cert("ca", "-name", "bench", ...files("ca"));
  const pids: number[] = [];
  for (const end of cable.ends) {
    const name = `${end.number}`;
    cert("sign", ...authority, "-name", `node${name}`, "-ip", `${end.inside}/24`, ...files(name));
    writeFileSync(`${FOLDER}/${name}.yaml`, configuration(end, end === near ? far : near));
    const argv = [`${programs}/nebula`, "-config", `${FOLDER}/${name}.yaml`];
    pids.push(spawnDetached(argv, { netns: end.netns, stdoutPath: `${FOLDER}/${name}.log` }));
  }
  // The link comes up after the program has started.
  for (let tries = 0; ; tries++) {
    try {
      must(near.netns, "ping", "-n", "-c", "1", "-W", "1", far.inside);
      break;
    } catch (error) {
      if (tries === 20) throw error;
      await Bun.sleep(100);
    }
  }
  return {
    near,
    far,
    to: far.inside,
    pids,
    [Symbol.dispose]: () => {
      for (const pid of pids) signal(pid, "SIGKILL");
      cable[Symbol.dispose]();
    },
  };
}
