/** Generic netlink: families have names, and numbers that the kernel gives out at run time. */
import { NETLINK, type Netns } from "../sys/mod.ts";
import { attributes, type Codec, headed, ignored, struct, text, u16, u32, u8 } from "../wire/mod.ts";
import { NetlinkError } from "./error.ts";
import { message } from "./request.ts";
import { NetlinkSocket } from "./socket.ts";

/** struct genlmsghdr */
const genericHeader = struct({ command: u8, version: u8, reserved: u16 });

/** genericMessage makes the codec of a family's messages: the generic header and the family's attributes. */
export function genericMessage<B>(body: Codec<B>) {
  return headed(genericHeader, body);
}

/** The family that knows the families (GENL_ID_CTRL). */
const CONTROL = 16;
const CTRL_CMD_GETFAMILY = 3;

/** Attributes of the control family (enum CTRL_ATTR_…). */
export const controlMessage = genericMessage(
  attributes({
    id: [1, u16],
    name: [2, text],
    version: [3, u32],
    headerSize: [4, u32],
    maxAttribute: [5, u32],
    operations: [6, ignored],
    multicastGroups: [7, ignored],
  }),
);

/** openGeneric opens a socket of generic netlink in a namespace. */
export function openGeneric(netns: Netns | undefined): NetlinkSocket {
  return NetlinkSocket.open(NETLINK.generic, { netns });
}

/** familyId asks for the number of a family; the kernel loads its module if it can. Undefined when there is no such family. */
export function familyId(socket: NetlinkSocket, name: string): number | undefined {
  let id: number | undefined;
  const request = message(CONTROL, 0, controlMessage, {
    header: { command: CTRL_CMD_GETFAMILY, version: 1 },
    body: { name },
  });
  try {
    socket.request(`find the generic netlink family ${name}`, request, (_type, reader) => {
      id = controlMessage.decode(reader).body.id;
    });
  } catch (error) {
    if (error instanceof NetlinkError && error.code === "ENOENT") return undefined;
    throw error;
  }
  return id;
}
