/** Tunnels from VPCs whose packets user space carries, as processes. */
import { setDefaultTimeout } from "bun:test";
import { labLacks } from "../support/lab-needs.ts";
import { lacksTool } from "../support/scratch.ts";
import { tunnelsOfTenants } from "../support/tenant-tunnels-suite.ts";
import { lacksXdp } from "../support/xdp-pair.ts";

setDefaultTimeout(300_000);

tunnelsOfTenants("user", labLacks ?? lacksTool("nft") ?? lacksXdp());
