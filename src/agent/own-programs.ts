/**
 * How pods of VPCs are kept to their own addresses. A program at the pod's link judges all that comes in by it (pods/own-frames.ts); pods in security groups
 * are judged by rules (pods/spoofing.ts), whose sets their groups need too, and so are all where the kernel has no such programs.
 */
import type { Domain, LocalAttachment } from "../domain/mod.ts";
import type { KernelObject } from "../engine/mod.ts";
import { addQdisc, deleteFilter, NetlinkError, Rtnetlink, setProgram } from "../netlink/mod.ts";
import { ownFrames } from "../pods/mod.ts";
import { loadClassifier, type Netns, SystemError } from "../sys/mod.ts";

/** Judged says by what an attachment is judged, if it is. */
export type Judged = "program" | "rules" | undefined;

/** The kernel's noes: no cls_bpf or no clsact (ENOENT), none of traffic control (EOPNOTSUPP), no bpf(2) (ENOSYS), programs forbidden (EPERM). */
const LACKING = ["ENOENT", "EOPNOTSUPP", "ENOSYS", "EPERM"];

/** OwnPrograms decides it, the same for a whole node. */
export class OwnPrograms {
  #hasPrograms: boolean | undefined;

  /** Without a word the kernel is asked. */
  constructor(hasPrograms?: boolean) {
    this.#hasPrograms = hasPrograms;
  }

  /**
   * judges tells by what an attachment is judged: who has an address of a Subnet sends with that only; who has groups hears nothing else either. `netns` is
   * its domain's.
   */
  judges({ segments }: Domain, { groups, segment }: LocalAttachment, netns: Netns | undefined): Judged {
    if (groups.length > 0) return "rules";
    const isJudged = segments.some(({ vni, prefixes }) => vni === segment && prefixes.length > 0);
    if (!isJudged || netns === undefined) return isJudged ? "rules" : undefined;
    this.#hasPrograms ??= probe(netns);
    return this.#hasPrograms ? "program" : "rules";
  }
}

/** judgeObjects returns what has a link judged by the program of its pod. */
export function judgeObjects(link: string, pod: Pick<LocalAttachment, "mac" | "addresses">): KernelObject[] {
  return [{ kind: "filter", link, program: ownFrames(pod) }];
}

/** Asks the kernel, with a filter that passes everything on the loopback of a namespace that is ours; it may have to load modules for it. */
function probe(netns: Netns): boolean {
  using route = Rtnetlink.open({ netns });
  const linkIndex = route.link("lo")?.index ?? 1;
  const at = { linkIndex, pref: 1, handle: 1 };
  try {
    // R0 = TC_ACT_UNSPEC; exit.
    using program = loadClassifier(
      "probe",
      Uint8Array.of(0xb7, 0, 0, 0, 255, 255, 255, 255, 0x95, ...Array(7).fill(0)),
    );
    const [held] = route.execute([addQdisc({ linkIndex, kind: "clsact" })]);
    if (held !== undefined && held.code !== "EEXIST") throw held;
    route.request(setProgram({ ...at, descriptor: program.number, name: "probe" }));
    route.request(deleteFilter({ ...at, kind: "bpf" }));
    return true;
  } catch (error) {
    if ((error instanceof NetlinkError || error instanceof SystemError) && LACKING.includes(error.code))
      return false;
    throw error;
  }
}
