/** Routing policy rules. Words of ip-rule(8). */
import { formatPrefix } from "../net/mod.ts";
import { addRule, deleteRule, type RuleChange } from "../netlink/mod.ts";
import { type KindHandler, requests, SAME, step, type View, words } from "./kind.ts";
import type { Rule } from "./object.ts";

type Selectors = Omit<Rule, "kind" | "table">;

/** ruleKey identifies a rule by family, priority and all selectors. */
export function ruleKey(rule: Selectors): string {
  return `rule inet${rule.family === 6 ? "6" : ""} ${selectorText(rule)}`;
}

/** rule handles policy rules. Selectors and table cannot change in place: the new rule is added before the old one goes. */
export const rule: KindHandler<Rule> = {
  order: () => 90,
  key: ruleKey,
  needs: () => [],

  compare(object, view) {
    const info = view.mirror.tables.rule.get(ruleKey(object));
    const add = () => addRule(requested(object, view));
    if (info === undefined) return step("add", text("add", object, view), requests(add));
    if (info.table === object.table) return SAME;
    const old = { ...object, table: info.table };
    const lines = `${text("add", object, view)}\n${text("del", old, view)}`;
    return step(
      "change",
      lines,
      requests(add, () => deleteRule(requested(old, view))),
    );
  },

  remove(object, view) {
    const info = view.mirror.tables.rule.get(ruleKey(object));
    if (info === undefined) return undefined;
    const found = { ...object, table: info.table };
    return { text: text("del", found, view), work: requests(() => deleteRule(requested(found, view))) };
  },

  *ours(view) {
    for (const info of view.mirror.tables.rule.values()) {
      const { action: _action, invert: _invert, protocol: _protocol, ...rest } = info;
      yield { kind: "rule", ...rest };
    }
  },
};

function requested(object: Rule, view: View): RuleChange {
  const { kind: _kind, ...rest } = object;
  return { ...rest, action: "lookup", protocol: view.mark.protocol };
}

function selectorText(rule: Selectors): string {
  const { fwmark, fwmask } = rule;
  const mask = fwmask === undefined || fwmask === 0xffffffff ? "" : `/0x${fwmask.toString(16)}`;
  return words(
    `priority ${rule.priority}`,
    `from ${rule.from === undefined || rule.from.length === 0 ? "all" : formatPrefix(rule.from)}`,
    rule.to !== undefined && rule.to.length > 0 && `to ${formatPrefix(rule.to)}`,
    fwmark !== undefined && `fwmark 0x${fwmark.toString(16)}${mask}`,
    rule.iif !== undefined && `iif ${rule.iif}`,
    rule.oif !== undefined && `oif ${rule.oif}`,
  );
}

function text(verb: "add" | "del", object: Rule, view: View): string {
  const family = object.family === 6 ? " -6" : "";
  return `ip${family} rule ${verb} ${selectorText(object)} lookup ${object.table} protocol ${view.mark.protocol}`;
}
