/** Durations on the command line are written as in resources. */
export { parseDurationMs } from "../resources/mod.ts";
