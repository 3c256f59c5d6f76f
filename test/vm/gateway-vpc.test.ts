/** Tunnels from VPCs whose packets the kernel carries, by XFRM interfaces in their namespaces. */
import { setDefaultTimeout } from "bun:test";
import { labLacks } from "../support/lab-needs.ts";
import { tunnelsOfTenants } from "../support/tenant-tunnels-suite.ts";
import { lacksXfrm } from "../support/xfrm-sites.ts";

setDefaultTimeout(300_000);

tunnelsOfTenants("kernel", labLacks ?? lacksXfrm());
