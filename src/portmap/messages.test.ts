/** Messages of all three protocols: known forms, and a million things that are none. */
import { describe, expect, test } from "bun:test";
import { formatEndpoint, parseEndpoint, parseIp } from "../net/mod.ts";
import { continues } from "./epoch.ts";
import { decodeHttp, encodeHttp } from "./http-answer.ts";
import { parseDescription } from "./igd-description.ts";
import { parseSoap, soapQuestion } from "./igd-soap.ts";
import { isReachable } from "./mapping-answer.ts";
import { decodeNatPmp, encodeNatPmpMapping, natPmpResult } from "./nat-pmp-message.ts";
import { decodePcp, encodePcp, pcpResult } from "./pcp-message.ts";
import { parseLocation, parseSsdpAnswer, ssdpSearches } from "./ssdp.ts";
import { descendants, escapeXml, parseXml } from "./xml.ts";

const gateway = parseIp("192.168.7.1");
const bytesOf = (text: string) => new Uint8Array(Buffer.from(text));
const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");

/** mulberry32: the same numbers for the same seed. */
function random(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % below;
  };
}

describe("PCP (RFC 6887) and NAT-PMP (RFC 6886)", () => {
  const nonce = Uint8Array.from({ length: 12 }, (_, i) => i);
  const mapping = {
    local: parseIp("192.168.7.2"),
    nonce,
    port: 51820,
    lifetimeSeconds: 7200,
    external: parseEndpoint("81.2.69.1:4000"),
  };

  test("a MAP request, byte by byte, and the answer to it", () => {
    const request = encodePcp(mapping);
    expect(hex(request)).toBe(
      "02010000" +
        "00001c20" +
        "00000000000000000000ffffc0a80702" +
        "000102030405060708090a0b" +
        "11000000" +
        "ca6c0fa0" +
        "00000000000000000000ffff51024501",
    );
    const answer = request.slice();
    answer[1] = 0x81;
    expect(decodePcp(answer, mapping)).toEqual({
      result: 0,
      lifetimeSeconds: 7200,
      epochSeconds: 0,
      external: mapping.external,
    });
    for (const wrong of [request, answer.subarray(0, 56), Uint8Array.of(...answer, 0)])
      expect(decodePcp(wrong, mapping)).toBeUndefined();
    expect(decodePcp(answer, { ...mapping, port: 51821 })).toBeUndefined();
    for (let i = 24; i < 36; i++) {
      const other = answer.slice();
      other[i] = (other[i] as number) ^ 1;
      expect(decodePcp(other, mapping)).toBeUndefined();
    }
    expect([pcpResult(2), pcpResult(200)]).toEqual(["not authorised (2)", "unknown error (200)"]);
  });

  test("NAT-PMP's requests and answers", () => {
    const request = encodeNatPmpMapping({ port: 51820, externalPort: 4000, lifetimeSeconds: 7200 });
    expect(hex(request)).toBe("00010000ca6c0fa000001c20");
    const read = (text: string) => decodeNatPmp(new Uint8Array(Buffer.from(text, "hex")));
    expect(read("008000000000000551024501")).toEqual({
      kind: "address",
      result: 0,
      epochSeconds: 5,
      address: parseIp("81.2.69.1"),
    });
    expect(read("0081000000000005ca6c0fa000001c20")).toEqual({
      kind: "mapping",
      result: 0,
      epochSeconds: 5,
      port: 51820,
      externalPort: 4000,
      lifetimeSeconds: 7200,
    });
    expect(read("0081000200000005")).toMatchObject({ kind: "mapping", result: 2 });
    for (const wrong of [
      "",
      "00",
      "0080000000000005",
      "0081000000000005ca6c0fa0",
      "0082000000000005",
      "0281",
    ])
      expect(read(wrong)).toBeUndefined();
    expect(natPmpResult(3)).toBe("its network has failed (3)");
  });

  test("the count of seconds: what fits, what does not", () => {
    const at = (epochSeconds: number, heardMs: number) => ({ epochSeconds, heardMs });
    expect(continues(at(100, 0), at(3700, 3_600_000))).toBe(true);
    expect(continues(at(100, 0), at(3600, 3_600_000))).toBe(true);
    expect(continues(at(100, 0), at(99, 0))).toBe(true);
    expect(continues(at(100, 0), at(98, 0))).toBe(false);
    expect(continues(at(100, 0), at(110, 3_600_000))).toBe(false);
    expect(continues(at(100, 0), at(10_000, 3_600_000))).toBe(false);
  });
});

describe("UPnP", () => {
  test("an SSDP answer counts if it leads to the gateway itself", () => {
    const answer = (location: string, first = "HTTP/1.1 200 OK") =>
      parseSsdpAnswer(
        bytesOf(`${first}\r\nCACHE-CONTROL: max-age=120\r\nLOCATION: ${location}\r\n\r\n`),
        gateway,
      );
    expect(answer("http://192.168.7.1:5000/rootDesc.xml")).toEqual({ port: 5000, path: "/rootDesc.xml" });
    expect(answer("http://192.168.7.1/")).toEqual({ port: 80, path: "/" });
    for (const wrong of [
      "http://192.168.7.2:5000/rootDesc.xml",
      "https://192.168.7.1:5000/rootDesc.xml",
      "http://192.168.7.1:5000@evil.example/rootDesc.xml",
      "http://192.168.7.1.evil.example:5000/",
      "http://192.168.7.1:99999/",
      "http://192.168.7.1:0/",
      "http://192.168.7.1:5000/a b",
      `http://192.168.7.1:5000/${"a".repeat(600)}`,
      "file:///etc/passwd",
      "",
    ])
      expect([wrong, answer(wrong)]).toEqual([wrong, undefined]);
    expect(answer("http://192.168.7.1/", "NOTIFY * HTTP/1.1")).toBeUndefined();
    expect(parseLocation("http://192.168.7.1/x#y", gateway)).toEqual({ port: 80, path: "/x" });
    expect(
      ssdpSearches().every((text) => text.endsWith("\r\n\r\n") && text.includes('"ssdp:discover"')),
    ).toBe(true);
  });

  const service = (type: string, control: string) =>
    `<service><serviceType>urn:schemas-upnp-org:service:${type}</serviceType><controlURL>${control}</controlURL></service>`;
  const describe_ = (services: string, base = "") =>
    parseDescription(
      `<?xml version="1.0"?><!-- a router --><root xmlns="urn:schemas-upnp-org:device-1-0">${base}<device><deviceList>` +
        `<device><serviceList>${services}</serviceList></device></deviceList></device></root>`,
      { gateway, port: 5000, path: "/rootDesc.xml" },
    );

  test("a description: the best service first, controlled on the gateway and nowhere else", () => {
    const [best, next] = describe_(
      service("WANIPConnection:1", "/ctl/1") + service("WANIPConnection:2", "ctl/2"),
    );
    expect([best?.anyPort, best?.control]).toEqual([true, { port: 5000, path: "/ctl/2" }]);
    expect([next?.anyPort, next?.control]).toEqual([false, { port: 5000, path: "/ctl/1" }]);
    expect(
      describe_(service("WANPPPConnection:1", "/c"), "<URLBase>http://192.168.7.1:81/</URLBase>")[0]?.control,
    ).toEqual({ port: 81, path: "/c" });
    for (const control of ["http://10.0.0.1/c", "ftp://192.168.7.1/c", "", "/a b"])
      expect([control, describe_(service("WANIPConnection:1", control))]).toEqual([control, []]);
    expect(describe_(service("WANIPConnection:1", "/c"), "<URLBase>http://10.0.0.1/</URLBase>")).toEqual([]);
    expect(describe_(service("Layer3Forwarding:1", "/c"))).toEqual([]);
  });

  test("an action, what it returned, and what it refused", () => {
    const [found] = describe_(service("WANIPConnection:1", "/c"));
    if (found === undefined) throw new Error("no service");
    const { body = "", headers } = soapQuestion(
      { gateway, service: found },
      { name: "AddPortMapping", args: { NewRemoteHost: "", NewPortMappingDescription: "a<b&c" } },
    );
    expect(headers?.SOAPAction).toBe('"urn:schemas-upnp-org:service:WANIPConnection:1#AddPortMapping"');
    const sent = parseXml(body);
    expect(sent && descendants(sent, "NewPortMappingDescription")[0]?.text).toBe("a<b&c");
    const answer = (inner: string, status = 200) =>
      parseSoap(
        { status, body: `<s:Envelope xmlns:s="x"><s:Body>${inner}</s:Body></s:Envelope>` },
        "GetExternalIPAddress",
      );
    expect(
      answer(
        "<u:GetExternalIPAddressResponse><NewExternalIPAddress> 81.2.69.1 </NewExternalIPAddress></u:GetExternalIPAddressResponse>",
      ),
    ).toEqual({ kind: "done", values: { NewExternalIPAddress: "81.2.69.1" } });
    expect(
      answer(
        "<s:Fault><detail><UPnPError><errorCode>718</errorCode><errorDescription>Conflict\u0007</errorDescription></UPnPError></detail></s:Fault>",
        500,
      ),
    ).toEqual({ kind: "error", code: 718, text: "Conflict?" });
    for (const unreadable of ["<x/>", "<UPnPError><errorCode>abc</errorCode></UPnPError>"])
      expect(answer(unreadable)).toMatchObject({ kind: "error", code: 0 });
  });

  test("HTTP: by length, by chunks, by the end", () => {
    const read = (text: string, ended = false) => decodeHttp(bytesOf(text), ended);
    expect(read("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab")).toEqual({ status: 200, body: "ab" });
    expect(read("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab", true)).toBeUndefined();
    expect(
      read("HTTP/1.1 500 No\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1;x\r\nc\r\n0\r\n\r\n"),
    ).toEqual({
      status: 500,
      body: "abc",
    });
    expect(read("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n")).toBeUndefined();
    expect(read("HTTP/1.0 200 OK\r\n\r\nab")).toBeUndefined();
    expect(read("HTTP/1.0 200 OK\r\n\r\nab", true)).toEqual({ status: 200, body: "ab" });
    for (const wrong of [
      "",
      "HTTP/1.1 200 OK\r\n",
      "SSH-2.0\r\n\r\n",
      "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
    ])
      expect(read(wrong, true)).toBeUndefined();
    expect(
      Buffer.from(encodeHttp({ host: "192.168.7.1", port: 80, path: "/", body: "é" })).toString(),
    ).toContain("Content-Length: 2\r\n");
  });

  test("XML: what is read, and what is refused", () => {
    expect(parseXml("<a x='1' y:z=\"<\"/>")).toBeUndefined();
    expect(parseXml("<p:a x='1'><b>1 &lt; 2 &#65;&#x42;</b><c/><![CDATA[<raw>]]></p:a>")).toEqual({
      name: "a",
      text: "<raw>",
      children: [
        { name: "b", text: "1 < 2 AB", children: [] },
        { name: "c", text: "", children: [] },
      ],
    });
    for (const wrong of [
      "",
      "text",
      "<a>",
      "<a></b>",
      "<a/><b/>",
      "<a/>x",
      "</a>",
      '<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>',
      "<a>&b;</a>",
      "<a>&</a>",
      "<a>&#0;</a>",
      "<a>&constructor;</a>",
      "<a><![CDATA[x</a>",
      `${"<a>".repeat(30)}${"</a>".repeat(30)}`,
      `<a>${"<b/>".repeat(3000)}</a>`,
      `<a>${"x".repeat(70_000)}</a>`,
    ])
      expect([wrong.slice(0, 40), parseXml(wrong)]).toEqual([wrong.slice(0, 40), undefined]);
    const text = "a & <b> 'c' \"d\" &amp;";
    expect(parseXml(`<a>${escapeXml(text)}</a>`)?.text).toBe(text);
  });
});

test("nothing that a network can say makes a reader throw, or takes it long", () => {
  const next = random(20_261_121);
  const seeds = [
    "<?xml version='1.0'?><root><device><service><serviceType>urn:x</serviceType></service></device></root>",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nLOCATION: http://192.168.7.1:80/x\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "<s:Envelope><s:Body><UPnPError><errorCode>1</errorCode></UPnPError></s:Body></s:Envelope>",
    `<a${" b='c'".repeat(200)}`,
    "<".repeat(500),
    `<a ${"a:".repeat(400)}`,
    "&".repeat(1000),
  ].map(bytesOf);
  const nonce = new Uint8Array(12);
  for (let round = 0; round < 20_000; round++) {
    const bytes = (seeds[next(seeds.length)] as Uint8Array).slice();
    for (let edits = next(8); edits > 0; edits--) {
      const at = next(bytes.length);
      if (next(3) === 0) bytes.copyWithin(at, next(bytes.length), next(bytes.length));
      else bytes[at] = next(256);
    }
    const cut = bytes.subarray(0, next(2) === 0 ? bytes.length : next(bytes.length));
    const body = Buffer.from(cut).toString("latin1");
    parseXml(body);
    parseSsdpAnswer(cut, gateway);
    decodeHttp(cut, next(2) === 0);
    parseDescription(body, { gateway, port: 1, path: "/" });
    parseSoap({ status: 200, body }, "X");
    const raw = Uint8Array.from({ length: next(80) }, () => next(256));
    raw.set([next(3), 0x80 + next(3)].slice(0, raw.length));
    decodePcp(raw, { nonce, port: 1 });
    decodeNatPmp(raw);
  }
});

test("addresses that nobody reaches from the Internet", () => {
  const reachable = (text: string) => isReachable(parseIp(text));
  expect(["81.2.69.1", "203.0.113.1", "2001:db8::1"].map(reachable)).toEqual([true, true, true]);
  expect(
    ["10.1.2.3", "100.64.0.1", "192.168.1.1", "172.31.0.1", "169.254.1.1", "fd00::1", "fe80::1"].map(
      reachable,
    ),
  ).toEqual(Array.from({ length: 7 }, () => false));
  expect(formatEndpoint(parseEndpoint("81.2.69.1:1"))).toBe("81.2.69.1:1");
});
