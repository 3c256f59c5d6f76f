/** The version that was built in, or `development` when run from source. */

declare const CAUSEWAY_VERSION: string | undefined;

export const VERSION: string = typeof CAUSEWAY_VERSION === "string" ? CAUSEWAY_VERSION : "development";
