/** Actions of a UPnP service, as SOAP over HTTP (UPnP Device Architecture 1.1, section 3.2). */
import { formatIp, type Ip } from "../net/mod.ts";
import type { HttpAnswer, HttpQuestion } from "./http-answer.ts";
import type { IgdService } from "./igd-description.ts";
import { descendants, escapeXml, parseXml } from "./xml.ts";

/** SoapResult is what an action returned, or the service's error. */
export type SoapResult =
  | { readonly kind: "done"; readonly values: Readonly<Record<string, string>> }
  | { readonly kind: "error"; readonly code: number; readonly text: string };

/** soapQuestion returns the request of an action; arguments are in the order that the service's description has. */
export function soapQuestion(
  target: { readonly gateway: Ip; readonly service: IgdService },
  action: { readonly name: string; readonly args?: Readonly<Record<string, string>> },
): HttpQuestion {
  const { type, control } = target.service;
  const args = Object.entries(action.args ?? {})
    .map(([name, value]) => `<${name}>${escapeXml(value)}</${name}>`)
    .join("");
  return {
    host: formatIp(target.gateway),
    port: control.port,
    path: control.path,
    headers: { "Content-Type": 'text/xml; charset="utf-8"', SOAPAction: `"${type}#${action.name}"` },
    body:
      '<?xml version="1.0"?>\r\n<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/" ' +
      's:encodingStyle="http://schemas.xmlsoap.org/soap/encoding/"><s:Body>' +
      `<u:${action.name} xmlns:u="${type}">${args}</u:${action.name}></s:Body></s:Envelope>\r\n`,
  };
}

const UNREADABLE: SoapResult = { kind: "error", code: 0, text: "an answer that cannot be read" };
const MOST_TEXT = 200;

/** parseSoap reads the answer to an action. */
export function parseSoap(answer: HttpAnswer, action: string): SoapResult {
  const root = parseXml(answer.body);
  if (root === undefined) return UNREADABLE;
  const [error] = descendants(root, "UPnPError");
  if (error !== undefined) {
    const code = descendants(error, "errorCode")[0]?.text ?? "";
    const text = descendants(error, "errorDescription")[0]?.text ?? "";
    return /^\d{1,4}$/.test(code) ? { kind: "error", code: Number(code), text: printable(text) } : UNREADABLE;
  }
  const [response] = descendants(root, `${action}Response`);
  if (answer.status !== 200 || response === undefined) return UNREADABLE;
  return {
    kind: "done",
    values: Object.fromEntries(response.children.map(({ name, text }) => [name, text])),
  };
}

/** What a router says is shown to people: without control characters, and not without end. */
function printable(text: string): string {
  return text.replaceAll(/[^\x20-\x7e]/g, "?").slice(0, MOST_TEXT);
}
