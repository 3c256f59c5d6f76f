/** The version that was built in, or `development` when run from source. */
export { VERSION } from "../sys/mod.ts";
