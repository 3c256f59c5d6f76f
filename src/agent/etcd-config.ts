/**
 * Where etcd is, on a hub whose register is shared: a file of mode 0600 beside the register. It names the files of the certificates and
 * does not hold them, so that a renewed certificate is used at once.
 */
import { z } from "zod";
import { Etcd, EtcdLog, type Register } from "../hub/mod.ts";
import { fileMode, readText, removeTree, type TlsIdentity, writeAtomic } from "../sys/mod.ts";
import { info, warn } from "./log.ts";
import { STATE } from "./paths.ts";

const FILE = `${STATE}/register.etcd.json`;

const path = z.string().max(4096);

/** etcdGiven is what the command line gives. */
export const etcdGiven = z.object({
  endpoints: z.array(z.string().max(256)).max(16),
  ca: path.optional(),
  certificate: path.optional(),
  key: path.optional(),
});

/** EtcdGiven is where etcd is, and the files that prove who we are to it. */
export type EtcdGiven = z.output<typeof etcdGiven>;

const storedSchema = etcdGiven.extend({ prefix: z.string() });

/** EtcdConfig is what is stored: also where the register's keys are. */
export type EtcdConfig = z.output<typeof storedSchema>;

/** loadEtcdConfig returns what was stored; undefined on a hub that keeps its register alone. */
export function loadEtcdConfig(): EtcdConfig | undefined {
  const text = readText(FILE);
  return text === undefined ? undefined : storedSchema.parse(JSON.parse(text));
}

/** storeEtcdConfig stores where the register's log is; undefined: it has none. */
export function storeEtcdConfig(config: EtcdConfig | undefined): void {
  if (config === undefined) removeTree(FILE);
  else writeAtomic(FILE, `${JSON.stringify(config)}\n`, 0o600);
}

/** etcdOf returns a client; throws in words what is wrong with what was given. */
export function etcdOf(given: EtcdGiven, what: string): Etcd {
  const refuse = (cause: string) => new Error(`Cannot ${what}: ${cause}`);
  const { endpoints, ca, certificate, key } = given;
  if (endpoints.length === 0) throw refuse("no endpoint of etcd is given; add --etcd https://HOST:2379");
  const wrong = endpoints.find((endpoint) => !/^https:\/\/[^/\s]+:\d{1,5}$/.test(endpoint));
  if (wrong !== undefined)
    throw refuse(`"${wrong}" is no endpoint of etcd; write it like https://10.0.0.1:2379, without a path`);
  if (ca === undefined || certificate === undefined || key === undefined)
    throw refuse(
      "etcd is reached with mutual TLS only; give --etcd-ca, --etcd-cert and --etcd-key, files of this machine",
    );
  const read = (name: string) => {
    if (!name.startsWith("/")) throw refuse(`${name} is not a full path; begin it with /`);
    const text = readText(name);
    if (text === undefined) throw refuse(`there is no file ${name}`);
    return text;
  };
  const identity = (): TlsIdentity => ({ ca: read(ca), certificate: read(certificate), key: read(key) });
  identity();
  if ((fileMode(key) & 0o077) !== 0) throw refuse(`${key} can be read by others than root; chmod 600 ${key}`);
  return new Etcd({ endpoints, tls: identity });
}

/** checkEtcd rejects when etcd cannot be written now, before anything depends on it. */
export async function checkEtcd(etcd: Etcd, what: string): Promise<void> {
  try {
    await etcd.transact({ success: [{ range: "/causeway" }] });
  } catch (error) {
    throw new Error(
      `Cannot ${what}: ${(error as Error).message}; check --etcd, the certificates, and that most members of etcd run`,
      { cause: error },
    );
  }
}

/** openLog begins to follow the register's log. */
export function openLog(
  register: Register,
  options: { readonly config: EtcdConfig; readonly hub: string; readonly etcd?: Etcd },
): EtcdLog {
  const { config, hub } = options;
  return new EtcdLog(register, {
    etcd: options.etcd ?? etcdOf(config, "follow the register"),
    prefix: config.prefix,
    hub,
    onProblem: (problem) => {
      if (problem === undefined) info("the register can be written");
      else warn("the register cannot be written", { reason: problem });
    },
  });
}
