/** Rules of SAs that an operator gives: keys that fit, and none that would use a nonce twice. */
import { formatIp } from "../net/mod.ts";
import type { Report } from "./rule.ts";
import { routesOf } from "./rules-routes.ts";
import type { AssociationConfig, GatewayConfig } from "./schema.ts";

/** Bytes of an AEAD's key (RFC 4106, section 8.1; RFC 7634, section 2). */
export const KEY_BYTES: { readonly [A in AssociationConfig["aead"]]: 16 | 32 } = {
  "aes-gcm-16-icv": 16,
  "aes-256-gcm-16-icv": 32,
  "chacha20-poly1305": 32,
};

/** AUTO_MANAGED is Vita's word for lists of SAs that its key manager keeps. */
export const AUTO_MANAGED = "SA database is auto-managed (data-plane option is not set)";

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");

/** Routes that lead back to this gateway itself: what it sends there, nobody else sends. */
function loops(config: GatewayConfig): ReadonlySet<string> {
  const links = [...config["public-interface4"].values(), ...config["public-interface6"].values()];
  const own = new Set(links.flatMap((link) => [link.ip, link["nat-ip"] ?? link.ip]).map(formatIp));
  const leadsBack = ({ route }: ReturnType<typeof routesOf>[number]) =>
    route.gateway.size > 0 && [...route.gateway.values()].every(({ ip }) => own.has(formatIp(ip)));
  return new Set(routesOf(config).flatMap((any) => (leadsBack(any) ? [any.id] : [])));
}

/** associationRules judges both lists of SAs. */
export function associationRules(
  config: GatewayConfig,
  to: { readonly report: Report; readonly warn: Report },
): void {
  const routes = new Set(routesOf(config).map(({ id }) => id));
  const nonces = new Map<string, string>();
  const looping = loops(config);
  for (const name of ["outbound-sa", "inbound-sa"] as const) {
    if (config[name].size > 0 && config["data-plane"] !== true) to.report(`/${name}`, AUTO_MANAGED);
    for (const sa of config[name].values()) {
      const path = `/${name}[queue=${sa.queue}][spi=${sa.spi}]`;
      const bytes = KEY_BYTES[sa.aead];
      if (sa.key.length !== bytes)
        to.report(
          `${path}/key`,
          `does not fit ${sa.aead}, whose keys have ${bytes} bytes; this one has ${sa.key.length}`,
        );
      if (!routes.has(sa.route))
        to.warn(`${path}/route`, "is no route, so that the SA is not used until there is one", sa.route);
      // Each sender counts from 1: two of the same key and salt would use each nonce twice (RFC 4106, section 3.1), of which one may be the other
      // gateway, which sends what comes in here.
      const nonce = `${hex(sa.key.reveal())} ${hex(sa.salt.reveal())}`;
      const other = nonces.get(nonce);
      if (name === "outbound-sa") nonces.set(nonce, path);
      else if (looping.has(sa.route)) continue;
      if (other !== undefined) to.report(`${path}/key`, `is the key of ${other} too; make another one`);
    }
  }
}
