/** bgp/policy: the rules of a BgpRouter as functions of routes, for import and export. Where they are applied is `bgp/rib`'s affair. */
export { compilePolicy, policyByFamily, rejectAll } from "./policy.ts";
