/** `init --from`: a generated mesh becomes the beginning of one of Causeway. */
import { formatPrefix } from "../net/mod.ts";
import { importOf } from "../plain/mod.ts";
import { type Given } from "./command.ts";
import { readPlainMesh } from "./generate.ts";

/** What the folder decides. */
const FROM_FOLDER = ["endpoint", "name", "overlay4", "overlay6", "port"] as const;

/** importGiven returns the fields of an `init` that takes over the mesh of a folder, or nothing without `--from`; the command line's own come after. */
export function importGiven(given: Given) {
  const folder = given.value("from");
  if (folder === undefined) return {};
  for (const option of FROM_FOLDER)
    if (given.values(option).length > 0)
      throw new Error(
        `Cannot take over ${folder}: --${option} is what the folder says; leave it out, or change it there with causeway mesh generate`,
      );
  const mesh = readPlainMesh(folder);
  if (mesh === undefined)
    throw new Error(
      `Cannot take over ${folder}: it holds no mesh.json; name the folder that causeway mesh generate made`,
    );
  const { overlay4, overlay6, endpoints, listenPort, mtuBytes, nodeBits, hub, peers } = importOf(mesh);
  return {
    ...(overlay4 === undefined ? {} : { overlay4: formatPrefix(overlay4) }),
    ...(overlay6 === undefined ? {} : { overlay6: formatPrefix(overlay6) }),
    ...(mtuBytes === undefined ? {} : { mtuBytes }),
    endpoints: [...endpoints],
    listenPort,
    nodeBits,
    imported: {
      hub: { name: hub.name, number: hub.number, privateKey: hub.privateKey.toFile().trim() },
      peers: peers.map(({ name, number, publicKey, presharedKey, ...peer }) => ({
        name,
        number,
        publicKey: publicKey as string,
        families: [
          ...(peer.overlay4 === undefined ? [] : [4 as const]),
          ...(peer.overlay6 === undefined ? [] : [6 as const]),
        ],
        ...(presharedKey === undefined ? {} : { presharedKey: presharedKey.toFile().trim() }),
      })),
    },
  };
}
