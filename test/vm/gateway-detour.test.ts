/** A queue that is cut, by the kernel's ESP. */
import { setDefaultTimeout } from "bun:test";
import { detoursOfQueues } from "../support/gateway-detour-suite.ts";
import { labLacks } from "../support/lab-needs.ts";
import { lacksXfrm } from "../support/xfrm-sites.ts";

setDefaultTimeout(300_000);

detoursOfQueues("kernel", labLacks ?? lacksXfrm());
