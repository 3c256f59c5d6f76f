/** A queue that is cut, in user space. */
import { labLacks } from "../support/lab-needs.ts";
import { detoursOfQueues } from "../support/gateway-detour-suite.ts";
import { lacksXdp } from "../support/xdp-pair.ts";

detoursOfQueues("user", labLacks ?? lacksXdp());
