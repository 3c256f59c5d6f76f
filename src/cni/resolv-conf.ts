/** The option `ipam.resolvConf`: a file in the form of resolv.conf(5) as `dns` of the result. */
import { readText } from "../sys/mod.ts";
import type { Configuration, Dns } from "./configuration.ts";
import { CniError } from "./error.ts";

/** dnsOf returns what a configuration says of DNS: of each field, itself or the runtime before the file. Code 5 if that cannot be read. */
export function dnsOf({ dns, resolvConf }: Configuration): Dns | undefined {
  if (resolvConf === undefined) return dns;
  const merged = { ...parseResolvConf(read(resolvConf)), ...dns };
  return Object.keys(merged).length === 0 ? undefined : merged;
}

function read(path: string): string {
  const problem = (why: string, cause?: unknown) =>
    new CniError("io", `Cannot read ipam.resolvConf: ${why}`, {
      details: `ipam.resolvConf is ${JSON.stringify(path)}`,
      cause,
    });
  let text: string | undefined;
  try {
    text = readText(path);
  } catch (error) {
    throw problem((error as Error).message, error);
  }
  if (text === undefined) throw problem(`there is no file ${path}`);
  return text;
}

/** parseResolvConf reads what the result can say; of several lines `domain` or `search` the last one counts. */
export function parseResolvConf(text: string): Dns {
  const found = {
    nameserver: [] as string[],
    search: [] as string[],
    options: [] as string[],
    domain: [] as string[],
  };
  for (const line of text.split("\n")) {
    const [key = "", ...values] = line.trim().split(/\s+/);
    if (key === "nameserver" || key === "domain") found[key].push(...values.slice(0, 1));
    else if (key === "search") found.search = values;
    else if (key === "options") found.options.push(...values);
  }
  const domain = found.domain.at(-1);
  return {
    ...(found.nameserver.length > 0 && { nameservers: found.nameserver }),
    ...(domain !== undefined && { domain }),
    ...(found.search.length > 0 && { search: found.search }),
    ...(found.options.length > 0 && { options: found.options }),
  };
}
