/** What BGP tells of other nodes' VPCs, for as long as a speaker runs. */
import type { Speaker } from "../bgp/mod.ts";
import type { RemoteChange, RemoteTable } from "../domain/mod.ts";
import type { Mac } from "../net/mod.ts";
import type { DomainHost } from "./domain-host.ts";

/** HearVpcOptions are those who are told. */
export interface HearVpcOptions {
  readonly table: RemoteTable | undefined;
  readonly host: DomainHost | undefined;
  readonly hear: (changes: readonly RemoteChange[]) => void;
  /** An address of ours is announced with a higher sequence than before. */
  readonly raised: (vni: number, mac: Mac, sequence: number) => void;
  /** An address of ours is elsewhere now; pods' are told of to `host`. */
  readonly moved?: (vni: number, mac: Mac) => void;
}

/** hearVpcs has them told until it is disposed: of routes of others, and of addresses of ours that have moved, or have come back. */
export function hearVpcs(speaker: Speaker, { table, host, hear, raised, moved }: HearVpcOptions): Disposable {
  // What another speaker knew this one learns by itself.
  host?.allHere();
  const listening = new DisposableStack();
  listening.use(
    speaker.onEvpn((changes) => {
      const told = table?.apply(changes) ?? [];
      if (told.length > 0) hear(told);
    }),
  );
  listening.use(
    speaker.evpn.onMoved((vni, mac) => {
      const isElsewhere = speaker.evpn.isElsewhere(vni, mac);
      host?.setElsewhere(vni, mac, isElsewhere);
      if (isElsewhere) moved?.(vni, mac);
    }),
  );
  listening.use(speaker.evpn.onRaised(raised));
  return listening;
}
