/** Rulesets and the elements of their sets. A ruleset is loaded in one transaction together with all desired elements. Words of nft(8). */
import { type KindHandler, SAME, step } from "./kind.ts";
import { digest, elementText, fixedSets, valueText } from "./nft-table.ts";
import { type Ruleset, type SetElement, TABLE } from "./object.ts";

/** FAMILIES are those of which we may have a table. */
export const FAMILIES = ["inet", "ip", "ip6", "bridge"] as const;

/** rulesetKey identifies a ruleset by its family. */
export function rulesetKey(family: Ruleset["family"]): string {
  return `ruleset ${family}`;
}

/** ruleset handles the base of our table. */
export const ruleset: KindHandler<Ruleset> = {
  order: () => 0,
  key: (object) => rulesetKey(object.family),
  needs: () => [],

  compare(object, view) {
    const table = view.table(object.family);
    const lines = `table ${object.family} ${TABLE} {\n${object.text.trimEnd()}\n}`;
    const work = { via: "ruleset", family: object.family, text: object.text } as const;
    if (table === undefined) return step("add", lines, work);
    if (table.mark?.text === digest(object.text) && table.mark.listing === table.listing) return SAME;
    return step("replace", `delete table ${object.family} ${TABLE}\n${lines}`, work);
  },

  remove(object, view) {
    if (view.table(object.family) === undefined) return undefined;
    return {
      text: `nft delete table ${object.family} ${TABLE}`,
      work: { via: "ruleset", family: object.family, text: undefined },
    };
  },

  *ours(view) {
    for (const family of FAMILIES)
      if (view.table(family) !== undefined) yield { kind: "ruleset", family, text: "" };
  },
};

/** element handles elements of sets and maps. */
export const element: KindHandler<SetElement> = {
  order: () => 5,
  key: (object) => `element ${object.family} ${object.set} ${elementText(object.key)}`,
  needs: (object) => [rulesetKey(object.family)],

  compare(object, view) {
    const set = view.table(object.family)?.sets.get(object.set);
    if (set === undefined)
      return {
        is: "refused",
        reason: `Cannot add an element to ${object.set}: table ${object.family} ${TABLE} has no such set; add it to the ruleset`,
      };
    const found = set.get(elementText(object.key));
    const wanted = object.value === undefined ? undefined : valueText(object.value);
    if (found === undefined)
      return step("add", text("add", object), { via: "element", element: object, remove: false, add: true });
    if (found.value === wanted) return SAME;
    const lines = `${text("delete", object)}\n${text("add", object)}`;
    return step("change", lines, { via: "element", element: object, remove: true, add: true });
  },

  remove(object, view) {
    const set = view.table(object.family)?.sets.get(object.set);
    if (!set?.has(elementText(object.key))) return undefined;
    return {
      text: text("delete", object),
      work: { via: "element", element: object, remove: true, add: false },
    };
  },

  *ours(view) {
    for (const family of FAMILIES) {
      const wanted = view.wanted(rulesetKey(family))?.object;
      const table = view.table(family);
      // Without a desired ruleset the whole table goes.
      if (table === undefined || wanted?.kind !== "ruleset") continue;
      const fixed = fixedSets(wanted.text);
      for (const [set, items] of table.sets)
        if (!fixed.has(set))
          for (const { key } of items.values()) yield { kind: "element", family, set, key };
    }
  },
};

/** elementBody writes an element as it stands between the braces of `add element`. */
export function elementBody(object: SetElement, value: boolean): string {
  const key = object.key.map(quoted).join(" . ");
  return value && object.value !== undefined ? `${key} : ${object.value}` : key;
}

/** Interface names may begin with a digit or be a keyword of nft; quotes are right for every name and wrong for addresses. */
function quoted(part: string): string {
  return /^[A-Za-z_][\w.-]*\*?$/.test(part) && !/^([0-9a-fA-F]{2}:){5}/.test(part) ? `"${part}"` : part;
}

function text(verb: "add" | "delete", object: SetElement): string {
  return `nft ${verb} element ${object.family} ${TABLE} ${object.set} { ${elementBody(object, verb === "add")} }`;
}
