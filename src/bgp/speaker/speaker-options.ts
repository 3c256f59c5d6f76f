/** Where a speaker lives, and whom it tells. */
import type { Netns } from "../../sys/mod.ts";
import type { BgpSession, SessionTap } from "../io/mod.ts";
import type { Restarted } from "../session/mod.ts";

/** SpeakerLog is told what people want to know later. */
export type SpeakerLog = (event: string, fields: Readonly<Record<string, string | number>>) => void;

/** SpeakerOptions say where a speaker lives. */
export interface SpeakerOptions {
  readonly netns?: Netns | undefined;
  readonly readPassword: (path: string) => Uint8Array;
  readonly log: SpeakerLog;
  /** Not its first start, or it does not matter: packets go on without us for these families, and neighbors keep our routes. */
  readonly restarted?: Restarted | undefined;
  /** Writes down what a session is told, by the neighbor's name. */
  readonly tap?: (session: BgpSession) => SessionTap | undefined;
  /** Told when a session's state or address changed. */
  readonly onChange?: () => void;
}
