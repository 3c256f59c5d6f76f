/** The command that begins a generation of pre-shared keys. */
import type { Handlers } from "./apply.ts";

/** PSK_ENTRY is the published entry that says which generation is the newest. */
export const PSK_ENTRY = "psk";

/** apply holds the commands on pre-shared keys. */
export const apply = {
  "new-psk"(tables, { generation, secret }) {
    const newest = tables.secrets.generations()[0]?.generation ?? 0;
    // Two hubs that began the same generation: the first of them did.
    if (generation !== newest + 1) return;
    tables.secrets.addGeneration({ generation, secret });
    tables.ledger.publish(PSK_ENTRY, { generation });
  },
} as const satisfies Handlers<"new-psk">;
