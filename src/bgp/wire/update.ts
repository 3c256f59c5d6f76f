/**
 * UPDATE (RFC 4271 section 4.3) looked at in place: where everything is, and what RFC 7606 makes a receiver do with it.
 *
 * ```
 *  length 2 | withdrawn routes | length 2 | path attributes | NLRI, to the end
 *
 *  path attribute   flags 1 | code 1 | length 1, or 2 with the flag | value
 *  MP_REACH_NLRI    AFI 2 | SAFI 1 | length 1 | next hop | reserved 1 | NLRI        (RFC 4760 section 3)
 *  MP_UNREACH_NLRI  AFI 2 | SAFI 1 | NLRI                                           (RFC 4760 section 4)
 * ```
 *
 * Nothing is allocated unless something is wrong. All NLRI are walked once here, so that whoever goes through them with an NlriCursor
 * afterwards finds no fault (RFC 7606 section 3 (j): without that, "treat-as-withdraw" would not be safe).
 *
 * Reading is the same for every session; meaning (loops, own addresses, policy) is left to the RIB.
 */
import { ATTRIBUTE, FLAG } from "./attribute-code.ts";
import { attributeRow } from "./attribute-table.ts";
import type { CheckContext } from "./check-context.ts";
import { type BgpFamily, EVPN, familyOf, IPV4_UNICAST } from "./family.ts";
import { isHostNextHop, isNextHopLength } from "./next-hop.ts";
import { type BgpError, bgpError, ERROR, UPDATE_ERROR } from "./notification.ts";
import { NlriCursor } from "./nlri.ts";
import { readU16 } from "./octets.ts";
import { ACCEPT, DISCARD, type Reaction, reactionName, RESET, WITHDRAW } from "./reaction.ts";
import { ROUTER_MAC, type RouterMac, routerMacOf } from "./router-mac.ts";
import type { UpdateSession } from "./update-session.ts";

const NO_FAULTS: readonly string[] = [];
const NO_FAMILIES: ReadonlySet<BgpFamily> = new Set();
/** Stands where no UPDATE has been parsed yet. */
const NO_SESSION: UpdateSession = {
  external: false,
  as4: true,
  families: NO_FAMILIES,
  addPathReceive: NO_FAMILIES,
  extendedNextHop: NO_FAMILIES,
};

/** UpdateView is one UPDATE taken apart. It is reused: everything is valid until the next `parse`. */
export class UpdateView {
  /** Withdrawn routes of IPv4 unicast: `bytes[withdrawnAt..withdrawnEnd)`. */
  withdrawnAt = 0;
  withdrawnEnd = 0;
  /** All path attributes, headers included. */
  attributesAt = 0;
  attributesEnd = 0;
  /** NLRI of IPv4 unicast, whose next hop is the attribute NEXT_HOP. */
  nlriAt = 0;
  nlriEnd = 0;
  /** Family of MP_REACH_NLRI; 0 when there is none, or of a family that was not negotiated. */
  reachFamily: BgpFamily = 0;
  /** Where MP_REACH_NLRI's header is; -1 without it. */
  reachHeaderAt = -1;
  nextHopAt = 0;
  nextHopBytes = 0;
  reachAt = 0;
  reachEnd = 0;
  /** Family of MP_UNREACH_NLRI; 0 as above. */
  unreachFamily: BgpFamily = 0;
  unreachAt = 0;
  unreachEnd = 0;
  /** Where each attribute's value is, by code; -1 for those that are absent or discarded. MP_REACH_NLRI and MP_UNREACH_NLRI are there too. */
  readonly attributeAt: Int32Array = new Int32Array(256).fill(-1);
  readonly attributeBytes: Int32Array = new Int32Array(256);
  readonly attributeFlags: Uint8Array = new Uint8Array(256);
  /** Codes of the attributes that were met, ascending: `codes[0..codeCount)`. Discarded ones stay in the list. */
  readonly codes: Uint8Array = new Uint8Array(256);
  codeCount = 0;
  /** The family that this UPDATE ends (RFC 4724 section 2); 0 when it is not an End-of-RIB. */
  endOfRib: BgpFamily = 0;
  /** Whether EVPN routes come with a router's MAC address: what NlriCursor wants to know to judge a type 5. */
  routerMac: RouterMac = ROUTER_MAC.unknown;
  /** What a NOTIFICATION says, when the reaction is RESET. */
  error: BgpError | undefined = undefined;
  /** One text for each fault, for the log. */
  faults: readonly string[] = NO_FAULTS;
  /** The bytes that were parsed, and the session: what writeCanonical reads. */
  bytes: Uint8Array = new Uint8Array(0);
  session: UpdateSession = NO_SESSION;

  readonly #context: CheckContext = { session: NO_SESSION, reason: "", subcode: 0, rowOf: attributeRow };
  readonly #cursor = new NlriCursor(IPV4_UNICAST);
  #reaction: Reaction = ACCEPT;
  /** First fault that was graver than "attribute discard": what a NOTIFICATION tells. */
  #subcode = 0;
  #faultAt = 0;
  #faultEnd = 0;
  #reason = "";

  /** parse takes an UPDATE's body, `bytes[at..end)`, apart. The bytes must stay as they are while the view is used. */
  parse(bytes: Uint8Array, at: number, end: number, session: UpdateSession): Reaction {
    this.#begin(bytes, session);
    if (!this.#frame(bytes, at, end)) return RESET;
    if (!this.#attributes(bytes)) return RESET;
    this.#missing();
    if (!this.#nlri(bytes)) return RESET;
    if (this.reachFamily === EVPN)
      this.routerMac = routerMacOf(
        bytes,
        this.attributeAt[ATTRIBUTE.extendedCommunities] as number,
        this.attributeBytes[ATTRIBUTE.extendedCommunities] as number,
      );
    if (this.#reaction === WITHDRAW) this.#whetherWithdrawable();
    if (this.#reaction === ACCEPT) this.#whetherEndOfRib();
    return this.#reaction;
  }

  #begin(bytes: Uint8Array, session: UpdateSession): void {
    for (let i = 0; i < this.codeCount; i++) this.attributeAt[this.codes[i] as number] = -1;
    this.codeCount = 0;
    this.reachFamily = 0;
    this.reachHeaderAt = -1;
    this.nextHopBytes = 0;
    this.reachAt = 0;
    this.reachEnd = 0;
    this.unreachFamily = 0;
    this.unreachAt = 0;
    this.unreachEnd = 0;
    this.endOfRib = 0;
    this.routerMac = ROUTER_MAC.unknown;
    this.error = undefined;
    this.faults = NO_FAULTS;
    this.bytes = bytes;
    this.session = session;
    this.#context.session = session;
    this.#reaction = ACCEPT;
    this.#subcode = 0;
  }

  /** Finds the four parts. */
  #frame(bytes: Uint8Array, at: number, end: number): boolean {
    this.withdrawnAt = at + 2;
    this.withdrawnEnd = end - at >= 2 ? at + 2 + readU16(bytes, at) : end + 1;
    const lengthAt = this.withdrawnEnd;
    this.attributesAt = lengthAt + 2;
    this.attributesEnd = end - lengthAt >= 2 ? lengthAt + 2 + readU16(bytes, lengthAt) : end + 1;
    this.nlriAt = this.attributesEnd;
    this.nlriEnd = end;
    if (this.attributesEnd <= end) return true;
    // RFC 4271 section 6.3: "If the Withdrawn Routes Length or Total Attribute Length is too large (i.e., if Withdrawn Routes Length +
    // Total Attribute Length + 23 exceeds the message Length), then the Error Subcode MUST be set to Malformed Attribute List."
    return this.#reset(UPDATE_ERROR.malformedAttributeList, "its parts are longer than the message", at, at);
  }

  #attributes(bytes: Uint8Array): boolean {
    const end = this.attributesEnd;
    let position = this.attributesAt;
    while (position < end) {
      const flags = bytes[position] as number;
      const headerBytes = (flags & FLAG.extendedLength) === 0 ? 3 : 4;
      if (end - position < headerBytes) {
        // RFC 7606 section 4: fewer than three octets (four with the Extended Length bit) remain: treat-as-withdraw.
        this.#fault(
          WITHDRAW,
          UPDATE_ERROR.malformedAttributeList,
          "octets are left behind the attributes",
          position,
          end,
        );
        return true;
      }
      const code = bytes[position + 1] as number;
      const value = position + headerBytes;
      const length = headerBytes === 3 ? (bytes[position + 2] as number) : readU16(bytes, position + 2);
      if (length > end - value) {
        // RFC 7606 section 4: an attribute that would exceed the Total Attribute Length: treat-as-withdraw, and the Total Attribute Length
        // tells where the NLRI field begins. An MP attribute's own NLRI cannot be trusted then (section 3 (j)).
        if (code === ATTRIBUTE.mpReach || code === ATTRIBUTE.mpUnreach)
          return this.#reset(
            UPDATE_ERROR.attributeLength,
            "an MP attribute exceeds the attributes",
            position,
            end,
          );
        this.#fault(
          WITHDRAW,
          UPDATE_ERROR.attributeLength,
          `attribute ${code} exceeds the attributes`,
          position,
          end,
        );
        return true;
      }
      if (!this.#attribute(bytes, code, flags, position, value, length)) return false;
      position = value + length;
    }
    return true;
  }

  /** Looks at one attribute; false to reset. */
  #attribute(
    bytes: Uint8Array,
    code: number,
    flags: number,
    headerAt: number,
    value: number,
    length: number,
  ): boolean {
    if (this.#isRepeated(code)) {
      // RFC 7606 section 3 (g): MP_REACH_NLRI or MP_UNREACH_NLRI more than once: "Malformed Attribute List"; of any other attribute all
      // occurrences but the first are discarded, and the UPDATE goes on.
      if (code === ATTRIBUTE.mpReach || code === ATTRIBUTE.mpUnreach)
        return this.#reset(
          UPDATE_ERROR.malformedAttributeList,
          "an MP attribute is there twice",
          headerAt,
          value + length,
        );
      this.#fault(
        DISCARD,
        UPDATE_ERROR.malformedAttributeList,
        `attribute ${code} is there twice`,
        headerAt,
        value + length,
      );
      return true;
    }
    this.#note(code);
    this.attributeAt[code] = value;
    this.attributeBytes[code] = length;
    this.attributeFlags[code] = flags;
    const row = attributeRow(code);
    if (row === undefined) {
      // RFC 4271 section 6.3: "If any of the well-known mandatory attributes are not recognized" [...] "Unrecognized Well-known Attribute".
      // RFC 7606 has no other reaction for it.
      if ((flags & FLAG.optional) === 0)
        return this.#reset(
          UPDATE_ERROR.unrecognizedWellKnown,
          `attribute ${code} is unknown and not optional`,
          headerAt,
          value + length,
        );
      return true;
    }
    if (code === ATTRIBUTE.mpReach) {
      if (!this.#reach(bytes, headerAt, value, length)) return false;
    } else if (code === ATTRIBUTE.mpUnreach) {
      if (!this.#unreach(bytes, headerAt, value, length)) return false;
    }
    // RFC 7606 section 3 (c): Optional or Transitive bits in conflict with their specified values: treat-as-withdraw. RFC 4271 section 4.3
    // says the same of the Partial bit, which only an optional transitive attribute may have.
    const partialAllowed = row.flags === (FLAG.optional | FLAG.transitive);
    if (((flags ^ row.flags) & 0xc0) !== 0 || ((flags & FLAG.partial) !== 0 && !partialAllowed)) {
      // RFC 7606 section 5.3: the flags of MP_REACH_NLRI and MP_UNREACH_NLRI have to be those of RFC 4760, else "session reset".
      if (row.wrongFlags === RESET)
        return this.#reset(
          UPDATE_ERROR.attributeFlags,
          `${row.name} has wrong flags`,
          headerAt,
          value + length,
        );
      this.#fault(
        row.wrongFlags,
        UPDATE_ERROR.attributeFlags,
        `${row.name} has wrong flags`,
        headerAt,
        value + length,
      );
      if (row.wrongFlags === DISCARD) this.attributeAt[code] = -1;
      return true;
    }
    if (row.internalOnly && this.session.external) {
      // RFC 7606 sections 7.5, 7.9, 7.10: "If the attribute is received from an external neighbor, it SHALL be discarded using the approach of
      // 'attribute discard'", whatever it holds.
      this.#fault(
        DISCARD,
        UPDATE_ERROR.attributeFlags,
        `${row.name} from an external peer`,
        headerAt,
        value + length,
      );
      this.attributeAt[code] = -1;
      return true;
    }
    const reaction = row.check(bytes, value, length, this.#context);
    if (reaction !== ACCEPT) {
      const { subcode, reason } = this.#context;
      this.#fault(reaction, subcode, reason, headerAt, value + length);
      if (reaction === DISCARD) this.attributeAt[code] = -1;
    }
    return true;
  }

  /** Whether an attribute was met before, also one that was discarded. */
  #isRepeated(code: number): boolean {
    if (this.attributeAt[code] !== -1) return true;
    for (let i = 0; i < this.codeCount; i++) if (this.codes[i] === code) return true;
    return false;
  }

  /** Adds a code to the sorted list; attributes mostly come in order. */
  #note(code: number): void {
    let i = this.codeCount++;
    for (; i > 0 && (this.codes[i - 1] as number) > code; i--) this.codes[i] = this.codes[i - 1] as number;
    this.codes[i] = code;
  }

  #reach(bytes: Uint8Array, headerAt: number, value: number, length: number): boolean {
    const end = value + length;
    // RFC 7606 section 5.3: an attribute shorter than its fixed fields, or whose next hop exceeds it, cannot be parsed: "session reset"; RFC 4760
    // section 7 has the subcode.
    if (length < 5 || (bytes[value + 3] as number) > length - 5)
      return this.#reset(
        UPDATE_ERROR.optionalAttribute,
        "MP_REACH_NLRI is shorter than its fields",
        headerAt,
        end,
      );
    const family = familyOf(readU16(bytes, value), bytes[value + 2] as number);
    const nextHopBytes = bytes[value + 3] as number;
    this.reachHeaderAt = headerAt;
    this.nextHopAt = value + 4;
    this.nextHopBytes = nextHopBytes;
    this.reachAt = value + 5 + nextHopBytes;
    this.reachEnd = end;
    const session = this.session;
    // RFC 4760 section 7: NLRI of a family that was not announced are ignored.
    if (!session.families.has(family)) {
      this.#fault(
        DISCARD,
        UPDATE_ERROR.optionalAttribute,
        "MP_REACH_NLRI of a family that was not negotiated",
        headerAt,
        end,
      );
      return true;
    }
    // RFC 7606 section 7.11: "If the Length of Next Hop Network Address field of the MP_REACH attribute is inconsistent with that which was
    // expected, the attribute is considered malformed. [...] it will not be possible to reliably locate the NLRI; thus, the 'session reset'
    // or 'AFI/SAFI disable' approach MUST be used."
    if (!isNextHopLength(family, nextHopBytes, session))
      return this.#reset(
        UPDATE_ERROR.optionalAttribute,
        `a next hop of ${nextHopBytes} octets`,
        headerAt,
        end,
      );
    this.reachFamily = family;
    // RFC 4271 section 6.3: the next hop has to be the address of a host; NLRI can still be told, so treat-as-withdraw is enough.
    if (!isHostNextHop(bytes, this.nextHopAt, nextHopBytes))
      this.#fault(
        WITHDRAW,
        UPDATE_ERROR.invalidNextHop,
        "the next hop is not the address of a host",
        headerAt,
        end,
      );
    return true;
  }

  #unreach(bytes: Uint8Array, headerAt: number, value: number, length: number): boolean {
    // RFC 7606 section 5.3: as above.
    if (length < 3)
      return this.#reset(
        UPDATE_ERROR.optionalAttribute,
        "MP_UNREACH_NLRI is shorter than its fields",
        headerAt,
        value + length,
      );
    const family = familyOf(readU16(bytes, value), bytes[value + 2] as number);
    this.unreachAt = value + 3;
    this.unreachEnd = value + length;
    if (this.session.families.has(family)) this.unreachFamily = family;
    else
      this.#fault(
        DISCARD,
        UPDATE_ERROR.optionalAttribute,
        "MP_UNREACH_NLRI of a family that was not negotiated",
        headerAt,
        value + length,
      );
    return true;
  }

  /** RFC 7606 section 3 (d): a well-known mandatory attribute that is missing: treat-as-withdraw. */
  #missing(): void {
    const classic = this.nlriAt < this.nlriEnd;
    if (!classic && this.reachHeaderAt < 0) return;
    // An attribute that was met with a wrong length has been complained of already.
    if (this.attributeAt[ATTRIBUTE.origin] === -1) this.#miss("ORIGIN", ATTRIBUTE.origin);
    if (this.attributeAt[ATTRIBUTE.asPath] === -1) this.#miss("AS_PATH", ATTRIBUTE.asPath);
    // RFC 4760 section 3: NEXT_HOP is for the NLRI field only, and is ignored with MP_REACH_NLRI alone.
    if (classic && this.attributeAt[ATTRIBUTE.nextHop] === -1) this.#miss("NEXT_HOP", ATTRIBUTE.nextHop);
    // RFC 4271 section 5: required from internal peers.
    if (this.attributeAt[ATTRIBUTE.localPreference] === -1 && !this.session.external)
      this.#miss("LOCAL_PREF", ATTRIBUTE.localPreference);
  }

  #miss(name: string, code: number): void {
    this.#fault(WITHDRAW, UPDATE_ERROR.missingWellKnown, `${name} is missing`, -code, -code);
  }

  /** Walks all NLRI of negotiated families. */
  #nlri(bytes: Uint8Array): boolean {
    const session = this.session;
    const { withdrawnAt, withdrawnEnd, nlriAt, nlriEnd } = this;
    if (
      (withdrawnAt < withdrawnEnd && !this.#walk(bytes, IPV4_UNICAST, withdrawnAt, withdrawnEnd, session)) ||
      (nlriAt < nlriEnd && !this.#walk(bytes, IPV4_UNICAST, nlriAt, nlriEnd, session))
    )
      return this.#reset(UPDATE_ERROR.invalidNetworkField, this.#cursor.reason, withdrawnAt, withdrawnAt);
    if (
      (this.reachFamily !== 0 &&
        !this.#walk(bytes, this.reachFamily, this.reachAt, this.reachEnd, session)) ||
      (this.unreachFamily !== 0 &&
        !this.#walk(bytes, this.unreachFamily, this.unreachAt, this.unreachEnd, session))
    )
      // RFC 4760 section 5 asks for this subcode.
      return this.#reset(UPDATE_ERROR.optionalAttribute, this.#cursor.reason, withdrawnAt, withdrawnAt);
    return true;
  }

  #walk(bytes: Uint8Array, family: BgpFamily, at: number, end: number, session: UpdateSession): boolean {
    const cursor = this.#cursor;
    const addPath = session.addPathReceive.has(family);
    cursor.family = family;
    let position = at;
    // RFC 7606 section 5.3: the NLRI fields have to be read in full; if not, "session reset".
    while (position < end && position >= 0) position = cursor.next(bytes, position, end, addPath);
    return position >= 0;
  }

  /**
   * RFC 7606 section 5.2: when an UPDATE has attributes beside MP_UNREACH_NLRI, announces no route (an MP_REACH_NLRI without NLRI is none), and has a
   * fault that asks for more than "attribute discard", one cannot be sure to have seen its NLRI: "session reset".
   */
  #whetherWithdrawable(): void {
    if (this.nlriAt < this.nlriEnd || this.reachAt < this.reachEnd) return;
    this.#reset(this.#subcode, `${this.#reason}, and nothing is announced`, this.#faultAt, this.#faultEnd);
  }

  /** RFC 4724 section 2: no routes, and no attribute but an empty MP_UNREACH_NLRI; without that, IPv4 unicast is meant. */
  #whetherEndOfRib(): void {
    if (this.withdrawnAt < this.withdrawnEnd || this.nlriAt < this.nlriEnd) return;
    if (this.codeCount === 0) {
      this.endOfRib = IPV4_UNICAST;
      return;
    }
    if (this.codeCount === 1 && this.unreachFamily !== 0 && this.unreachAt === this.unreachEnd)
      this.endOfRib = this.unreachFamily;
  }

  #fault(reaction: Reaction, subcode: number, reason: string, at: number, end: number): void {
    const text = `${reason}: ${reactionName(reaction)}`;
    this.faults = this.faults === NO_FAULTS ? [text] : [...this.faults, text];
    if (reaction > DISCARD && this.#subcode === 0) {
      this.#subcode = subcode;
      this.#faultAt = at;
      this.#faultEnd = end;
      this.#reason = reason;
    }
    if (reaction > this.#reaction) this.#reaction = reaction;
  }

  /** Notes the NOTIFICATION; its data are the attribute in question (RFC 4271 section 6.3), or the code of a missing one. */
  #reset(subcode: number, reason: string, at: number, end: number): false {
    const data = at < 0 ? Uint8Array.of(-at) : this.bytes.subarray(at, end);
    this.error = bgpError(ERROR.update, subcode, { text: reason, data });
    this.faults = [...this.faults, `${reason}: ${reactionName(RESET)}`];
    this.#reaction = RESET;
    return false;
  }
}
