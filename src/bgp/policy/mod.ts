/** bgp/policy: the rules of a BgpRouter as functions of routes, for import and export. Where they are applied is `bgp/rib`'s affair. */
export {
  compilePrefixRules,
  type PrefixAttributes,
  type PrefixRules,
  type RuledPrefix,
} from "./prefix-rules.ts";
export { compilePolicy, policyByFamily, rejectAll } from "./policy.ts";
