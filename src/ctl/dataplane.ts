/** `causeway dataplane`: the process that the agent starts where the kernel has no WireGuard; also by hand, with wg(8) and ip(8). */
import { forbidCoreDumps } from "../sys/mod.ts";
import { type Command, UsageError } from "./command.ts";

/** Names of path/aead.ts; listed here so that help and completion need not load the data path. */
const AEAD = ["ipsec-mb-2", "ipsec-mb-1", "libcrypto"] as const;
/** As many threads as the shared memory has room for (tunnel/dataplane/session-store.ts). */
const MOST_WORKERS = 64;

/** dataplane is the command. */
export const dataplane: Command = {
  name: "dataplane",
  about: "Run one WireGuard link in user space, until it is removed",
  more: `The agent starts one where the kernel has no WireGuard. It makes the link LINK
and is configured on /var/run/wireguard/LINK.sock, so wg(8) works on it.`,
  positionals: ["LINK"],
  options: {
    workers: {
      value: "N",
      about: "threads for packets; default one per CPU, of two CPUs one",
    },
    aead: {
      value: "NAME",
      about: `${AEAD.join(", ")}; default the first that works`,
      choices: AEAD,
    },
    cpu: { value: "LIST", about: "processors that the threads keep to, such as 2,3" },
    "take-over": { about: "succeed the process that serves LINK, without losing a packet" },
  },
  examples: ["causeway dataplane wg0 &", "causeway dataplane wg0 --workers 2 --cpu 2,3 &"],
  async run(given) {
    const [link = ""] = given.positionals;
    const usage = (text: string) => new UsageError("causeway dataplane", text);
    // dev_valid_name of net/core/dev.c; a name with % is a pattern for one that is free.
    if (!/^[^\s/:%]+$/.test(link) || /^\.\.?$/.test(link) || Buffer.byteLength(link) > 15)
      throw usage(`"${link}" is not a name of a link; it has 1 to 15 bytes, without spaces and / : %`);
    const workers = given.number("workers");
    if (workers !== undefined && !(workers >= 1 && workers <= MOST_WORKERS))
      throw usage(`--workers is 1 to ${MOST_WORKERS}, not ${workers}`);
    const aead = AEAD.find((name) => name === given.value("aead"));
    if (given.value("aead") !== undefined && aead === undefined)
      throw usage(`--aead is one of ${AEAD.join(", ")}, not "${given.value("aead")}"`);
    const list = given.value("cpu");
    if (list !== undefined && !/^\d{1,4}(,\d{1,4})*$/.test(list))
      throw usage(`--cpu takes numbers such as 2,3, not "${list}"`);
    const { runDataplane, takeOver } = await import("../tunnel/dataplane/mod.ts");
    forbidCoreDumps();
    const options = {
      link,
      ...(workers === undefined ? {} : { workers }),
      ...(aead === undefined ? {} : { aead }),
      ...(list === undefined ? {} : { cpus: list.split(",").map(Number) }),
    };
    return given.flag("take-over") ? takeOver(options) : runDataplane(options);
  },
};
