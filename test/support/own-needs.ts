/** What our own engine needs of this machine to run in tests. */
import { ownProblem } from "../../src/tunnel/own.ts";

/** ownLacks says what is missing, or undefined. */
export const ownLacks: string | undefined = process.getuid?.() !== 0 ? "needs root" : ownProblem();
