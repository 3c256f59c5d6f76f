/**
 * Finding a UPnP gateway: SSDP (UPnP Device Architecture 1.1, section 1.3). A search goes to the multicast group and to the router itself; an answer
 * names where the device's description is. Only one on that router counts: otherwise any machine of the network could send us anywhere.
 */
import { formatIp, type Ip } from "../net/mod.ts";

/** SSDP_PORT is the port of searches. */
export const SSDP_PORT = 1900;
/** SSDP_GROUP is the multicast group. */
export const SSDP_GROUP = "239.255.255.250";

/** What is searched for: the devices, and the service itself, since some routers answer one of them only. */
const TARGETS = [
  "urn:schemas-upnp-org:device:InternetGatewayDevice:1",
  "urn:schemas-upnp-org:device:InternetGatewayDevice:2",
  "urn:schemas-upnp-org:service:WANIPConnection:1",
  "urn:schemas-upnp-org:service:WANPPPConnection:1",
] as const;
const MOST_BYTES = 2048;
const MOST_PATH = 512;

/** ssdpSearches returns the datagrams of one search. */
export function ssdpSearches(): string[] {
  return TARGETS.map((target) =>
    [
      "M-SEARCH * HTTP/1.1",
      `HOST: ${SSDP_GROUP}:${SSDP_PORT}`,
      'MAN: "ssdp:discover"',
      "MX: 1",
      `ST: ${target}`,
      "",
      "",
    ].join("\r\n"),
  );
}

/** Location is where on a gateway something is asked for. */
export interface Location {
  readonly port: number;
  readonly path: string;
}

/** parseLocation reads a URL that leads to the gateway; undefined for any other. */
export function parseLocation(url: string, gateway: Ip): Location | undefined {
  const match = /^http:\/\/([\d.]{7,15})(?::(\d{1,5}))?(\/[\x21-\x7e]*)?$/i.exec(url.trim());
  if (match === null || match[1] !== formatIp(gateway)) return undefined;
  const port = Number(match[2] ?? 80);
  const path = (match[3] ?? "/").replace(/#.*$/, "");
  return port < 1 || port > 65_535 || path.length > MOST_PATH ? undefined : { port, path };
}

/** parseSsdpAnswer returns where the description is; undefined for what is no answer of that gateway. */
export function parseSsdpAnswer(datagram: Uint8Array, gateway: Ip): Location | undefined {
  if (datagram.length > MOST_BYTES) return undefined;
  const [first = "", ...fields] = Buffer.from(datagram).toString("latin1").split("\r\n");
  if (!/^HTTP\/1\.[01] 200\b/.test(first)) return undefined;
  const location = fields.find((field) => /^location:/i.test(field))?.slice("location:".length);
  return location === undefined ? undefined : parseLocation(location, gateway);
}
