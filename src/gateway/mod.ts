/**
 * gateway: the site gateway, as desired state. What somebody wrote, in Vita's text form or as resources, becomes a configuration; the rules judge
 * it as a whole; a model says what queues, routes, pairs and keys there are; and two models are compared.
 *
 * ```
 * text ──▶ statement ─▶ read-text ─┐                        ┌─▶ write-text (get)
 * path, verb ─▶ path ─▶ tree ──────┼─▶ GatewayConfig ─rules─┤
 * Gateway, Route ─▶ from-resources ┘                        └─▶ plan ─▶ GatewayModel ─▶ diff
 * (from-manifests chooses them; admit judges what is put into the register)
 * ```
 * It opens nothing and knows no time. It leaves keys to whoever negotiates them, packets to `tunnel`, and files and sockets to the agent.
 *
 * @example
 * ```ts
 * const { config, warnings } = readConfig(text);                                   // throws ConfigError: path, value, rule
 * const model = planGateway(config);
 * const { config: next } = perform({ config, state }, { verb: "set", path: "/mtu", value: "1440" });
 * diffModels(model, planGateway(next)).aspects;                                    // ["mtuBytes"]
 * ```
 */
export { type GatewayChange, gatewayProblems } from "./admit.ts";
export {
  diffModels,
  type Difference,
  type GatewayAspect,
  type GatewayDifference,
  type KeyEffect,
  type RouteAspect,
  type RouteChange,
} from "./diff.ts";
export {
  configOfManifests,
  gatewaysOfNode,
  type ManifestFile,
  type ManifestWish,
  routesOf,
} from "./from-manifests.ts";
export { configOfResources, type FormerConfig, type GatewayResources } from "./from-resources.ts";
export { sameValue } from "./identity.ts";
export { instanceOf } from "./instance.ts";
export {
  answerItem,
  emptyStream,
  type ListenAnswer,
  type ObjectStream,
  splitObjects,
  type StreamItem,
} from "./listen.ts";
export type * from "./model.ts";
export { publicOf } from "./pairs.ts";
export { parseSecretFile, type PlanFacts, planGateway, secretFiles } from "./plan.ts";
export { ConfigError, type ConfigProblem, formatConfigProblem } from "./problem.ts";
export { checkConfig, type Findings } from "./rules.ts";
export { saveConfig } from "./save-text.ts";
export { configSchema, type GatewayConfig, MAX_MTU_BYTES } from "./schema.ts";
export { HIDDEN, SecretBytes } from "./secret-bytes.ts";
export { sumStates } from "./state.ts";
export {
  DROP_REASONS,
  type GatewayState,
  type GatewayStateTree,
  noState,
  stateSchema,
} from "./state-schema.ts";
export { MAX_TEXT } from "./statement.ts";
export {
  type ConfigAnswer,
  type ConfigRequest,
  type ConfigStore,
  defaultConfig,
  perform,
  readConfig,
  verbs,
} from "./verbs.ts";
export { formats, type PrintOptions } from "./write-text.ts";
