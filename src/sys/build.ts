/** What was built in: the version, and what tells two builds of one version apart. */

declare const CAUSEWAY_VERSION: string | undefined;
declare const CAUSEWAY_BUILD: string | undefined;

/** VERSION is the version, or `development` when run from source. */
export const VERSION: string = typeof CAUSEWAY_VERSION === "string" ? CAUSEWAY_VERSION : "development";

/** BUILD is made of the sources that the executable was built from; VERSION where it was not built in. */
export const BUILD: string = typeof CAUSEWAY_BUILD === "string" ? CAUSEWAY_BUILD : VERSION;

/** COMPILED tells whether this process runs the one executable; else it runs the sources. */
export const COMPILED: boolean = typeof CAUSEWAY_VERSION === "string";
