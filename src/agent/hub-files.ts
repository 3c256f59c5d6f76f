/** What a hub keeps on disk, and how a hub comes out of it: the register, its signing key, and where the register's log is. */
import { etcdPrefix, type HubSecret, Register } from "../hub/mod.ts";
import { exists, randomBytes } from "../sys/mod.ts";
import {
  checkEtcd,
  type EtcdGiven,
  etcdOf,
  loadEtcdConfig,
  openLog,
  storeEtcdConfig,
} from "./etcd-config.ts";
import { formerKey } from "./former-key.ts";
import { HubRole, ownNode } from "./hub-role.ts";
import { nodeKey, signingKey, takeSigningKey } from "./identity.ts";
import { STATE } from "./paths.ts";

const REGISTER = `${STATE}/register.db`;

/** storedHub returns the hub that this node was before the agent started. */
export function storedHub(): HubRole | undefined {
  if (!exists(REGISTER)) return undefined;
  using undo = new DisposableStack();
  const register = undo.use(Register.open(REGISTER));
  if (!register.initialised) return undefined;
  const key = nodeKey();
  const config = loadEtcdConfig();
  const former = formerKey()?.key;
  const hub = ownNode(register, key.publicKey, former?.publicKey)?.name ?? "?";
  const role = new HubRole(register, {
    node: key,
    former,
    signing: signingKey(),
    ...(config === undefined ? {} : { log: openLog(register, { config, hub }) }),
  });
  undo.move();
  return role;
}

/** newHub returns a hub with an empty register, and the epoch that its first command is to give it. */
export async function newHub(
  name: string,
  given: EtcdGiven | undefined,
): Promise<{ readonly role: HubRole; readonly epoch: string }> {
  const epoch = Buffer.from(randomBytes(8)).toString("hex");
  const keys = { node: nodeKey(), signing: signingKey() };
  if (given === undefined) return { role: new HubRole(Register.open(REGISTER), keys), epoch };
  const what = "make a mesh";
  const etcd = etcdOf(given, what);
  await checkEtcd(etcd, what);
  const config = { ...given, prefix: etcdPrefix(epoch) };
  storeEtcdConfig(config);
  const register = Register.open(REGISTER);
  return {
    role: new HubRole(register, { ...keys, log: openLog(register, { config, hub: name, etcd }) }),
    epoch,
  };
}

/** joinedHub returns a hub that shares the register of another, as far as it was written. */
export async function joinedHub(name: string, secret: HubSecret, given: EtcdGiven): Promise<HubRole> {
  const what = "join as a hub";
  const endpoints = given.endpoints.length > 0 ? given.endpoints : [...secret.etcd];
  const config = { ...given, endpoints, prefix: secret.prefix };
  const etcd = etcdOf(config, what);
  takeSigningKey(secret.signing);
  storeEtcdConfig(config);
  const register = Register.open(REGISTER);
  const role = new HubRole(register, {
    node: nodeKey(),
    signing: secret.signing,
    log: openLog(register, { config, hub: name, etcd }),
  });
  try {
    await role.registrar.catchUp();
    if (!register.initialised) throw new Error(`etcd holds no register under ${config.prefix}`);
    return role;
  } catch (error) {
    role[Symbol.dispose]();
    throw new Error(
      `Cannot ${what}: ${(error as Error).message}; this node is in the register already: at a hub, causeway hub remove ${name}, and join with a new token`,
      { cause: error },
    );
  }
}
