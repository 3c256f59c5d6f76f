/** `causeway vpc`: what becomes of tenants' networks. */
import type { Command } from "./command.ts";
import { addresses, release } from "./vpc-addresses.ts";
import { attachments, list, show } from "./vpc-status.ts";

/** vpc is `causeway vpc`. */
export const vpc: Command = {
  name: "vpc",
  about: "Tenants' private networks, as they are now",
  commands: [list, show, attachments, addresses, release],
};
